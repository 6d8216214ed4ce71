"""Defects that can be put on any video, because they act on pictures alone.

All but "shuffle" grow from nothing in the first frame. Warping interpolates, which blurs a little: that alone makes
frames agree better, not worse.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

KINDS = ("bend", "swim", "slip", "fade", "shuffle")
STRENGTHS = ("mild", "strong")
_REACH = {"bend": (0.01, 0.025), "swim": (0.01, 0.025), "slip": (0.03, 0.07), "fade": (0.4, 1.0)}
_BLOCK = (3, 6)
_CYCLES = 1.25


def spoil(video: Tensor, kind: str, strength: str, rng: np.random.Generator, other: Tensor) -> Tensor:
    """A spoilt version of a video [T, 3, H, W] in [0, 1].

    Args:
        kind: "bend" pushes rows sideways along a sine that swings; "swim" moves all places by smooth displacements
            that change smoothly; "slip" moves what lies in a soft disc to and fro, and nothing else; "fade" turns it
            into `other` half-way; "shuffle" changes the order of frames within short blocks.
        strength: "mild" or "strong": 1 or 2.5% of the width, for slip 3 or 7%; 40 or 100% of the other video; blocks
            of 3 or 6.
        rng: of places and orders.
        other: another video of the same shape.

    Raises:
        ValueError: for another kind or strength.
    """
    if kind not in KINDS or strength not in STRENGTHS:
        raise ValueError(f"there is no {strength} {kind}; kinds are {', '.join(KINDS)}, strengths {STRENGTHS}")
    level = STRENGTHS.index(strength)
    if kind == "shuffle":
        return video[_shuffled(len(video), _BLOCK[level], rng)]
    reach = _REACH[kind][level]
    if kind == "fade":
        share = torch.linspace(0, 1, len(video)).sub(0.35).div(0.3).clamp(0, 1)[:, None, None, None] * reach
        return (1 - share) * video + share * other
    moved = {"bend": _bend, "swim": _swim, "slip": _slip}[kind](tuple(video.shape), rng)
    return _displaced(video, reach * moved)


def _swing(frames: int) -> Tensor:
    return torch.sin(2 * math.pi * _CYCLES * torch.linspace(0, 1, frames))[:, None, None, None]


def _bend(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    frames, _, height, width = shape
    wave = torch.sin(7 * torch.linspace(0, 1, height) + float(rng.uniform(0, 2 * math.pi)))
    push = torch.stack([wave, torch.zeros(height)])[:, :, None].expand(2, height, width)
    return _swing(frames) * push


def _swim(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    frames, _, height, width = shape
    knots = torch.from_numpy(rng.standard_normal((1, 2, 5, 5, 7))).float()
    knots = knots - knots[:, :, :1]
    field = functional.interpolate(knots, size=(frames, height, width), mode="trilinear", align_corners=True)
    return field[0].transpose(0, 1) / field.norm(dim=1).max()


def _slip(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    frames, _, height, width = shape
    y, x = torch.meshgrid(torch.linspace(0, height / width, height), torch.linspace(0, 1, width), indexing="ij")
    at_y, at_x = rng.uniform(0.35, 0.65) * height / width, rng.uniform(0.3, 0.7)
    inside = torch.sigmoid((0.18 - torch.hypot(y - at_y, x - at_x)) / 0.015)
    angle = float(rng.uniform(0, 2 * math.pi))
    return _swing(frames) * torch.stack([math.cos(angle) * inside, math.sin(angle) * inside])


def _displaced(video: Tensor, share: Tensor) -> Tensor:
    """Every place takes what lies `share` [T, 2, H, W] (x and y, in widths) away; beyond the edges these repeat."""
    _, _, height, width = video.shape
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    scale = torch.tensor([2.0, 2.0 * width / height])
    places = torch.stack([x, y], dim=-1) + share.permute(0, 2, 3, 1) * scale
    return functional.grid_sample(video, places, mode="bilinear", padding_mode="border", align_corners=True)


def _shuffled(frames: int, block: int, rng: np.random.Generator) -> Tensor:
    order = torch.arange(frames)
    for start in range(0, frames, block):
        part = order[start : start + block].clone()
        order[start : start + block] = part[torch.from_numpy(rng.permutation(len(part)))]
    return order
