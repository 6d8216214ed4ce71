"""A tiled splat rasteriser in pure PyTorch, differentiable by autograd: what one writes without a kernel.

Gaussians are projected and sorted at once; every tile composites its own list in dense [n, pixels] tensors. The
conventions are those of `worldr1.splats`, so its pictures agree with ours; any float dtype.
"""

from __future__ import annotations

import torch
from torch import Tensor

from worldr1.splats import reference
from worldr1.splats.gaussians import Gaussians

TILE = 16


def render_tiled(gaussians: Gaussians, w2c: Tensor, intrinsics: Tensor, height: int, width: int) -> Tensor:
    """One view as [5, H, W]: red, green, blue, sum of weight * depth, alpha.

    Args:
        gaussians: with RGB colours; gradients reach its tensors.
        w2c: [4, 4] world-to-camera.
        intrinsics: [3, 3] in pixels.
        height, width: in pixels.
    """
    opacities = gaussians.opacities
    centre, covariance, depth = reference.project(
        gaussians.means, gaussians.scales, gaussians.quats, w2c, intrinsics, height, width
    )
    with torch.no_grad():
        reach = (2 * (opacities / reference.MIN_ALPHA).clamp_min(1).log()).sqrt()
        extent = reach[:, None] * covariance.diagonal(dim1=1, dim2=2).sqrt()
        low, high = centre - extent, centre + extent
        seen = (depth > reference.NEAR) & (opacities >= reference.MIN_ALPHA)
        seen &= (high > 0).all(1) & (low[:, 0] < width) & (low[:, 1] < height)
        kept = torch.nonzero(seen)[:, 0]
        kept = kept[torch.argsort(depth[kept], stable=True)]
        low, high = low[kept], high[kept]
    centre, depth, opacities = centre[kept], depth[kept], opacities[kept]
    conic = torch.linalg.inv(covariance[kept])
    conic = torch.stack([conic[:, 0, 0], conic[:, 0, 1], conic[:, 1, 1]], 1)
    features = torch.cat([gaussians.colors[kept], depth[:, None], torch.ones_like(depth)[:, None]], 1)
    rows = []
    for top in range(0, height, TILE):
        bottom = min(top + TILE, height)
        in_row = torch.nonzero((low[:, 1] < bottom) & (high[:, 1] > top))[:, 0]
        low_x, high_x = low[in_row, 0], high[in_row, 0]
        tiles = []
        for left in range(0, width, TILE):
            right = min(left + TILE, width)
            chosen = in_row[(low_x < right) & (high_x > left)]
            tile = _composite(
                centre[chosen], conic[chosen], opacities[chosen], features[chosen], (left, right), (top, bottom)
            )
            tiles.append(tile.reshape(5, bottom - top, right - left))
        rows.append(torch.cat(tiles, 2))
    return torch.cat(rows, 1)


def _composite(
    centre: Tensor, conic: Tensor, opacities: Tensor, features: Tensor, x: tuple[int, int], y: tuple[int, int]
) -> Tensor:
    """Front-to-back sum [5, pixels] of n Gaussians in depth order over the pixels x[0] <= x < x[1], y likewise."""
    dx = torch.arange(*x, dtype=centre.dtype, device=centre.device)[None] + 0.5 - centre[:, :1]
    dy = torch.arange(*y, dtype=centre.dtype, device=centre.device)[None] + 0.5 - centre[:, 1:]
    along, across = 0.5 * conic[:, :1] * dx**2, 0.5 * conic[:, 2:] * dy**2
    mixed = (conic[:, 1:2] * dy)[:, :, None] * dx[:, None]
    power = (along[:, None] + across[:, :, None] + mixed).flatten(1)
    alpha = (opacities[:, None] * torch.exp(-power)).clamp_max(reference.MAX_ALPHA)
    alpha = torch.where(alpha >= reference.MIN_ALPHA, alpha, 0.0)
    with torch.no_grad():
        is_open = torch.cumprod(1 - alpha, 0) > reference.MIN_TRANSMITTANCE
    alpha = torch.where(is_open, alpha, 0.0)
    after = torch.cumprod(1 - alpha, 0)
    before = torch.cat([torch.ones_like(after[:1]), after[:-1]])
    return features.T @ (alpha * before)
