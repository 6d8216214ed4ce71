"""Camera paths from above: where they lead, what the cameras look at, and where that lies in a picture."""

from __future__ import annotations

import math

import torch
from torch import Tensor

CENTRE = (0.0, 1.0)
"""The scene's centre (right, forward), in units of scene depth."""
_CAMERAS = 9
_FRUSTUM = 0.12


def on_the_ground(points: Tensor) -> Tensor:
    """(right, forward) [..., 2] of points [..., 3]."""
    return points[..., [0, 2]]


def footprints(c2w: Tensor, fov: float) -> tuple[Tensor, Tensor]:
    """A path and what nine of its cameras look at.

    Args:
        c2w: OpenCV camera-to-world poses [T, 4, 4], in units of scene depth.
        fov: horizontal field of view, degrees.

    Returns:
        The path [T, 2] and triangles [K, 3, 2] (left end, camera, right end), each (right, forward).
    """
    edge = _FRUSTUM * math.tan(math.radians(fov / 2))
    corners = torch.tensor([[-edge, 0, _FRUSTUM], [0, 0, 0], [edge, 0, _FRUSTUM]], dtype=c2w.dtype)
    step = max((len(c2w) - 1) // (_CAMERAS - 1), 1)
    views = corners @ c2w[::step, :3, :3].mT + c2w[::step, None, :3, 3]
    return on_the_ground(c2w[:, :3, 3]), on_the_ground(views)


class Picture:
    """From (right, forward) to pixels (right, down), with one scale for both, so that all points lie inside.

    Args:
        points: [N, 2].
        size: width and height in pixels.
        margin: left free on all sides.
        least: extent (right, forward) that is shown at least.
    """

    def __init__(
        self, points: Tensor, size: tuple[int, int], margin: int, least: tuple[float, float] = (1e-9, 1e-9)
    ) -> None:
        low, high = points.amin(dim=0), points.amax(dim=0)
        self._middle, self._size = (low + high) / 2, points.new_tensor(size)
        room = zip(size, (high - low).tolist(), least, strict=True)
        self._scale = min((side - 2 * margin) / max(extent, floor) for side, extent, floor in room)

    def __call__(self, points: Tensor) -> list[tuple[float, float]]:
        """Points [N, 2] in pixels."""
        turned = (points - self._middle) * points.new_tensor([self._scale, -self._scale]) + self._size / 2
        return [(x, y) for x, y in turned.tolist()]
