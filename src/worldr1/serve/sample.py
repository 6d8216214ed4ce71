"""From an upload to the sample that is scored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldr1.camera.language import ALL_MOVES, check_moves
from worldr1.camera.trajectory import Trajectory
from worldr1.rewards.types import Sample
from worldr1.serve.mp4 import decode_mp4, looks_mp4
from worldr1.serve.raw import decode_raw, looks_raw
from worldr1.serve.refusal import Refused
from worldr1.serve.settings import ServiceSettings
from worldr1.serve.wire import CameraPath, ScoreRequest

_FARTHEST = 1000.0
_SKEW = 1e-2


@dataclass(frozen=True)
class Upload:
    """One request as it came: its checked JSON and the bytes of the video."""

    request: ScoreRequest
    video: bytes


def sample_of(upload: Upload, settings: ServiceSettings) -> Sample:
    """Decode an upload; the video keeps its type (uint8, or floating point in [0,1]).

    Raises:
        Refused: the video is too large, of a kind that is not read, broken, or does not fit the camera.
    """
    video = _decode(upload.video, settings)
    return Sample(video, upload.request.prompt, _trajectory(upload.request, len(video)))


def as_float(sample: Sample) -> Sample:
    """The sample with its video as float32 in [0,1], as rewards take it."""
    video = sample.video
    values = video.float() / 255 if video.dtype == torch.uint8 else video.float()
    return Sample(values, sample.prompt, sample.trajectory)


def _decode(payload: bytes, settings: ServiceSettings) -> Tensor:
    if looks_mp4(payload):
        return decode_mp4(payload, settings)
    if looks_raw(payload):
        return decode_raw(payload, settings)
    raise Refused(415, "the video must be an mp4 file, or safetensors bytes with one tensor named 'video'")


def _trajectory(request: ScoreRequest, frames: int) -> Trajectory:
    if request.camera is not None and request.trajectory is not None:
        raise Refused(422, "give either camera or trajectory, not both")
    if request.trajectory is not None:
        return _from_path(request.trajectory, frames)
    if request.camera is None:
        return Trajectory.from_prompt(request.prompt, frames)
    asked = Trajectory.from_prompt(request.camera, frames)
    if not asked.moves:
        raise Refused(422, f"camera names no camera move; the moves are {', '.join(ALL_MOVES)}")
    return asked


def _from_path(path: CameraPath, frames: int) -> Trajectory:
    if len(path.c2w) != frames:
        raise Refused(422, f"the trajectory has {len(path.c2w)} poses for {frames} frames; it needs one for each")
    try:
        moves = check_moves(path.moves)
    except ValueError as error:
        raise Refused(422, f"trajectory.moves: {error}") from error
    try:
        poses = torch.tensor(path.c2w, dtype=torch.float32)
        trajectory = Trajectory(poses, moves, path.fov)
    except (ValueError, TypeError, RuntimeError) as error:
        raise Refused(422, "trajectory.c2w must be finite poses [T, 4, 4], the first the identity") from error
    rotations = poses[:, :3, :3]
    skew = (rotations @ rotations.mT - torch.eye(3)).abs().amax()
    last = (poses[:, 3] - torch.tensor([0.0, 0.0, 0.0, 1.0])).abs().amax()
    if not (skew < _SKEW and last < _SKEW and poses[:, :3, 3].abs().amax() < _FARTHEST):
        raise Refused(422, f"trajectory.c2w must hold rigid poses, translations below {_FARTHEST:.0f}")
    return trajectory
