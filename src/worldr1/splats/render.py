"""Rendering of Gaussians: the numba kernel on CPU, gsplat on CUDA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from worldr1.camera import se3
from worldr1.splats.gaussians import Gaussians
from worldr1.splats.rasterize import Jobs, rasterize
from worldr1.splats.sh import sh_to_rgb


class Rendering(NamedTuple):
    """image [...,3,H,W] on black, not clamped from above; depth [...,H,W], mean z of what a pixel shows, 0 where it
    shows nothing; alpha [...,H,W] in [0,1], how much of the pixel is covered."""

    image: Tensor
    depth: Tensor
    alpha: Tensor


def render(
    gaussians: Gaussians,
    c2w: Tensor,
    intrinsics: Tensor,
    height: int,
    width: int,
    exclude_source: int | Tensor | None = None,
    antialiased: bool = False,
) -> Rendering:
    """Renders one view, or V views in one call.

    c2w [4,4] or [V,4,4], OpenCV; intrinsics [3,3] or [V,3,3], pixels, pixel centres at +0.5. exclude_source leaves
    the Gaussians of one source frame out: an int for all views or integers [V], one per view (negative: leave none
    out), so that `exclude_source=torch.arange(T)` redraws every frame from the other frames. antialiased makes a
    Gaussian fainter as the least variance of 0.3 px^2 spreads it (Mip-Splatting, arXiv 2311.16493; gsplat's mode of
    that name), so that small ones do not swell when the camera moves away. Returns image [3,H,W],
    depth [H,W], alpha [H,W], with a leading V when c2w has one. Gradients reach the Gaussians, not the cameras.

    Raises ValueError for shapes that do not fit and for a source asked for that the Gaussians do not carry;
    ImportError on CUDA without gsplat.
    """
    one = c2w.ndim == 2
    exclude = None if exclude_source is None else [exclude_source]
    views = render_batch([gaussians], [c2w[None] if one else c2w], intrinsics, height, width, exclude, antialiased)[0]
    return Rendering(views.image[0], views.depth[0], views.alpha[0]) if one else views


def render_batch(
    scenes: Sequence[Gaussians],
    c2w: Sequence[Tensor] | Tensor,
    intrinsics: Tensor,
    height: int,
    width: int,
    exclude_source: Sequence[int | Tensor] | None = None,
    antialiased: bool = False,
) -> list[Rendering]:
    """Renders many scenes, each from its own views, in one parallel call: equal to `render` of each.

    c2w: for each scene [V_i,4,4] (V_i may differ); intrinsics [3,3] for all, or [B,3,3] per scene, or [V,3,3] when
    there is one scene; exclude_source: for each scene an int or integers [V_i]; antialiased: for all. See `render`.
    Returns one Rendering per scene with a leading V_i.

    Raises ValueError and ImportError as `render` does.
    """
    if len(scenes) != len(c2w):
        raise ValueError(f"render_batch: {len(scenes)} scenes but {len(c2w)} sets of views.")
    if not scenes:
        return []
    if exclude_source is not None and len(exclude_source) != len(scenes):
        raise ValueError(f"render_batch: {len(scenes)} scenes but {len(exclude_source)} entries of exclude_source.")
    if height < 1 or width < 1:
        raise ValueError(f"render: height and width must be positive, got {height} and {width}.")
    lenses, excluded = [], []
    for i, (scene, poses) in enumerate(zip(scenes, c2w, strict=True)):
        if poses.ndim != 3 or tuple(poses.shape[1:]) != (4, 4):
            raise ValueError(f"render: c2w must be [V,4,4] (or [4,4] for one view), got {list(poses.shape)}.")
        if poses.requires_grad or intrinsics.requires_grad:
            raise ValueError("render gives no gradients to cameras; detach them or use splats.reference.")
        lenses.append(_lens(intrinsics, i, len(scenes), len(poses)))
        excluded.append(_excluded(scene, None if exclude_source is None else exclude_source[i], len(poses)))
    devices = {scene.means.device.type for scene in scenes}
    if len(devices) > 1:
        raise ValueError(f"render_batch: all scenes must be on one kind of device, got {sorted(devices)}.")
    if devices == {"cpu"}:
        return _render_cpu(scenes, c2w, lenses, height, width, excluded, antialiased)
    from worldr1.splats.cuda import render_gsplat

    return [
        render_gsplat(scene, poses, lens, height, width, out, antialiased)
        for scene, poses, lens, out in zip(scenes, c2w, lenses, excluded, strict=True)
    ]


def _lens(intrinsics: Tensor, scene: int, scenes: int, views: int) -> Tensor:
    """Intrinsics [V,3,3] of one scene."""
    if tuple(intrinsics.shape) == (3, 3):
        return intrinsics.expand(views, 3, 3)
    if scenes == 1 and tuple(intrinsics.shape) == (views, 3, 3):
        return intrinsics
    if tuple(intrinsics.shape) == (scenes, 3, 3):
        return intrinsics[scene].expand(views, 3, 3)
    raise ValueError(
        f"render: intrinsics must be [3,3], or one [3,3] per scene ({scenes}) or per view of one scene ({views}), "
        f"got {list(intrinsics.shape)}."
    )


def _excluded(scene: Gaussians, exclude: int | Tensor | None, views: int) -> Tensor:
    """Source to leave out per view, [V] int64, -1 for none."""
    if exclude is None:
        return torch.full((views,), -1, dtype=torch.int64)
    if scene.source is None:
        raise ValueError("render: exclude_source needs Gaussians with a source; build them with from_depth.")
    asked = torch.as_tensor(exclude).detach().cpu()
    if asked.is_floating_point() or asked.ndim > 1 or (asked.ndim == 1 and len(asked) != views):
        raise ValueError(f"render: exclude_source must be an int or integers [{views}], got {list(asked.shape)}.")
    return asked.to(torch.int64).expand(views)


def rendering_of(color: Tensor, weighted_depth: Tensor, alpha: Tensor) -> Rendering:
    """Rendering of color [...,H,W,3], sum of weight * depth [...,H,W] and alpha [...,H,W]."""
    return Rendering(color.movedim(-1, -3), weighted_depth / alpha.clamp_min(1e-10), alpha)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """All parts one after another; a single one as it is, without a copy."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _render_cpu(
    scenes: Sequence[Gaussians],
    c2w: Sequence[Tensor] | Tensor,
    lenses: Sequence[Tensor],
    height: int,
    width: int,
    excluded: Sequence[Tensor],
    antialiased: bool,
) -> list[Rendering]:
    first, count, color_first, colors = [], [], [], []
    row = color_row = 0
    for scene, poses in zip(scenes, c2w, strict=True):
        views = len(poses)
        first += [row] * views
        count += [len(scene)] * views
        row += len(scene)
        if scene.sh_degree is None:
            colors.append(scene.colors)
            color_first += [color_row] * views
        else:
            colors.append(sh_to_rgb(scene.colors, scene.means, poses[:, :3, 3].to(scene.means.dtype)).flatten(0, 1))
            color_first += [color_row + k * len(scene) for k in range(views)]
        color_row += len(colors[-1])
    jobs = Jobs(
        first=np.asarray(first, np.int64),
        count=np.asarray(count, np.int64),
        color_first=np.asarray(color_first, np.int64),
        exclude=_joined(excluded).numpy(),
        w2c=se3.invert(_joined([poses.detach().double() for poses in c2w])),
        intrinsics=_joined(lenses),
        height=height,
        width=width,
        antialiased=antialiased,
    )
    source = None
    if any(scene.source is not None for scene in scenes):
        source = _joined([torch.full((len(s),), -2) if s.source is None else s.source for s in scenes])
    pixels = rasterize(
        _joined([scene.means for scene in scenes]),
        _joined([scene.scales for scene in scenes]),
        _joined([scene.quats for scene in scenes]),
        _joined([scene.opacities for scene in scenes]),
        _joined(colors),
        source,
        jobs,
    )
    return [
        rendering_of(part[..., :3], part[..., 3], 1 - part[..., 4])
        for part in pixels.split([len(poses) for poses in c2w])
    ]
