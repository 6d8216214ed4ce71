"""Training data of the preference critic: the same frames clean, degraded before the autoencoder or in its latents, and
showing something else than was asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from worldr1.tinyworld.critic_data import (
    Order,
    captions_of,
    draw_order,
    faded,
    nearby_shown,
    shrunk,
    to_latents,
    to_videos,
)
from worldr1.tinyworld.critic_scenes import renderable
from worldr1.tinyworld.degrade import DEGRADATIONS, degrade
from worldr1.tinyworld.latents import pack_video
from worldr1.tinyworld.render import render_clips

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan

DYNAMIC = 0.3
WINDOW = 9
"""Frames of a clip that go through the autoencoder; half of the time the first ones, else the last."""
PICKED = 4
"""Frames kept of each window."""


@dataclass(frozen=True)
class PreferenceSet:
    """N frames, each in five versions of one moment, uint8 [N,3,H,W].

    Attributes:
        raw: as rendered; clean: after the autoencoder.
        early: degraded, then through the autoencoder.
        latent: decoded from damaged latents.
        edited: after the autoencoder, an object missing, small, faint or another, or another setting.
        tokens: [N,C,L] int16, C captions each, of which the first is right.
    """

    raw: Tensor
    clean: Tensor
    early: Tensor
    latent: Tensor
    edited: Tensor
    tokens: Tensor


def damage(latents: Tensor, std: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Latents [B,C,t,h,w] with noise of 0.15 to 0.75 deviations `std` [C], or drawn to their mean by 15 to 70%."""
    level = strength.view(-1, 1, 1, 1, 1)
    noisy = latents + (0.15 + 0.6 * level) * std.view(1, -1, 1, 1, 1) * torch.randn(latents.shape, generator=generator)
    drawn = torch.lerp(latents, latents.mean((2, 3, 4), keepdim=True).expand_as(latents), 0.15 + 0.55 * level)
    return torch.where(torch.rand(len(latents), 1, 1, 1, 1, generator=generator) < 0.6, noisy, drawn)


def edited_video(rng: np.random.Generator, order: Order) -> Tensor:
    """A clip [T,3,H,W] that does not show what was asked for."""
    draw = rng.random()
    if draw < 0.15:
        return faded(rng, order)[0]
    scene = shrunk(rng, order.asked)[0] if draw < 0.3 else nearby_shown(rng, order.asked)
    return render_clips([renderable(scene)], [order.trajectory])[0].video


def preference_part(vae: AutoencoderKLWan, clips: int, seed: tuple[int, ...], split: str) -> PreferenceSet:
    """Draw, render, degrade, encode and decode `clips` clips, `PICKED` frames of each; the same for the same seed.

    Raises ValueError for an unknown split.
    """
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    orders = [draw_order(rng, split, DYNAMIC, edited=False) for _ in range(clips)]
    starts = [int(s) for s in rng.choice([0, 17 - WINDOW], clips)]
    raw = torch.stack([c.video for c in render_clips([o.shown for o in orders], [o.trajectory for o in orders])])
    edited = torch.stack([edited_video(rng, order) for order in orders])
    raw, edited = (torch.stack([v[s : s + WINDOW] for v, s in zip(x, starts, strict=True)]) for x in (raw, edited))
    early = torch.empty_like(raw)
    for i, kind in enumerate(rng.choice(list(DEGRADATIONS), clips)):
        strength = torch.full((WINDOW,), float(rng.random()))
        early[i] = degrade(raw[i], str(kind), strength, generator)
    latents, early_latents, edited_latents = (to_latents(vae, x) for x in (raw, early, edited))
    damaged = damage(latents, torch.tensor(vae.config.latents_std), torch.rand(clips, generator=generator), generator)
    picked = torch.stack([torch.from_numpy(np.sort(rng.permutation(WINDOW)[:PICKED])) for _ in orders])
    captions = [captions_of(rng, order, split)[0] for order in orders]

    def frames(videos: Tensor) -> Tensor:
        return pack_video(videos[torch.arange(clips)[:, None], picked].flatten(0, 1))

    return PreferenceSet(
        raw=frames(raw),
        clean=frames(to_videos(vae, latents)),
        early=frames(to_videos(vae, early_latents)),
        latent=frames(to_videos(vae, damaged)),
        edited=frames(to_videos(vae, edited_latents)),
        tokens=torch.stack(captions).repeat_interleave(PICKED, 0),
    )
