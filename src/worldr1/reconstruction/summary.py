"""A reconstruction in a few numbers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from worldr1.camera.metrics import rotation_geodesic
from worldr1.camera.trajectory import Trajectory
from worldr1.reconstruction.types import Reconstruction


@dataclass(frozen=True)
class Summary:
    """What is told of a scene.

    Attributes:
        frames, height, width: of the video that it was rebuilt from.
        fov: horizontal field of view, degrees.
        splats: number of Gaussians.
        confidence: mean confidence of the depth, in [0, 1].
        camera_travel: length of the camera's path in units of scene depth.
        camera_turn: angle between the first and the last orientation, degrees.
    """

    frames: int
    height: int
    width: int
    fov: float
    splats: int
    confidence: float
    camera_travel: float
    camera_turn: float

    def to_dict(self) -> dict[str, float | int]:
        """The numbers by name."""
        return asdict(self)


def summarise(scene: Reconstruction) -> Summary:
    """The summary of a scene."""
    frames, height, width = scene.depth.shape
    return Summary(
        frames=frames,
        height=height,
        width=width,
        fov=field_of_view(scene),
        splats=len(scene.splats),
        confidence=float(scene.confidence.mean()),
        camera_travel=float(scene.c2w[:, :3, 3].diff(dim=0).norm(dim=1).sum()),
        camera_turn=math.degrees(float(rotation_geodesic(scene.c2w[0, :3, :3], scene.c2w[-1, :3, :3]))),
    )


def field_of_view(scene: Reconstruction) -> float:
    """Horizontal field of view of a scene's cameras, degrees."""
    return 2 * math.degrees(math.atan(0.5 * scene.depth.shape[2] / float(scene.intrinsics[0, 0])))


def trajectory_of(scene: Reconstruction) -> Trajectory:
    """The estimated cameras as a trajectory, such as `generate` takes; of the intrinsics it keeps the field of view."""
    return Trajectory(scene.c2w.detach().cpu().float(), (), field_of_view(scene))
