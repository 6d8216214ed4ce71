"""Gaussians of a Depth Anything 3 scene: from its own head where it has one, else from depth, confidence and colour."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from worldr1.camera import se3
from worldr1.splats.gaussians import Gaussians, from_depth
from worldr1.splats.sh import sh_basis

FOOTPRINT = 0.5
SH_SAMPLES = 256


class HeadGaussians(Protocol):
    """What the upstream Gaussian head gives, all in its world, G = frames * height * width in this order.

    means [B,G,3]; scales [B,G,3], linear; rotations [B,G,4], wxyz; harmonics [B,G,3,K]; opacities [B,G].
    """

    means: Tensor
    scales: Tensor
    rotations: Tensor
    harmonics: Tensor
    opacities: Tensor


def from_head(head: HeadGaussians, frames: int, chosen: Tensor) -> Gaussians:
    """Gaussians of the chosen frames [S] of a head's output of one video, in the head's world; source is the frame.

    Those that are not finite or have a size that is not positive (the head can move a surface behind its camera) are
    left out. Raises ValueError when the output does not belong to one video of that many frames.
    """
    count = head.means.shape[1]
    if head.means.shape[0] != 1 or count % frames:
        raise ValueError(f"The Gaussian head's means {list(head.means.shape)} do not belong to one video of {frames}.")
    parts = [
        value[0].detach().float().unflatten(0, (frames, -1))[chosen.to(value.device)].flatten(0, 1)
        for value in (head.means, head.scales, head.rotations, head.opacities, head.harmonics)
    ]
    means, scales, quats, opacities, colors = parts
    colors = colors.mT
    source = chosen.to(means.device, torch.int64).repeat_interleave(count // frames)
    keep = torch.isfinite(means).all(1) & torch.isfinite(scales).all(1) & (scales > 0).all(1)
    keep &= torch.isfinite(quats).all(1) & torch.isfinite(opacities) & torch.isfinite(colors).all(2).all(1)
    return Gaussians(
        means=means[keep],
        scales=scales[keep],
        quats=quats[keep],
        opacities=opacities[keep].clamp(0.0, 1.0),
        colors=colors[keep].contiguous(),
        source=source[keep],
    )


def from_maps(
    images: Tensor, depth: Tensor, confidence: Tensor, c2w: Tensor, intrinsics: Tensor, chosen: Tensor, most: int
) -> Gaussians:
    """Pixel-aligned Gaussians of the chosen frames [S], thinned to at most about `most` per frame.

    images [T,3,h,w] in [0,1]; depth and confidence [T,h,w]; c2w [T,4,4]; intrinsics [3,3] in pixels of these images.
    Sizes are half a pixel's footprint (standard deviation): on scenes of known geometry off-trajectory views are then
    nearest to the truth, and a single frame closes its surface. Opacity is the confidence over the frame's median one,
    at most 1: half the pixels are solid, doubtful ones fade, and a confidence of 0 gives nothing.
    """
    some = chosen.to(depth.device)
    stride = max(1, math.ceil(math.sqrt(depth.shape[1] * depth.shape[2] / most)))
    sure = confidence[some]
    typical = sure.flatten(1).median(dim=1).values.clamp(min=1e-6)[:, None, None]
    return from_depth(
        images[some],
        depth[some],
        c2w[some],
        intrinsics,
        confidence=(sure / typical).clamp(0.0, 1.0),
        source=chosen.to(depth.device),
        footprint=FOOTPRINT,
        stride=stride,
    )


def transform(gaussians: Gaussians, rotation: Tensor, translation: Tensor, scale: float) -> Gaussians:
    """Gaussians moved to x' = scale * rotation x + translation, their view-dependent colours turned with them.

    rotation [3,3]; translation [3]; scale > 0.
    """
    turn = rotation.to(gaussians.means)
    colors = gaussians.colors
    if gaussians.sh_degree is not None:
        mixing = sh_rotation(rotation, colors.shape[1]).to(colors)
        colors = torch.einsum("jk,nkc->njc", mixing, colors)
    return Gaussians(
        means=scale * gaussians.means @ turn.T + translation.to(gaussians.means),
        scales=gaussians.scales * scale,
        quats=se3.matrix_to_quaternion(turn @ se3.quaternion_to_matrix(gaussians.quats)),
        opacities=gaussians.opacities,
        colors=colors,
        source=gaussians.source,
    )


def sh_rotation(rotation: Tensor, count: int) -> Tensor:
    """Matrix [count,count], float64, that turns SH coefficients with a scene turned by rotation [3,3].

    A turned colour function is f'(d) = f(rotation^T d). The basis is closed under rotations, so least squares over
    more directions than coefficients finds the new coefficients exactly.
    """
    turn = rotation.detach().double().cpu()
    index = torch.arange(SH_SAMPLES, dtype=torch.float64) + 0.5
    height = 1 - 2 * index / SH_SAMPLES
    angle = index * (math.pi * (1 + math.sqrt(5)))
    radius = (1 - height**2).sqrt()
    directions = torch.stack([radius * angle.cos(), radius * angle.sin(), height], -1)
    return torch.linalg.lstsq(sh_basis(directions, count), sh_basis(directions @ turn, count)).solution
