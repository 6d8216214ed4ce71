"""Rigid transforms as 4x4 camera-to-world matrices (OpenCV axes: x right, y down, z forward)."""

from __future__ import annotations

import torch
from torch import Tensor


def yaw(angle: Tensor) -> Tensor:
    """Rotations about the camera's y axis (which points down).

    Args:
        angle: ``[...]`` radians; positive turns the view to the right, so that the forward axis becomes
            ``(sin, 0, cos)``.

    Returns:
        ``[..., 3, 3]`` rotation matrices.
    """
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], dim=-1).unflatten(-1, (3, 3))


def pitch(angle: Tensor) -> Tensor:
    """Rotations about the camera's x axis (which points right).

    Args:
        angle: ``[...]`` radians; positive turns the view up, so that the forward axis becomes ``(0, -sin, cos)``.

    Returns:
        ``[..., 3, 3]`` rotation matrices.
    """
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=-1).unflatten(-1, (3, 3))


def roll(angle: Tensor) -> Tensor:
    """Rotations about the camera's z axis (which points forward).

    Args:
        angle: ``[...]`` radians; positive turns the camera clockwise as its operator sees it, so that its right axis
            becomes ``(cos, sin, 0)`` and the picture turns anticlockwise.

    Returns:
        ``[..., 3, 3]`` rotation matrices.
    """
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], dim=-1).unflatten(-1, (3, 3))


def compose(rotation: Tensor, translation: Tensor) -> Tensor:
    """Put rotations ``[..., 3, 3]`` and translations ``[..., 3]`` together as ``[..., 4, 4]``."""
    top = torch.cat([rotation, translation.unsqueeze(-1)], dim=-1)
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=top.dtype, device=top.device).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], dim=-2)


def invert(transform: Tensor) -> Tensor:
    """Invert rigid transforms ``[..., 4, 4]`` by transposing the rotation (exact, no linear solve)."""
    rotation, inverse = transform[..., :3, :3].mT, transform.clone()
    inverse[..., :3, :3] = rotation
    inverse[..., :3, 3:] = -(rotation @ transform[..., :3, 3:])
    return inverse


def relative_to_first(c2w: Tensor) -> Tensor:
    """Express camera-to-world poses ``[T, 4, 4]`` in the frame of the first, which becomes the identity."""
    relative = invert(c2w[:1].double()) @ c2w.double()
    relative[0] = torch.eye(4, dtype=relative.dtype, device=relative.device)
    return relative.to(c2w.dtype)


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """Rotation matrices ``[..., 3, 3]`` of quaternions ``[..., 4]`` (w, x, y, z), which need not be of unit length."""
    w, x, y, z = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    ]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def matrix_to_quaternion(rotation: Tensor) -> Tensor:
    """Unit quaternions ``[..., 4]`` (w, x, y, z) with ``w >= 0`` of rotation matrices ``[..., 3, 3]``.

    The outer product ``4 q q^T`` follows linearly from the matrix; its row with the largest diagonal is the stable one.
    """
    (a, b, c), (d, e, f), (g, h, i) = ([*row.unbind(-1)] for row in rotation.unbind(-2))
    outer = torch.stack(
        [
            *(1 + a + e + i, h - f, c - g, d - b),
            *(h - f, 1 + a - e - i, b + d, c + g),
            *(c - g, b + d, 1 - a + e - i, f + h),
            *(d - b, c + g, f + h, 1 - a - e + i),
        ],
        dim=-1,
    ).unflatten(-1, (4, 4))
    best = outer.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    row = outer.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    unit = row / row.norm(dim=-1, keepdim=True)
    return torch.where(unit[..., :1] < 0, -unit, unit)
