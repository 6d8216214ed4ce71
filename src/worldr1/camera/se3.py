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


def compose(rotation: Tensor, translation: Tensor) -> Tensor:
    """Put rotations ``[..., 3, 3]`` and translations ``[..., 3]`` together as ``[..., 4, 4]``."""
    top = torch.cat([rotation, translation.unsqueeze(-1)], dim=-1)
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=top.dtype, device=top.device).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], dim=-2)


def invert(transform: Tensor) -> Tensor:
    """Invert rigid transforms ``[..., 4, 4]`` by transposing the rotation (exact, no linear solve)."""
    rotation = transform[..., :3, :3].mT
    return compose(rotation, -(rotation @ transform[..., :3, 3:]).squeeze(-1))


def relative_to_first(c2w: Tensor) -> Tensor:
    """Express camera-to-world poses ``[T, 4, 4]`` in the frame of the first, which becomes the identity."""
    relative = invert(c2w[:1].double()) @ c2w.double()
    relative[0] = torch.eye(4, dtype=relative.dtype, device=relative.device)
    return relative.to(c2w.dtype)
