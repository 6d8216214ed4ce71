"""The published shapes of Wan2.1 text to video as data: what the dry run needs to know without any weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan, WanTransformer3DModel

_SHARED: Mapping[str, Any] = {
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


@dataclass(frozen=True)
class WanShape:
    """One published model.

    Attributes:
        name: its hub name.
        transformer: arguments of diffusers' ``WanTransformer3DModel``; its autoencoder has the default arguments of
            ``AutoencoderKLWan``.
        parameters: of the transformer.
        text_parameters: of the text encoder (UMT5-XXL, encoder only).
        text_width: width of a prompt embedding.
    """

    name: str
    transformer: Mapping[str, Any]
    parameters: int
    text_parameters: int = 5_680_910_336
    text_width: int = 4096


WAN_SHAPES = {
    shape.name: shape
    for shape in (
        WanShape(
            "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
            {**_SHARED, "num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30},
            1_418_996_800,
        ),
        WanShape(
            "Wan-AI/Wan2.1-T2V-14B-Diffusers",
            {**_SHARED, "num_attention_heads": 40, "ffn_dim": 13824, "num_layers": 40},
            14_288_491_584,
        ),
    )
}
"""Published models by hub name."""

VAE_PARAMETERS = 126_892_531
"""Of the autoencoder that all of them share."""


def meta_transformer(shape: WanShape) -> WanTransformer3DModel:
    """The transformer in full size on the meta device: shapes without memory."""
    import torch
    from diffusers import WanTransformer3DModel

    with torch.device("meta"):
        return WanTransformer3DModel(**shape.transformer)


def meta_vae() -> AutoencoderKLWan:
    """The autoencoder in full size on the meta device."""
    import torch
    from diffusers import AutoencoderKLWan

    with torch.device("meta"):
        return AutoencoderKLWan()
