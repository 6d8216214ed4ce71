"""S_traj: does the camera move as asked? (World-R1, exponentials of translation and rotation errors)"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

from worldr1.camera import se3
from worldr1.camera.metrics import rotation_geodesic
from worldr1.camera.trajectory import Trajectory
from worldr1.reconstruction.types import Reconstruction
from worldr1.rewards.types import Sample, require_reconstructions

TrajForm = Literal["relative", "absolute"]

SHARPNESS = 1.5
SCALE_FREEDOM = 1.25
LEAST_TRANSLATION = 0.10
LEAST_ROTATION = math.radians(8.0)
TRANSLATION_SLACK = 0.05
ROTATION_SLACK = math.radians(0.75)


class TrajReward:
    """Score in (0,1]: exp(-1.5 e_t) * exp(-1.5 e_r), or with `form` "absolute" what World-R1 writes.

    e_t is the mean distance between estimated and asked camera centres, over the mean distance that was asked for
    (at least 0.10 scene depths); e_r the mean angle between estimated and asked orientations, over the mean angle
    asked for (at least 8 degrees). A camera that does not move when asked to has e = 1 and scores at most 0.25; a
    reversed one has e = 1.8 or more and at most 0.08. The factors are multiplied: in a mean, as the paper writes it,
    a frozen video would keep a half for the rotation it was not asked for.

    Translations are compared in units of scene depth, which a video shows; there is no free similarity, under which a
    nearly still video that trembles the right way would score. The unit may be off by a factor of 1.25 either way,
    because where a scene's centre lies is a convention, not a measurement. The first 5% of e_t and 0.75 degrees are
    free: the estimator is no better than that.

    Dense (`segments` above 1; after arXiv 2512.02870): the clip is cut into so many parts that share their end frames,
    each is scored from its own first camera, the least lengths being the part's share of the whole ones, and the scores
    are averaged. A camera that goes wrong once then loses the parts where it does, not all that follows.

    Metric (`metres`, the length of the asked camera's unit; after arXiv 2605.23903): translations are compared in
    metres, with no freedom of the unit. It needs a reconstructor that sees metres.

    Absolute (`form`): World-R1's (exp(-L2) + exp(-geodesic)) / 2, see `mean_of_exponentials`, with no freedom of the
    unit, no slack and no least lengths. Dense and metric work with it too.
    """

    name = "traj"
    needs_reconstruction = True

    def __init__(self, segments: int = 1, metres: float | None = None, form: TrajForm = "relative") -> None:
        if segments < 1:
            raise ValueError(f"segments must be at least 1, got {segments}.")
        if metres is not None and not metres > 0.0:
            raise ValueError(f"metres, the length of the asked camera's unit, must be positive; got {metres}.")
        if form not in get_args(TrajForm):
            raise ValueError(f"form is {form!r}; it must be one of {', '.join(get_args(TrajForm))}.")
        self.segments = segments
        self.metres = metres
        self.form = form

    def __call__(self, samples: Sequence[Sample], reconstructions: Sequence[Reconstruction] | None = None) -> Tensor:
        """Scores [B]; nan where the estimated cameras are not finite.

        Raises ValueError without one reconstruction per sample, when numbers of frames differ, or when metres are asked
        of a reconstruction without them.
        """
        reconstructions = require_reconstructions("TrajReward", samples, reconstructions)
        scores = [self._score(r, s.trajectory) for s, r in zip(samples, reconstructions, strict=True)]
        return torch.tensor(scores, dtype=torch.float32)

    def _score(self, found: Reconstruction, asked: Trajectory) -> float:
        if self.metres is None or not bool(torch.isfinite(found.c2w).all()):
            return trajectory_score(found.c2w, asked, self.segments, form=self.form)
        if found.metres is None:
            raise ValueError(
                "S_traj is asked for in metres, but the reconstructor does not see them: "
                "use a DA3NESTED variant, or leave metres out."
            )
        return trajectory_score(found.c2w, asked, self.segments, found.metres / self.metres, self.form)


def trajectory_score(
    c2w: Tensor, asked: Trajectory, segments: int = 1, scale: float | None = None, form: TrajForm = "relative"
) -> float:
    """Score of estimated cameras [T,4,4] against those asked for; see `TrajReward`. nan when not finite.

    Args:
        c2w: estimated cameras.
        asked: what was asked for.
        segments: parts that are scored on their own, at most T - 1.
        scale: asked units in one unit of the estimate; None finds it within `TrajReward`'s bounds, once for the clip,
            or takes 1 when `form` is "absolute".
        form: which of `TrajReward`'s formulas.

    Raises:
        ValueError: when shapes differ, or there are more segments than steps.
    """
    if c2w.shape != asked.c2w.shape:
        raise ValueError(
            f"The cameras found are {list(c2w.shape)}, those asked for {list(asked.c2w.shape)}; both must be [T,4,4]."
        )
    estimated, wanted = c2w.detach().cpu().double(), asked.c2w.detach().cpu().double()
    if not bool(torch.isfinite(estimated).all()):
        return float("nan")
    steps = len(wanted) - 1
    if segments > max(steps, 1):
        raise ValueError(f"{segments} segments were asked of {len(wanted)} frames; there are {steps} steps.")
    if scale is None:
        scale = best_scale(estimated, wanted) if form == "relative" else 1.0
    ends = [round(k * steps / segments) for k in range(segments + 1)]
    scores = []
    for first, last in pairwise(ends):
        part = slice(first, last + 1)
        found, target = se3.relative_to_first(estimated[part]), se3.relative_to_first(wanted[part])
        if form == "absolute":
            scores.append(mean_of_exponentials(found, target, scale))
            continue
        errors = trajectory_errors(found, target, scale, (last - first) / steps if steps else 1.0)
        scores.append(math.exp(-SHARPNESS * sum(errors)))
    return sum(scores) / len(scores)


def best_scale(estimated: Tensor, wanted: Tensor) -> float:
    """The factor within 1.25 either way that brings estimated camera centres nearest to those asked for."""
    centres, targets = estimated[:, :3, 3], wanted[:, :3, 3]
    power = float(centres.square().sum())
    scale = float((centres * targets).sum()) / power if power > 1e-12 else 1.0
    return min(SCALE_FREEDOM, max(1.0 / SCALE_FREEDOM, scale))


def trajectory_errors(estimated: Tensor, wanted: Tensor, scale: float, share: float = 1.0) -> tuple[float, float]:
    """Relative errors (e_t, e_r) of cameras [T,4,4] as `TrajReward` defines them, slack taken off.

    `scale` multiplies the estimated translations; `share` of the clip is the cameras' part, which shortens the least
    lengths.
    """
    centres, targets = estimated[:, :3, 3], wanted[:, :3, 3]
    asked_length = max(float(targets.norm(dim=1).mean()), share * LEAST_TRANSLATION)
    translation = float((scale * centres - targets).norm(dim=1).mean()) / asked_length
    still = torch.eye(3, dtype=wanted.dtype).expand(len(wanted), 3, 3)
    asked_angle = max(float(rotation_geodesic(still, wanted[:, :3, :3]).mean()), share * LEAST_ROTATION)
    angle = float(rotation_geodesic(estimated[:, :3, :3], wanted[:, :3, :3]).mean())
    return max(0.0, translation - TRANSLATION_SLACK), max(0.0, angle - ROTATION_SLACK) / asked_angle


def mean_of_exponentials(estimated: Tensor, wanted: Tensor, scale: float = 1.0) -> float:
    """World-R1's S_traj of cameras [T,4,4], in (0,1]: (exp(-d) + exp(-a)) / 2 (arXiv 2604.24764, "3D-aware reward").

    d is the mean over frames of the L2 distance between `scale` times the estimated centres and those asked for, in the
    asked unit (scene depths), a that of the geodesic angle between orientations, in radians. The paper tells the two
    exponentials and R_3D in [0,3], hence the mean of both; it tells no factors, so they are 1, and no alignment beyond
    the first frame, which both share.
    """
    distance = float((scale * estimated[:, :3, 3] - wanted[:, :3, 3]).norm(dim=1).mean())
    angle = float(rotation_geodesic(estimated[:, :3, :3], wanted[:, :3, :3]).mean())
    return 0.5 * (math.exp(-distance) + math.exp(-angle))
