"""What the critics learn from: pictures of good and spoilt worlds, with captions that fit and captions that do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from worldr1.camera.trajectory import Trajectory
from worldr1.tinyworld.autoencoder import encode
from worldr1.tinyworld.corpus import MOVING
from worldr1.tinyworld.critic import tokenise_scenes
from worldr1.tinyworld.critic_scenes import (
    EDITS,
    MISSING,
    PENALTY_BASE,
    agreement,
    edit_scene,
    nearby_scenes,
    renderable,
    shrink_object,
)
from worldr1.tinyworld.degrade import gaussian_blur
from worldr1.tinyworld.latents import pack_video
from worldr1.tinyworld.pipeline import MAX_TOKENS
from worldr1.tinyworld.render import render_clips
from worldr1.tinyworld.scenes import Scene, sample_scene

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan

Set = TypeVar("Set")

FRAMES = 17
CAPTIONS = 6
"""Captions per picture: the one asked for, then others."""


def concatenate(parts: Sequence[Set]) -> Set:
    """Several sets of one kind, each a dataclass of tensors [N,...], as one."""
    first = parts[0]
    joined = {f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(first)}  # type: ignore[arg-type]
    return type(first)(**joined)


@dataclass(frozen=True)
class Order:
    """What one training clip was asked to show and what it shows instead (the same scene in good clips)."""

    asked: Scene
    shown: Scene
    trajectory: Trajectory


def draw_moves(rng: np.random.Generator) -> tuple[str, ...]:
    """One move, two in a third of the cases, or (one in twelve) a fixed camera."""
    if rng.random() < 1 / 12:
        return ("fixed",)
    return tuple(str(move) for move in rng.choice(MOVING, 1 + int(rng.random() < 1 / 3), replace=False))


def draw_order(rng: np.random.Generator, split: str, dynamic: float, edited: bool) -> Order:
    """A random scene and trajectory; when `edited`, a scene is shown in which something is not as asked."""
    asked = sample_scene(rng, dynamic=bool(rng.random() < dynamic), split=split)
    shown = nearby_shown(rng, asked) if edited else asked
    return Order(asked, shown, Trajectory.from_moves(draw_moves(rng), FRAMES))


def nearby_shown(rng: np.random.Generator, scene: Scene) -> Scene:
    """A scene to render that lacks an object (half of the time), or all of them, or has one thing different."""
    if rng.random() < 0.12:
        return replace(scene, solids=())
    kind = "remove" if rng.random() < 0.5 else str(rng.choice([edit for edit in EDITS if edit != "remove"]))
    return edit_scene(rng, scene, kind)


def captions_of(rng: np.random.Generator, order: Order, split: str) -> tuple[Tensor, Tensor]:
    """Tokens [CAPTIONS,MAX_TOKENS] int16 and the agreement [CAPTIONS] of what is shown with each caption."""
    scenes = [order.asked, *nearby_scenes(rng, order.asked, CAPTIONS - 1, split)]
    tokens = torch.zeros(CAPTIONS, MAX_TOKENS, dtype=torch.int16)
    found = tokenise_scenes([scene.caption for scene in scenes])
    tokens[:, : found.shape[1]] = found.to(torch.int16)
    return tokens, torch.tensor([agreement(order.shown, scene) for scene in scenes])


def shrunk(rng: np.random.Generator, scene: Scene) -> tuple[Scene, float]:
    """The scene with one object at 35 to 75% of its size, and its quality: half gone is half missing."""
    factor = float(rng.uniform(0.35, 0.75))
    return shrink_object(scene, int(rng.integers(len(scene.solids))), factor), _partly_missing(1.0 - factor)


def faded(rng: np.random.Generator, order: Order) -> tuple[Tensor, float]:
    """A clip [T,3,H,W] in which one object is 30 to 80% transparent, and its quality."""
    share = float(rng.uniform(0.3, 0.8))
    without = edit_scene(rng, order.shown, "remove")
    full, empty = render_clips([order.shown, renderable(without)], [order.trajectory] * 2)
    return torch.lerp(full.video, empty.video, share), _partly_missing(share)


def _partly_missing(share: float) -> float:
    return float(PENALTY_BASE ** (-MISSING * share))


def blurred(video: Tensor, sigma: float) -> Tensor:
    """A clip [T,3,H,W], every frame blurred by `sigma` pixels."""
    return gaussian_blur(video, torch.full((len(video),), sigma))


@torch.no_grad()
def to_latents(vae: AutoencoderKLWan, videos: Tensor) -> Tensor:
    """Un-normalised latents [B,C,t,h,w] of videos [B,T,3,H,W] in [0,1]."""
    return encode(vae, pack_video(videos))


@torch.no_grad()
def to_videos(vae: AutoencoderKLWan, latents: Tensor) -> Tensor:
    """Videos [B,T,3,H,W] in [0,1] of un-normalised latents [B,C,t,h,w]."""
    decoded = torch.cat([vae.decode(part).sample for part in latents.split(8)])
    return decoded.transpose(1, 2).add(1.0).div(2.0).clamp(0.0, 1.0)
