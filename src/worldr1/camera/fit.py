"""Camera paths made to fit a clip: another number of frames, another unit of length."""

from __future__ import annotations

import torch
from torch import Tensor

from worldr1.camera import se3
from worldr1.camera.trajectory import Trajectory


def fit_trajectory(trajectory: Trajectory, frames: int, scene_depth: float = 1.0) -> Trajectory:
    """The same path with evenly spread poses, in units of scene depth.

    Between two poses the camera's centre moves straight and its orientation turns about one axis at constant speed
    (slerp). With as many frames as before and a scene depth of 1 the poses come back bit for bit.

    Args:
        trajectory: T poses, evenly spread over the clip.
        frames: how many are wanted.
        scene_depth: distance from the first camera to what the video is about, in the trajectory's unit of length.

    Raises:
        ValueError: when `frames` is below 1 or the scene depth is not positive.
    """
    if frames < 1:
        raise ValueError(f"frames is {frames}; a trajectory needs at least 1 frame.")
    if not 0.0 < scene_depth < float("inf"):
        raise ValueError(f"The scene depth is {scene_depth}; it must be a positive length in the file's unit.")
    c2w = trajectory.c2w
    if frames != trajectory.frames:
        c2w = _resampled(c2w.double(), frames).to(c2w.dtype)
    if scene_depth != 1.0:
        c2w = se3.compose(c2w[:, :3, :3], c2w[:, :3, 3] / scene_depth)
    return Trajectory(c2w, trajectory.moves, trajectory.fov)


def _resampled(c2w: Tensor, frames: int) -> Tensor:
    places = torch.linspace(0, len(c2w) - 1, frames, dtype=c2w.dtype)
    before = places.floor().long().clamp(max=max(len(c2w) - 2, 0))
    after = (before + 1).clamp(max=len(c2w) - 1)
    share = (places - before)[:, None]
    quaternions = se3.matrix_to_quaternion(c2w[:, :3, :3])
    rotation = se3.quaternion_to_matrix(_slerp(quaternions[before], quaternions[after], share))
    return se3.compose(rotation, torch.lerp(c2w[before, :3, 3], c2w[after, :3, 3], share))


def _slerp(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """Quaternions [N, 4] a share [N, 1] of the shorter way from unit quaternions to others."""
    cosine = (start * end).sum(-1, keepdim=True)
    end, cosine = torch.where(cosine < 0, -end, end), cosine.abs().clamp(max=1.0)
    angle = cosine.acos()
    sine = angle.sin()
    close = sine < 1e-6
    safe = torch.where(close, torch.ones_like(sine), sine)
    turned = (((1 - share) * angle).sin() * start + (share * angle).sin() * end) / safe
    return torch.where(close, torch.lerp(start, end, share), turned)
