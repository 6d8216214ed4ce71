"""Training data of the meta critic: rebuilt scenes seen from off the trajectory, each with a grade from 0 to 9."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from worldr1.reconstruction.types import Reconstruction, Reconstructor
from worldr1.rewards.meta import RAISED, SIDEWAYS, meta_view_pose
from worldr1.splats.render import render_batch
from worldr1.tinyworld.corpus import SPOIL_SHARES
from worldr1.tinyworld.critic_data import (
    Order,
    blurred,
    captions_of,
    draw_order,
    faded,
    shrunk,
    to_latents,
    to_videos,
)
from worldr1.tinyworld.critic_scenes import renderable
from worldr1.tinyworld.latents import pack_video
from worldr1.tinyworld.render import render_clips
from worldr1.tinyworld.spoil import sample_spoil

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan

HIGHEST = 9.0
KINDS: dict[str, float] = {
    "clean": 0.36,
    "spoilt": 0.26,
    "edited": 0.14,
    "shrunk": 0.06,
    "faded": 0.05,
    "frozen": 0.05,
    "blurred": 0.05,
    "textureless": 0.03,
}
"""Kinds of clips and their shares."""
STILL = 1.0 / 3.0
"""Quality of what shows no parallax, frozen or asked to stand still: a painted wall proves no world."""
DYNAMIC = 0.1
AUTOENCODED = 0.75
VIEWS = 2


@dataclass(frozen=True)
class MetaSet:
    """N off-trajectory views.

    Attributes:
        images: [N,3,H,W] uint8.
        tokens: [N,C,L] int16, C captions each; the first is what the clip was asked to show.
        grades: [N,C] in [0,9].
        kinds: [N] indices into `KINDS`.
    """

    images: Tensor
    tokens: Tensor
    grades: Tensor
    kinds: Tensor


def make_clip(rng: np.random.Generator, kind: str, order: Order) -> tuple[Tensor, float]:
    """A clip [T,3,H,W] of one kind and its quality in [0,1], before captions are looked at."""
    if kind == "faded":
        return faded(rng, order)
    if kind == "shrunk":
        scene, quality = shrunk(rng, order.shown)
        return render_clips([scene], [order.trajectory])[0].video, quality
    if kind == "spoilt":
        strength = float(rng.uniform(0.3, 1.0))
        name = str(rng.choice(list(SPOIL_SHARES), p=list(SPOIL_SHARES.values())))
        moving = set(order.trajectory.moves) != {"fixed"}
        spoil = sample_spoil(rng, name, moving, strength)
        graded = 1.0 if spoil.parallax else strength
        video = render_clips([order.shown], [order.trajectory], [spoil])[0].video
        return video, (1.0 - graded) * 0.95
    video = render_clips([renderable(order.shown)], [order.trajectory])[0].video
    if kind == "frozen":
        return video[:1].expand_as(video).contiguous(), STILL
    if kind == "blurred":
        sigma = float(rng.uniform(0.7, 3.0))
        return blurred(video, sigma), max(0.0, 0.85 - 0.4 * (sigma - 0.7))
    if kind == "textureless":
        return torch.lerp(video, video.mean((2, 3), keepdim=True), float(rng.uniform(0.7, 1.0))), 0.0
    return video, 1.0


def render_views(rng: np.random.Generator, orders: list[Order], scenes: list[Reconstruction]) -> Tensor:
    """Views [N*VIEWS,3,H,W] in [0,1]: the first of each scene from the reward's own pose, the others near it."""
    poses = []
    for order in orders:
        jitter = [(SIDEWAYS, RAISED)]
        jitter += [tuple(np.radians(rng.uniform((8.0, 8.0), (20.0, 20.0)))) for _ in range(VIEWS - 1)]
        poses.append(torch.stack([meta_view_pose(order.trajectory, side, up) for side, up in jitter]))
    intrinsics = torch.stack([scene.intrinsics for scene in scenes])
    height, width = scenes[0].depth.shape[-2:]
    rendered = render_batch([scene.splats for scene in scenes], poses, intrinsics, height, width)
    return torch.cat([view.image for view in rendered]).clamp(0.0, 1.0)


def meta_part(
    vae: AutoencoderKLWan, reconstructor: Reconstructor, clips: int, seed: tuple[int, ...], split: str
) -> MetaSet:
    """Draw, render, encode and decode, rebuild and view `clips` clips; the same for the same seed.

    Raises ValueError for an unknown split.
    """
    rng = np.random.default_rng(seed)
    names, shares = list(KINDS), list(KINDS.values())
    kinds = [int(k) for k in rng.choice(len(names), clips, p=np.array(shares) / math.fsum(shares))]
    orders = [draw_order(rng, split, DYNAMIC, names[kind] == "edited") for kind in kinds]
    made = [make_clip(rng, names[kind], order) for kind, order in zip(kinds, orders, strict=True)]
    videos = torch.stack([video for video, _ in made])
    quality = torch.tensor([q for _, q in made])
    still = torch.tensor([order.trajectory.moves == ("fixed",) for order in orders])
    quality = torch.where(still, quality.clamp_max(STILL), quality)
    coded = torch.from_numpy(rng.random(clips) < AUTOENCODED)
    if coded.any():
        videos[coded] = to_videos(vae, to_latents(vae, videos[coded]))
    scenes = reconstructor(videos, [order.trajectory for order in orders])
    images = pack_video(render_views(rng, orders, scenes))
    captions = [captions_of(rng, order, split) for order in orders]
    tokens = torch.stack([t for t, _ in captions])
    grades = HIGHEST * quality[:, None] * torch.stack([a for _, a in captions])
    return MetaSet(
        images,
        tokens.repeat_interleave(VIEWS, 0),
        grades.float().repeat_interleave(VIEWS, 0),
        torch.tensor(kinds).repeat_interleave(VIEWS),
    )
