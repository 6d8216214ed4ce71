"""A real `WanPipeline` with random weights, and the policy that a recipe makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.random_models.shapes import Size
from benchmarks.random_models.tokenizers import unigram
from benchmarks.random_models.weights import draw
from worldr1.policy.cached_text import CachedTextEncoder
from worldr1.policy.diffusers_policy import DiffusersPolicy
from worldr1.rl.assemble_policy import DTYPES, wrap


def random_text_encoder(size: Size, device: str) -> nn.Module:
    """UMT5's encoder in the recipe's precision."""
    from transformers import UMT5Config, UMT5EncoderModel

    return draw(lambda: UMT5EncoderModel(UMT5Config(**size.text)), device, DTYPES[size.recipe.model.dtype])


def random_policy(
    size: Size, device: str, text_encoder: nn.Module, cache: Path, prompts: Sequence[str]
) -> DiffusersPolicy:
    """The policy of the recipe, whose text encoder leaves memory once what it said lies in `cache`.

    The caller must not hold the encoder either. `prompts` are what the tokenizer learns its words from.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline

    dtype = DTYPES[size.recipe.model.dtype]
    pipeline = WanPipeline(
        tokenizer=unigram(prompts),
        text_encoder=None,
        vae=_random_vae(size, device),
        transformer=_random_transformer(size, device, dtype),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )
    waiting = [text_encoder]
    pipeline.text_encoder = CachedTextEncoder(waiting.pop, cache, "random", dtype, device)
    return wrap(pipeline, size.recipe)


def _random_transformer(size: Size, device: str, dtype: torch.dtype) -> Any:
    from diffusers import WanTransformer3DModel

    whole = WanTransformer3DModel._keep_in_fp32_modules
    return draw(lambda: WanTransformer3DModel(**size.transformer), device, dtype, whole)


def _random_vae(size: Size, device: str) -> Any:
    """The autoencoder in float32 with the weights that its class begins with."""
    from diffusers import AutoencoderKLWan

    with torch.device(device):
        return AutoencoderKLWan(**size.vae).eval()
