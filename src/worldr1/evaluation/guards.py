"""Guards: what must not suffer while the reward rises. None of them is a reward, except R_gen, which is watched too.

Each guard compares the trained model with the base on the same prompts and noise, as a ratio of means; below its band
the run is marked hacked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from worldr1.camera import Trajectory
from worldr1.evaluation.calibration import Calibration, load_calibration
from worldr1.evaluation.motion import ClipMotion, clip_motion, kind_of, mover_mask
from worldr1.evaluation.prompts import HeldOutPrompt
from worldr1.evaluation.quality import grain, sharpness
from worldr1.evaluation.statistics import Estimate, paired_bootstrap, ratio

BAND = 0.95
MAY_LOSE = 0.05
"""A guard that tells nothing of more of the clips of which it told something with the base counts as left."""

State = Literal["inside", "undecided", "left", "not measured"]

EXPLANATIONS = {
    "dynamic_degree": "self-motion of what should move, the camera's removed, as a share of a genuine mover's",
    "objects": "share of the asked objects that are there, by colour and shape",
    "objects_color": "share of the asked objects that are there, by colour alone",
    "camera_motion": "share of the asked camera motion that the optical flow shows",
    "camera_motion_estimated": "share of the asked camera motion that the reconstructed cameras make",
    "sharpness": "mean gradient of the strongest tenth of pixels",
    "general": "R_gen, moved from [-1, 1] to [0, 1]",
}


@dataclass(frozen=True)
class Guard:
    """One guard: means of base, trained and ground truth (nan where unknown), and the ratio trained / base.

    Attributes:
        missing: share of the clips to which the guard applies that have no value, of base and trained.
        lost: share of the clips with a value of the base that have none of the trained model.
    """

    name: str
    base: float
    trained: float
    ground_truth: float
    ratio: Estimate
    band: float = BAND
    missing: tuple[float, float] = (0.0, 0.0)
    lost: float = 0.0

    @property
    def state(self) -> State:
        """ "left" its band (or lost more than a twentieth of its values), "not measured" where no prompt has a value on
        both sides, "undecided" where the interval reaches below the band, else "inside": also where the ratio is
        undefined because the base had nothing to lose (mean 0)."""
        if self.lost > MAY_LOSE or self.ratio.value < self.band:
            return "left"
        if self.ratio.n == 0:
            return "not measured"
        return "undecided" if self.ratio.low < self.band else "inside"

    @property
    def inside(self) -> bool:
        """Whether it was measured and, by the point estimate, has not left its band."""
        return self.state in ("inside", "undecided")


def measure_guards(
    prompts: Sequence[HeldOutPrompt], videos: Tensor, calibration: Calibration | None = None
) -> dict[str, list[float]]:
    """Measure every guard that needs the video alone, one value per clip, nan where it does not apply.

    Args:
        prompts: B of them.
        videos: [B,T,3,H,W] in [0,1].
        calibration: by default the shipped one.

    Returns:
        Columns "dynamic_degree", "objects", "objects_color", "camera_motion", "sharpness", and two without a band:
        "residual_flow" (whole frame, pixels a frame) and "grain".
    """
    known = calibration or load_calibration()
    columns: dict[str, list[float]] = {}
    for held_out, video in zip(prompts, videos, strict=True):
        motion = clip_motion(video, held_out.trajectory)
        dynamic = held_out.scene.dynamic
        by_color, by_both = known.detector.presence(video, held_out.scene.objects)
        row = {
            "dynamic_degree": _dynamic_degree(motion, video, held_out, known) if dynamic else float("nan"),
            "objects": by_both,
            "objects_color": by_color,
            "camera_motion": float("nan") if dynamic else flow_gain(motion),
            "sharpness": sharpness(video),
            "residual_flow": motion.residual_flow if dynamic else float("nan"),
            "grain": grain(video),
        }
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return columns


def _dynamic_degree(motion: ClipMotion, video: Tensor, held_out: HeldOutPrompt, known: Calibration) -> float:
    residual = motion.of(mover_mask(video, held_out.scene))
    return known.motion.degree(kind_of(held_out.scene), residual)


def flow_gain(motion: ClipMotion) -> float:
    """Share of the asked camera's flow that is seen: least-squares gain of the flow on it, clipped to [0,1].

    Nan where the asked camera moves the image by less than a twentieth of a pixel a frame; 0 where no flow can be told
    although the camera was asked to move.
    """
    weight = motion.flow.confidence[:, None]
    asked = motion.asked_camera
    power = float((weight * asked * asked).sum())
    if float(asked.norm(dim=1).mean()) < 0.05:
        return float("nan")
    if power == 0.0:
        return 0.0
    return float(np.clip(float((weight * asked * motion.flow.vectors).sum()) / power, 0.0, 1.0))


def pose_gain(estimated: Tensor, asked: Trajectory) -> float:
    """Share of the asked camera motion that estimated cameras make, clipped to [0,1]; nan for a fixed camera.

    The least-squares gain over all frames of (translation, rotation vector), in scene depths and radians.

    Args:
        estimated: c2w [T,4,4], the first the identity, translations in scene depths.
        asked: of T frames.
    """
    wanted, made = _motion_vector(asked.c2w), _motion_vector(estimated)
    power = float((wanted * wanted).sum())
    if power < 1e-6:
        return float("nan")
    return float(np.clip(float((wanted * made).sum()) / power, 0.0, 1.0))


def _motion_vector(c2w: Tensor) -> Tensor:
    """Translations and rotation vectors of c2w [T,4,4], [T,6]."""
    rotation = c2w[:, :3, :3].double()
    skew = torch.stack(
        [
            rotation[:, 2, 1] - rotation[:, 1, 2],
            rotation[:, 0, 2] - rotation[:, 2, 0],
            rotation[:, 1, 0] - rotation[:, 0, 1],
        ],
        dim=-1,
    )
    sine = skew.norm(dim=-1, keepdim=True) / 2
    angle = torch.atan2(sine, (rotation.diagonal(dim1=1, dim2=2).sum(-1, keepdim=True) - 1) / 2)
    return torch.cat([c2w[:, :3, 3].double(), skew / 2 * angle / sine.clamp_min(1e-9)], dim=-1)


def compare(
    name: str, base: npt.ArrayLike, trained: npt.ArrayLike, ground_truth: npt.ArrayLike | None = None, *, seed: int = 0
) -> Guard:
    """Make a guard of per-prompt columns [N]; it applies to prompts that have a value on any side."""
    columns = [np.asarray(column, dtype=np.float64) for column in (base, trained)]
    if ground_truth is not None:
        columns.append(np.asarray(ground_truth, dtype=np.float64))
    if name == "general":
        columns = [(column + 1) / 2 for column in columns]
    a, b = columns[:2]
    known = [np.isfinite(column) for column in columns]
    both, applies = known[0] & known[1], np.any(known, axis=0)
    shown = [both, both] if both.any() else known
    return Guard(
        name=name,
        base=_mean(a[shown[0]]),
        trained=_mean(b[shown[1]]),
        ground_truth=_mean(columns[2][known[2]]) if ground_truth is not None else float("nan"),
        ratio=paired_bootstrap([a, b], ratio, seed=seed) if both.any() else Estimate(math.nan, math.nan, math.nan, n=0),
        missing=(_share(applies & ~known[0], applies), _share(applies & ~known[1], applies)),
        lost=_share(known[0] & ~known[1], known[0]),
    )


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _share(some: npt.NDArray[np.bool_], of: npt.NDArray[np.bool_]) -> float:
    return float(some.sum() / of.sum()) if of.any() else 0.0


def reasons(guards: Sequence[Guard]) -> list[str]:
    """One sentence for each guard that left its band."""
    return [_reason(guard) for guard in guards if guard.state == "left"]


def _reason(g: Guard) -> str:
    if g.lost > MAY_LOSE:
        return f"{g.name} cannot be told of {g.lost:.0%} of the clips of which it could with the base"
    return (
        f"{g.name} fell to {g.ratio.value:.3f} of the base ({g.base:.3f} to {g.trained:.3f}); it must stay at {g.band}"
    )
