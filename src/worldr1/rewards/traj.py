"""S_traj: does the camera move as asked? (World-R1, exponentials of translation and rotation errors)"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from worldr1.camera.metrics import rotation_geodesic
from worldr1.camera.trajectory import Trajectory
from worldr1.reconstruction.types import Reconstruction
from worldr1.rewards.types import Sample

SHARPNESS = 1.5
SCALE_FREEDOM = 1.25
LEAST_TRANSLATION = 0.10
LEAST_ROTATION = math.radians(8.0)
TRANSLATION_SLACK = 0.05
ROTATION_SLACK = math.radians(0.75)


class TrajReward:
    """Score in (0,1]: exp(-1.5 e_t) * exp(-1.5 e_r).

    e_t is the mean distance between estimated and asked camera centres, over the mean distance that was asked for
    (at least 0.10 scene depths); e_r the mean angle between estimated and asked orientations, over the mean angle
    asked for (at least 8 degrees). A camera that does not move when asked to has e = 1 and scores at most 0.25; a
    reversed one has e = 1.8 or more and at most 0.08. The factors are multiplied: in a mean, as the paper writes it,
    a frozen video would keep a half for the rotation it was not asked for.

    Translations are compared in units of scene depth, which a video shows; there is no free similarity, under which a
    nearly still video that trembles the right way would score. The unit may be off by a factor of 1.25 either way,
    because where a scene's centre lies is a convention, not a measurement. The first 5% of e_t and 0.75 degrees are
    free: the estimator is no better than that.
    """

    name = "traj"
    needs_reconstruction = True

    def __call__(self, samples: Sequence[Sample], reconstructions: Sequence[Reconstruction] | None = None) -> Tensor:
        """Scores [B]; nan where the estimated cameras are not finite.

        Raises ValueError without one reconstruction per sample, or when numbers of frames differ.
        """
        if reconstructions is None or len(reconstructions) != len(samples):
            raise ValueError("TrajReward needs one reconstruction for each sample.")
        scores = [trajectory_score(r.c2w, s.trajectory) for s, r in zip(samples, reconstructions, strict=True)]
        return torch.tensor(scores, dtype=torch.float32)


def trajectory_score(c2w: Tensor, asked: Trajectory) -> float:
    """Score of estimated cameras [T,4,4] against those asked for; see `TrajReward`. nan when not finite."""
    if c2w.shape != asked.c2w.shape:
        raise ValueError(
            f"The cameras found are {list(c2w.shape)}, those asked for {list(asked.c2w.shape)}; both must be [T,4,4]."
        )
    estimated, wanted = c2w.detach().cpu().double(), asked.c2w.detach().cpu().double()
    if not bool(torch.isfinite(estimated).all()):
        return float("nan")
    translation, rotation = trajectory_errors(estimated, wanted)
    return math.exp(-SHARPNESS * (translation + rotation))


def trajectory_errors(estimated: Tensor, wanted: Tensor) -> tuple[float, float]:
    """Relative errors (e_t, e_r) of cameras [T,4,4] as `TrajReward` defines them, slack taken off."""
    centres, targets = estimated[:, :3, 3], wanted[:, :3, 3]
    power = float(centres.square().sum())
    scale = float((centres * targets).sum()) / power if power > 1e-12 else 1.0
    scale = min(SCALE_FREEDOM, max(1.0 / SCALE_FREEDOM, scale))
    asked_length = max(float(targets.norm(dim=1).mean()), LEAST_TRANSLATION)
    translation = float((scale * centres - targets).norm(dim=1).mean()) / asked_length
    still = torch.eye(3, dtype=wanted.dtype).expand(len(wanted), 3, 3)
    asked_angle = max(float(rotation_geodesic(still, wanted[:, :3, :3]).mean()), LEAST_ROTATION)
    angle = float(rotation_geodesic(estimated[:, :3, :3], wanted[:, :3, :3]).mean())
    return max(0.0, translation - TRANSLATION_SLACK), max(0.0, angle - ROTATION_SLACK) / asked_angle
