"""Where things go in the image when the camera moves: homographies, dense optical flow, maps between latent frames.

Without a depth the scene is the plane that faces the first camera at depth 1, through the scene's centre. All poses are
those of a ``Trajectory``; pixel centres lie at +0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldr1.camera import se3
from worldr1.camera.trajectory import Trajectory

_NEAR = 1e-6
_IN_PLANE = 1e-9


@dataclass(frozen=True)
class FlowMaps:
    """Positions between successive latent frames, in latent pixels (x, y); nan where a ray meets nothing.

    Attributes:
        forward: ``[T-1, 2, H, W]``, where the centre of each cell of frame ``k`` lies in frame ``k + 1``.
        backward: ``[T-1, 2, H, W]``, where the centre of each cell of frame ``k + 1`` lies in frame ``k``.
    """

    forward: Tensor
    backward: Tensor


def latent_poses(trajectory: Trajectory, latent_frames: int) -> Tensor:
    """Poses of the video frames that the latent frames stand for: 0, 4, 8, ... where time is compressed fourfold.

    Where time is compressed fourfold there may be one latent frame more, which leads in and shares the first pose
    (CogVideoX1.5 fills its pairs of frames so, and drops it).

    Args:
        trajectory: T video frames.
        latent_frames: number N of latent frames; ``T - 1`` must be a multiple of ``N - 1``, or be ``4 (N - 2)``.

    Returns:
        ``[N, 4, 4]`` float64 camera-to-world.

    Raises:
        ValueError: when the latent frames do not fall on video frames.
    """
    if latent_frames < 1:
        raise ValueError(f"{latent_frames} latent frames were asked for; at least 1 is needed.")
    gaps, span = latent_frames - 1, trajectory.frames - 1
    if gaps > 1 and span % gaps and span == 4 * (gaps - 1):
        return torch.cat([trajectory.c2w[:1], trajectory.c2w[::4]]).double()
    if gaps and (span % gaps or span < gaps):
        raise ValueError(
            f"{latent_frames} latent frames do not fall evenly on {trajectory.frames} video frames; frames - 1 must be "
            f"a multiple of latent frames - 1, as in 81 frames and 21 latent frames."
        )
    return trajectory.c2w.double()[:: span // gaps if gaps else span + 1]


def plane_homographies(c2w: Tensor) -> Tensor:
    """Homographies of the plane ``z = 1`` of the first frame, from the first frame to each other.

    With the plane's normal ``e3``, a point ``X`` of it has camera coordinates ``R^T (X - t) = R^T (I - t e3^T) X`` in a
    frame whose camera-to-world pose is ``(R, t)``.

    Args:
        c2w: ``[T, 4, 4]``.

    Returns:
        ``[T, 3, 3]`` float64 in normalised image coordinates (before intrinsics), not rescaled: the third component of
        the image of ``(x, y, 1)`` is its depth, so it is positive in front of the camera.
    """
    c2w = c2w.double().cpu()
    shifted = torch.eye(3, dtype=torch.float64).repeat(c2w.shape[0], 1, 1)
    shifted[:, :, 2] -= c2w[:, :3, 3]
    return c2w[:, :3, :3].mT @ shifted


def plane_returns(c2w: Tensor) -> Tensor:
    """Inverses of ``plane_homographies``: from each frame back to the first.

    They are ``(I + t e3^T / (1 - t_z)) R``; a camera in the plane itself, for which there is none, is moved off it by a
    billionth. The third component of the image of a ray is positive where the ray meets the plane in front of the
    camera.

    Args:
        c2w: ``[T, 4, 4]``.

    Returns:
        ``[T, 3, 3]`` float64.
    """
    c2w = c2w.double().cpu()
    distance = 1.0 - c2w[:, 2, 3]
    distance = torch.where(distance.abs() < _IN_PLANE, _IN_PLANE, distance)
    shifted = torch.eye(3, dtype=torch.float64).repeat(c2w.shape[0], 1, 1)
    shifted[:, :, 2] += c2w[:, :3, 3] / distance[:, None]
    return shifted @ c2w[:, :3, :3]


def optical_flow(trajectory: Trajectory, height: int, width: int, depth: Tensor | None = None) -> Tensor:
    """Dense optical flow from each video frame to the next.

    Args:
        trajectory: T video frames.
        height: image height in pixels.
        width: image width in pixels.
        depth: ``[T, H, W]`` z-depth in the trajectory's units; ``None`` for the plane at depth 1.

    Returns:
        ``[T-1, 2, H, W]`` float32 (x, y) in pixels; nan where a ray meets nothing or lands behind the next camera.

    Raises:
        ValueError: when the depth has another shape.
    """
    positions = next_positions(trajectory.c2w, trajectory.intrinsics(height, width), (height, width), depth)
    return (positions - pixel_centres(height, width)).float()


def latent_maps(trajectory: Trajectory, shape: tuple[int, int, int], depth: Tensor | None = None) -> FlowMaps:
    """Forward and backward maps between successive latent frames.

    Args:
        trajectory: the video's camera.
        shape: ``(T, H, W)`` of the latents.
        depth: ``[T, H, W]`` z-depth at the latent frames and resolution; ``None`` for the plane at depth 1.

    Raises:
        ValueError: when the latent frames do not fall on video frames, or the depth has another shape.
    """
    frames, height, width = shape
    c2w, intrinsics = latent_poses(trajectory, frames), trajectory.intrinsics(height, width)
    return FlowMaps(
        forward=next_positions(c2w, intrinsics, (height, width), depth, forward=True).float(),
        backward=next_positions(c2w, intrinsics, (height, width), depth, forward=False).float(),
    )


def next_positions(
    c2w: Tensor, intrinsics: Tensor, size: tuple[int, int], depth: Tensor | None = None, forward: bool = True
) -> Tensor:
    """Where each pixel of a frame lies in the next one (or, not forward, in the one before).

    Args:
        c2w: ``[T, 4, 4]`` in the world of the trajectory's first frame, which need not be among them.
        intrinsics: ``[3, 3]`` in pixels.
        size: ``(H, W)``.
        depth: ``[T, H, W]`` z-depth; ``None`` for the plane at depth 1 of the trajectory's first frame.
        forward: from frame ``k`` to ``k + 1``; otherwise from ``k + 1`` to ``k``.

    Returns:
        ``[T-1, 2, H, W]`` float64 (x, y) in pixels; nan where a ray meets nothing or lands behind the other camera.

    Raises:
        ValueError: when the depth has another shape.
    """
    height, width = size
    c2w, intrinsics = c2w.double().cpu(), intrinsics.double().cpu()
    source, target = (slice(None, -1), slice(1, None)) if forward else (slice(1, None), slice(None, -1))
    grid = pixel_centres(height, width)
    rays = torch.linalg.solve(intrinsics, torch.cat([grid, torch.ones(1, height, width, dtype=grid.dtype)]).flatten(1))
    if depth is None:
        first = plane_returns(c2w[source]) @ rays
        visible = first[:, 2:] > _NEAR
        first = first / torch.where(visible, first[:, 2:], 1.0)
        points = plane_homographies(c2w[target]) @ first
    else:
        if tuple(depth.shape) != (c2w.shape[0], height, width):
            raise ValueError(
                f"depth has shape {tuple(depth.shape)}; it must be [T, H, W] = {[c2w.shape[0], height, width]}."
            )
        scale = depth.double().cpu()[source].flatten(1).unsqueeze(1)
        visible = scale > _NEAR
        relative = se3.invert(c2w[target]) @ c2w[source]
        points = relative[:, :3, :3] @ (rays * scale) + relative[:, :3, 3:]
    visible = visible & (points[:, 2:] > _NEAR)
    projected = intrinsics @ points
    position = projected[:, :2] / torch.where(visible, projected[:, 2:], 1.0)
    return torch.where(visible, position, torch.nan).unflatten(-1, (height, width))


def pixel_centres(height: int, width: int) -> Tensor:
    """``[2, H, W]`` float64 pixel centres (x, y)."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64) + 0.5, torch.arange(width, dtype=torch.float64) + 0.5, indexing="ij"
    )
    return torch.stack([x, y])
