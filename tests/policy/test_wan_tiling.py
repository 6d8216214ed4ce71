"""The recipe's tiled decode, of a size that diffusers really tiles, against the decode in one piece."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from worldr1.pipelines import load_pipeline
from worldr1.policy.diffusers_policy import DiffusersPolicy
from worldr1.recipes import load_recipe
from worldr1.rl.assemble_policy import wrap

FRAMES, SIDE = 5, 272
"""Diffusers' tiles are 256 pixels wide and begin every 192: two by two of them."""


def _policy(pipeline: Any, tiling: bool) -> DiffusersPolicy:
    recipe = load_recipe("tiny")
    model = recipe.model.model_copy(update={"vae_tiling": tiling})
    return wrap(copy.deepcopy(pipeline), recipe.model_copy(update={"model": model}), samples_only=True)


def _video() -> Tensor:
    """[T,3,H,W] in [0,1]: moving waves, of another pitch in each colour."""
    t, y, x = torch.arange(FRAMES)[:, None, None], torch.arange(SIDE)[:, None] / 45, torch.arange(SIDE) / 30
    return torch.stack([0.5 + 0.5 * torch.sin(x * c + t / 3) * torch.cos(y * c / 2) for c in (1, 2, 3)], dim=1)


def _decoded(policy: DiffusersPolicy, latents: Tensor) -> tuple[Tensor, int]:
    """The video and how often the decoder ran."""
    calls: list[Any] = []
    handle = policy.pipeline.vae.decoder.register_forward_hook(lambda *_: calls.append(None))
    video = policy.decode(latents)
    handle.remove()
    return video, len(calls)


def test_a_tiled_decode_is_nearly_the_decode_in_one_piece() -> None:
    """The autoencoder attends within a tile only and tiles are blended: 0.001 of the range in the mean, not equal."""
    pipeline = load_pipeline("tiny")
    whole, tiled = _policy(pipeline, tiling=False), _policy(pipeline, tiling=True)
    latents = whole.compress(_video()[None])
    (expected, once), (video, often) = _decoded(whole, latents), _decoded(tiled, latents)
    assert (once, often) == (2, 8), "two latent frames, in four tiles each"
    assert video.shape == (1, FRAMES, 3, SIDE, SIDE)
    assert float(expected.std()) > 0.2
    gap = (video - expected).abs()
    assert float(gap.mean()) < 0.003
    assert float(gap.max()) < 0.08
