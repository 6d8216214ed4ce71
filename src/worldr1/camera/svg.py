"""A camera path as a small inline SVG, from above: what a notebook shows of a trajectory."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from worldr1.camera.above import CENTRE, Picture, footprints

if TYPE_CHECKING:
    from worldr1.camera.trajectory import Trajectory

SIDE = 260
_MARGIN = 14


def trajectory_html(trajectory: Trajectory) -> str:
    """A self-contained fragment: the moves in words, and the path from above."""
    moves = ", then ".join(trajectory.moves)
    travel = float(trajectory.c2w[:, :3, 3].diff(dim=0).norm(dim=1).sum())
    words = f"{moves or 'camera path'}; {trajectory.frames} frames, {trajectory.fov:g}° wide, travels {travel:.2f}"
    picture = path_svg(trajectory.c2w, trajectory.fov)
    return f"<figure><figcaption>{html.escape(words)} scene depths</figcaption>{picture}</figure>"


def path_svg(c2w: Tensor, fov: float = 64.0) -> str:
    """Camera-to-world poses [T, 4, 4] seen from above, in units of scene depth.

    The dot is the first camera, triangles show what nine of the cameras look at, the cross is the scene's centre. Drawn
    in the colour of the surrounding text.

    Args:
        c2w: OpenCV poses; up in the picture is forward, right is right.
        fov: horizontal field of view, degrees.
    """
    path, views = footprints(c2w.detach().cpu().double(), fov)
    middle = path.new_tensor([CENTRE])
    place = Picture(torch.cat([path, views.flatten(0, 1), middle]), (SIDE, SIDE), _MARGIN)
    triangles = "".join(f'<polygon points="{_points(place(view))}" fill-opacity="0.08"/>' for view in views)
    (start,), (centre,) = place(path[:1]), place(middle)
    x, y = centre
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}" width="{SIDE}" height="{SIDE}" '
        'role="img" aria-label="camera path from above" fill="currentColor" stroke="currentColor">'
        f'<g stroke-width="0.8" stroke-opacity="0.5">{triangles}</g>'
        f'<polyline points="{_points(place(path))}" fill="none" stroke-width="2"/>'
        f'<circle cx="{start[0]:.1f}" cy="{start[1]:.1f}" r="3.5"/>'
        f'<path d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8" stroke-width="1.5"/></svg>'
    )


def _points(places: Iterable[tuple[float, float]]) -> str:
    """Places in pixels as the text of an SVG `points` attribute."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
