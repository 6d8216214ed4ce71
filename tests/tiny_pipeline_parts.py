"""Tiny pipelines with random weights, for tests of more than one room."""

from __future__ import annotations

import copy
from typing import Any

import torch
from benchmarks.random_models.tokenizers import unigram


def build_tiny_tokenizer() -> Any:
    """A Unigram tokenizer over a few camera prompts."""
    corpus = ["camera orbit left, then push in. a red box", "camera pan right. a blue sphere in a striped room"]
    return unigram(corpus * 4, longest=64)


def build_tiny_pipeline() -> Any:
    """A real ``WanPipeline`` with random weights: 4 latent channels, space x8, time x4, flow-Euler, shift 3."""
    from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = build_tiny_tokenizer()
        text_encoder = UMT5EncoderModel(
            UMT5Config(vocab_size=len(tokenizer), d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2)
        )
        vae = AutoencoderKLWan(
            base_dim=4,
            z_dim=4,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
            latents_mean=[0.1, -0.2, 0.3, 0.0],
            latents_std=[1.5, 0.7, 1.0, 2.0],
        )
        transformer = WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=2,
            attention_head_dim=24,
            in_channels=4,
            out_channels=4,
            text_dim=32,
            freq_dim=32,
            ffn_dim=96,
            num_layers=2,
            cross_attn_norm=True,
            qk_norm="rms_norm_across_heads",
            rope_max_seq_len=64,
        )
    pipeline = WanPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder.eval(),
        vae=vae.eval(),
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def with_two_experts(pipeline: Any, boundary: float) -> Any:
    """A ``WanPipeline``'s parts and a second, different transformer for noise levels below ``boundary``."""
    from diffusers import WanPipeline

    second = copy.deepcopy(pipeline.transformer)
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    names = ("tokenizer", "text_encoder", "vae", "transformer", "scheduler")
    parts = {name: getattr(pipeline, name) for name in names}
    experts = WanPipeline(**parts, transformer_2=second, boundary_ratio=boundary)
    experts.set_progress_bar_config(disable=True)
    return experts


def with_time_per_token(pipeline: Any) -> Any:
    """A ``WanPipeline`` with a time per token and an autoencoder that patches twice, as Wan2.2-TI2V-5B has them."""
    from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel

    vae = AutoencoderKLWan(
        base_dim=4,
        decoder_base_dim=8,
        z_dim=8,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.1] * 8,
        latents_std=[1.5] * 8,
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
    ).eval()
    config = {**pipeline.transformer.config, "in_channels": 8, "out_channels": 8}
    per_token = WanPipeline(
        tokenizer=pipeline.tokenizer,
        text_encoder=pipeline.text_encoder,
        vae=vae,
        transformer=WanTransformer3DModel.from_config(config).eval(),
        scheduler=pipeline.scheduler,
        expand_timesteps=True,
    )
    per_token.set_progress_bar_config(disable=True)
    return per_token


def build_tiny_cogvideox(newer: bool = True) -> Any:
    """A real ``CogVideoXPipeline`` with random weights: CogVideoX1.5 (time in patches, rotary) or CogVideoX-2B."""
    from diffusers import (
        AutoencoderKLCogVideoX,
        CogVideoXDDIMScheduler,
        CogVideoXPipeline,
        CogVideoXTransformer3DModel,
    )
    from transformers import T5Config, T5EncoderModel

    tokenizer = build_tiny_tokenizer()
    text = T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2)
    vae = AutoencoderKLCogVideoX(
        block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2, scaling_factor=0.7
    )
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=4,
        time_embed_dim=8,
        text_embed_dim=32,
        num_layers=2,
        sample_width=4,
        sample_height=4,
        sample_frames=9,
        patch_size=2,
        patch_size_t=2 if newer else None,
        max_text_seq_length=16,
        use_rotary_positional_embeddings=newer,
        patch_bias=not newer,
    )
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    scheduler = CogVideoXDDIMScheduler(
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        snr_shift_scale=1.0 if newer else 3.0,
    )
    pipeline = CogVideoXPipeline(
        tokenizer=tokenizer,
        text_encoder=T5EncoderModel(text).eval(),
        vae=vae.eval(),
        transformer=transformer.eval(),
        scheduler=scheduler,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
