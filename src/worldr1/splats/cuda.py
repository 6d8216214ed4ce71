"""Rendering on CUDA through gsplat (https://github.com/nerfstudio-project/gsplat)."""

from __future__ import annotations

import importlib

import torch
from torch import Tensor

from worldr1.camera import se3
from worldr1.splats.gaussians import Gaussians
from worldr1.splats.render import Rendering, rendering_of
from worldr1.splats.sh import sh_to_rgb


def require_gsplat() -> None:
    """Raises ImportError, with the command that mends it, when gsplat is not installed."""
    try:
        importlib.import_module("gsplat")
    except ImportError as error:
        raise ImportError("Rendering on CUDA needs gsplat: pip install 'worldr1[cuda]'.") from error


def render_gsplat(
    gaussians: Gaussians,
    c2w: Tensor,
    intrinsics: Tensor,
    height: int,
    width: int,
    excluded: Tensor,
    antialiased: bool = False,
) -> Rendering:
    """Views of one scene: c2w [V,4,4], intrinsics [V,3,3], excluded [V] source to leave out (-1: none).

    Views that leave the same source out share one call. Raises ImportError when gsplat is not installed.
    """
    require_gsplat()
    from gsplat import rasterization

    c2w, intrinsics = c2w.to(gaussians.means), intrinsics.to(gaussians.means)
    pixels: list[Tensor | None] = [None] * len(c2w)
    for left_out in excluded.unique().tolist():
        views = torch.nonzero(excluded == left_out)[:, 0]
        seen = gaussians
        if left_out >= 0 and gaussians.source is not None:
            seen = gaussians[gaussians.source != left_out]
        poses = c2w[views.to(c2w.device)]
        colors = seen.colors if seen.sh_degree is None else sh_to_rgb(seen.colors, seen.means, poses[:, :3, 3])
        drawn, alpha, _ = rasterization(
            means=seen.means,
            quats=seen.quats,
            scales=seen.scales,
            opacities=seen.opacities,
            colors=colors,
            viewmats=se3.invert(poses),
            Ks=intrinsics[views.to(intrinsics.device)],
            width=width,
            height=height,
            render_mode="RGB+D",
            rasterize_mode="antialiased" if antialiased else "classic",
            packed=False,
        )
        for k, view in enumerate(views.tolist()):
            pixels[view] = torch.cat([drawn[k], alpha[k]], -1)
    stacked = torch.stack([part for part in pixels if part is not None])
    return rendering_of(stacked[..., :3], stacked[..., 3], stacked[..., 4])
