"""Camera trajectories: the moves that a prompt asks for, as one exact pose per frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldr1.camera import se3
from worldr1.camera.language import check_moves, parse_moves

_TRANSLATION: dict[str, tuple[float, float, float]] = {
    "push in": (0.0, 0.0, 0.40),
    "pull out": (0.0, 0.0, -0.40),
    "move left": (-0.35, 0.0, 0.0),
    "move right": (0.35, 0.0, 0.0),
    "pull left": (-0.25, 0.0, -0.28),
    "pull right": (0.25, 0.0, -0.28),
    "crane up": (0.0, -0.20, 0.0),
    "crane down": (0.0, 0.20, 0.0),
}
_PAN: dict[str, float] = {"pan left": math.radians(-25.0), "pan right": math.radians(25.0)}
_TILT: dict[str, float] = {"tilt up": math.radians(15.0), "tilt down": math.radians(-15.0)}
_ROLL: dict[str, float] = {"roll left": math.radians(-20.0), "roll right": math.radians(20.0)}
_ORBIT: dict[str, float] = {"orbit left": math.radians(30.0), "orbit right": math.radians(-30.0)}
_NEAREST_CENTRE = 0.1


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One camera pose per video frame, relative to the first.

    Attributes:
        c2w: ``[T, 4, 4]`` float32 camera-to-world, OpenCV axes; ``c2w[0]`` is the identity. Translations are in units
            of scene depth: the scene's centre lies at ``(0, 0, 1)`` in the first frame.
        moves: the moves that made it, in order; empty when no camera words were given.
        fov: horizontal field of view in degrees.

    Raises:
        ValueError: on another shape, poses that are not finite, a first pose that is not the identity, or a field of
            view outside (0, 180).
    """

    c2w: Tensor
    moves: tuple[str, ...] = ()
    fov: float = 64.0

    def __post_init__(self) -> None:
        if self.c2w.ndim != 3 or self.c2w.shape[0] < 1 or self.c2w.shape[1:] != (4, 4):
            raise ValueError(f"Trajectory.c2w has shape {tuple(self.c2w.shape)}; it must be [T, 4, 4] with T >= 1.")
        if not bool(torch.isfinite(self.c2w).all()):
            raise ValueError("Trajectory.c2w holds values that are not finite; every pose must be a rigid transform.")
        if not torch.allclose(self.c2w[0].double().cpu(), torch.eye(4, dtype=torch.float64), atol=1e-4):
            raise ValueError(
                "Trajectory.c2w[0] is not the identity; pass the poses through worldr1.camera.se3.relative_to_first."
            )
        if not 0.0 < self.fov < 180.0:
            raise ValueError(f"Trajectory.fov is {self.fov}; it must lie between 0 and 180 degrees.")

    @property
    def frames(self) -> int:
        """Number of video frames T."""
        return int(self.c2w.shape[0])

    @classmethod
    def from_prompt(cls, prompt: str, frames: int = 81, fov: float = 64.0) -> Trajectory:
        """The trajectory that a prompt asks for; a prompt without camera words gives a fixed camera and no moves."""
        return cls.from_moves(parse_moves(prompt), frames, fov)

    @classmethod
    def from_moves(cls, moves: Sequence[str], frames: int = 81, fov: float = 64.0) -> Trajectory:
        """Up to three moves, one after another, at constant speed.

        A single move has its whole amplitude over the clip: push in and pull out 0.40, move 0.35, orbit 30 degrees
        about the point straight ahead at the depth of the scene's centre, pan 25 degrees, pull left and right 0.28
        back and 0.25 sideways; crane 0.20, tilt 15 degrees (the share of a 16:9 picture's height that move and pan have
        of its width) and roll 20 degrees, to the right clockwise as the operator sees it.
        ``n`` moves share the clip evenly, each at the speed of a single move (amplitude ``1 / n``), and each acts in
        the camera frame in which it starts.

        Args:
            moves: names out of ``worldr1.camera.language.ALL_MOVES``, at most three; empty for a fixed camera.
            frames: number of video frames T, at least 1.
            fov: horizontal field of view in degrees.

        Raises:
            ValueError: on an unknown move, more than three moves, or fewer than one frame.
        """
        names = check_moves(moves)
        if frames < 1:
            raise ValueError(f"frames is {frames}; a trajectory needs at least 1 frame.")
        progress = torch.arange(frames, dtype=torch.float64) / max(frames - 1, 1) * len(names)
        poses = torch.eye(4, dtype=torch.float64).repeat(frames, 1, 1)
        start = torch.eye(4, dtype=torch.float64)
        for segment, name in enumerate(names):
            centre_depth = float(se3.invert(start)[2, 2] + se3.invert(start)[2, 3])
            share = (progress - segment).clamp(0.0, 1.0) / len(names)
            end = torch.tensor([1.0 / len(names)], dtype=torch.float64)
            inside = progress >= segment
            poses[inside] = (start @ _move(name, share, centre_depth))[inside]
            start = start @ _move(name, end, centre_depth)[0]
        poses[0] = torch.eye(4, dtype=torch.float64)
        return cls(c2w=poses.float(), moves=names, fov=fov)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from worldr1.camera.svg import trajectory_html

        return trajectory_html(self)

    def intrinsics(self, height: int, width: int) -> Tensor:
        """Pinhole intrinsics of square pixels.

        Returns:
            ``[3, 3]`` float32 in pixels; pixel centres lie at +0.5, so the image's centre is ``(width/2, height/2)``.

        Raises:
            ValueError: when a side is not positive.
        """
        if height < 1 or width < 1:
            raise ValueError(f"The image size is {height}x{width}; both sides must be positive.")
        focal = 0.5 * width / math.tan(math.radians(self.fov) / 2)
        return torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def _move(name: str, share: Tensor, centre_depth: float) -> Tensor:
    """Poses ``[N, 4, 4]`` of one move after ``share`` ``[N]`` of its amplitude, in the frame in which it starts.

    An orbit turns about ``(0, 0, centre_depth)``, which therefore projects to the image's centre throughout.
    """
    translation = share[:, None] * torch.tensor(_TRANSLATION.get(name, (0.0, 0.0, 0.0)), dtype=share.dtype)
    if name in _ORBIT:
        rotation = se3.yaw(share * _ORBIT[name])
        centre = torch.tensor([0.0, 0.0, max(centre_depth, _NEAREST_CENTRE)], dtype=share.dtype)
        return se3.compose(rotation, centre - rotation @ centre)
    if name in _TILT:
        return se3.compose(se3.pitch(share * _TILT[name]), translation)
    if name in _ROLL:
        return se3.compose(se3.roll(share * _ROLL[name]), translation)
    return se3.compose(se3.yaw(share * _PAN.get(name, 0.0)), translation)
