"""The published shapes of the models that recipes name, as data: what the dry run needs to know without any weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worldr1.planning.shapes import PipelineShape

_WAN: Mapping[str, Any] = {
    "patch_size": (1, 2, 2),
    "attention_head_dim": 128,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 4096,
    "freq_dim": 256,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "eps": 1e-6,
    "rope_max_seq_len": 1024,
}
_WAN_14B = {**_WAN, "num_attention_heads": 40, "ffn_dim": 13824, "num_layers": 40}
_WAN_22_VAE: Mapping[str, Any] = {
    "base_dim": 160,
    "decoder_base_dim": 256,
    "z_dim": 48,
    "in_channels": 12,
    "out_channels": 12,
    "is_residual": True,
    "patch_size": 2,
    "scale_factor_spatial": 16,
    "latents_mean": (0.0,) * 48,
    "latents_std": (1.0,) * 48,
}
"""Its statistics of the latents, which no size depends on, are left out."""
_COGVIDEOX_15: Mapping[str, Any] = {
    "num_attention_heads": 48,
    "attention_head_dim": 64,
    "num_layers": 42,
    "in_channels": 16,
    "out_channels": 16,
    "time_embed_dim": 512,
    "text_embed_dim": 4096,
    "max_text_seq_length": 226,
    "patch_size": 2,
    "patch_size_t": 2,
    "patch_bias": False,
    "sample_frames": 81,
    "sample_height": 300,
    "sample_width": 300,
    "use_rotary_positional_embeddings": True,
}
_UMT5_XXL = 5_680_910_336
_T5_XXL = 4_762_310_656
"""Parameters of the text encoders, encoder only."""
_COGVIDEOX = PipelineShape(_COGVIDEOX_15, {"scaling_factor": 0.7}, _T5_XXL, pipeline="CogVideoXPipeline")

PUBLISHED: Mapping[str, PipelineShape] = {
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": PipelineShape(
        {**_WAN, "num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30}, {}, _UMT5_XXL
    ),
    "Wan-AI/Wan2.1-T2V-14B-Diffusers": PipelineShape(_WAN_14B, {}, _UMT5_XXL),
    "Wan-AI/Wan2.2-T2V-A14B-Diffusers": PipelineShape(_WAN_14B, {}, _UMT5_XXL, experts=2),
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers": PipelineShape(
        {**_WAN, "in_channels": 48, "out_channels": 48, "num_attention_heads": 24, "ffn_dim": 14336, "num_layers": 30},
        _WAN_22_VAE,
        _UMT5_XXL,
        per_token=True,
    ),
    "zai-org/CogVideoX1.5-5B": _COGVIDEOX,
    "THUDM/CogVideoX1.5-5B": _COGVIDEOX,
}
"""By hub name, the same model under two of them where its owner was renamed."""
