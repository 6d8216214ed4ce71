"""A camera path as a small inline SVG, from above: what a notebook shows of a trajectory."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from worldr1.camera.trajectory import Trajectory

SIDE = 260
_MARGIN = 14
_CAMERAS = 9
_FRUSTUM = 0.12
_CENTRE = torch.tensor([[0.0, 1.0]])


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
    poses = c2w.detach().cpu().double()
    edge = _FRUSTUM * math.tan(math.radians(fov / 2))
    corners = torch.tensor([[-edge, 0, _FRUSTUM], [0, 0, 0], [edge, 0, _FRUSTUM]], dtype=torch.float64)
    step = max((len(poses) - 1) // (_CAMERAS - 1), 1)
    views = (corners @ poses[::step, :3, :3].mT + poses[::step, None, :3, 3])[..., [0, 2]]
    path = poses[:, :3, 3][:, [0, 2]]
    place = _Frame(torch.cat([path, views.flatten(0, 1), _CENTRE.double()]))
    triangles = "".join(f'<polygon points="{place.points(view)}" fill-opacity="0.08"/>' for view in views)
    (start,), (centre,) = place(path[:1]), place(_CENTRE.double())
    x, y = centre
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}" width="{SIDE}" height="{SIDE}" '
        'role="img" aria-label="camera path from above" fill="currentColor" stroke="currentColor">'
        f'<g stroke-width="0.8" stroke-opacity="0.5">{triangles}</g>'
        f'<polyline points="{place.points(path)}" fill="none" stroke-width="2"/>'
        f'<circle cx="{start[0]:.1f}" cy="{start[1]:.1f}" r="3.5"/>'
        f'<path d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8" stroke-width="1.5"/></svg>'
    )


class _Frame:
    """From scene depths (right, forward) to pixels (right, down), with one scale for both."""

    def __init__(self, points: Tensor) -> None:
        low, high = points.amin(dim=0), points.amax(dim=0)
        self._middle = (low + high) / 2
        self._scale = (SIDE - 2 * _MARGIN) / max(float((high - low).max()), 1e-9)

    def __call__(self, points: Tensor) -> Iterable[list[float]]:
        flipped = (points - self._middle) * points.new_tensor([self._scale, -self._scale]) + SIDE / 2
        return [[float(value) for value in row] for row in flipped]

    def points(self, points: Tensor) -> str:
        """Points [N, 2] in scene depths as the text of an SVG `points` attribute, in pixels."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self(points))
