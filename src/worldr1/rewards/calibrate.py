"""Is the reward honest? Measured on clips of known quality from the tiny world."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from worldr1.camera.language import MOVES
from worldr1.camera.metrics import rotation_geodesic
from worldr1.camera.trajectory import Trajectory
from worldr1.recipes import load_recipe
from worldr1.recipes.reward import RewardSettings
from worldr1.reconstruction.types import Reconstruction, Reconstructor
from worldr1.rewards.compose import weighted_sum
from worldr1.rewards.recon import ReconReward
from worldr1.rewards.registry import build_composer, build_reconstructor
from worldr1.rewards.types import Sample
from worldr1.tinyworld.render import render_clips
from worldr1.tinyworld.scenes import Scene, sample_scene
from worldr1.tinyworld.spoil import SPOIL_KINDS, sample_spoil

TRUTH = "ground truth"
REVERSE = {"in": "out", "out": "in", "left": "right", "right": "left"}
SEPARATION = 3.0
BATCH = 16


@dataclass(frozen=True)
class Statistic:
    """Mean and its standard error over `count` clips that have a value."""

    mean: float
    error: float
    count: int


@dataclass(frozen=True)
class KindResult:
    """One kind of clip: statistics of each component of the reward, of "total" (their weighted sum), "psnr" (dB) and
    "coverage"; and by how many standard errors of the difference the total, and each component, lies below the ground
    truth's (0 for the ground truth)."""

    statistics: dict[str, Statistic]
    below: float
    components_below: dict[str, float]


@dataclass(frozen=True)
class Calibration:
    """Results by kind; cameras estimated on ground truth (degrees; relative translation error, unit included, and with
    the best unit); share of (ground truth, spoilt) pairs that the total and the PSNR order rightly."""

    kinds: dict[str, KindResult]
    rotation_degrees: Statistic
    translation: Statistic
    translation_unit_free: Statistic
    auc_total: float
    auc_psnr: float

    @property
    def honest(self) -> bool:
        """Whether every bad kind lies at least three standard errors below the ground truth."""
        return all(result.below >= SEPARATION for kind, result in self.kinds.items() if kind != TRUTH)


def calibrate(
    clips: int = 64,
    seed: int = 0,
    settings: RewardSettings | None = None,
    progress: Callable[[str], None] | None = None,
) -> Calibration:
    """Score ground-truth clips and bad ones made from the same scenes and moves.

    Bad kinds: spoilt (every way of the tiny world in turn), frozen (frame 0 throughout), blurred (5x5 box), textureless
    (each frame its mean colour and a trace of what it was), wrong camera and reversed camera (another trajectory was
    asked for than the clip shows). All clips are asked to move; half of them twice.

    The total is the components' sum with the recipe's weights, not normalised by groups.

    clips: number of each kind, at least 2; settings: the reward, by default the recipe 'tiny's; progress: told each
    kind's name before it is scored. Raises ValueError, and what `build_composer` raises.
    """
    if clips < 2:
        raise ValueError(f"calibrate needs at least 2 clips for a standard error, got {clips}.")
    rng = np.random.default_rng(seed)
    moving = [move for move in MOVES if move != "fixed"]
    moves = [_draw_moves(rng, moving, i) for i in range(clips)]
    asked = [Trajectory.from_moves(m, 17) for m in moves]
    scenes = [sample_scene(rng, split="all") for _ in range(clips)]
    spoils = [sample_spoil(rng, SPOIL_KINDS[i % len(SPOIL_KINDS)]) for i in range(clips)]
    truth = [clip.video for clip in render_clips(scenes, asked)]
    videos: dict[str, tuple[Sequence[Tensor], Sequence[Trajectory]]] = {
        TRUTH: (truth, asked),
        "spoilt": ([clip.video for clip in render_clips(scenes, asked, spoils)], asked),
        "frozen": ([video[:1].expand_as(video) for video in truth], asked),
        "blurred": ([_box_blur(video, 5) for video in truth], asked),
        "textureless": ([0.97 * video.mean((2, 3), keepdim=True) + 0.03 * video for video in truth], asked),
        "wrong camera": (truth, [_other(rng, moving, m) for m in moves]),
        "reversed camera": (truth, [Trajectory.from_moves([reverse(x) for x in m], 17) for m in moves]),
    }
    chosen = load_recipe("tiny").reward if settings is None else settings
    composer = build_composer(chosen)
    reconstruct = composer.reconstructor or build_reconstructor(chosen)
    named = composer.rewards.get("recon")
    recon = named if isinstance(named, ReconReward) else ReconReward()
    tables: dict[str, dict[str, Tensor]] = {}
    cameras: list[Reconstruction] = []
    for kind, (kind_videos, kind_asked) in videos.items():
        if progress is not None:
            progress(kind)
        samples = [_sample(v, s, t) for v, s, t in zip(kind_videos, scenes, kind_asked, strict=True)]
        found = _reconstruct(reconstruct, samples)
        details = recon.details(samples, found)
        scores = weighted_sum({name: r(samples, found) for name, r in composer.rewards.items()}, composer.weights)
        tables[kind] = {**scores.components, "total": scores.total, "psnr": details.psnr, "coverage": details.coverage}
        if kind == TRUTH:
            cameras = found
    rotation, translation, unit_free = _camera_errors(cameras, asked)
    return Calibration(
        kinds={
            kind: KindResult(
                _statistics(t),
                _below(tables[TRUTH]["total"], t["total"]),
                {name: _below(tables[TRUTH][name], t[name]) for name in composer.rewards},
            )
            for kind, t in tables.items()
        },
        rotation_degrees=_statistic(rotation),
        translation=_statistic(translation),
        translation_unit_free=_statistic(unit_free),
        auc_total=_auc(tables[TRUTH]["total"], tables["spoilt"]["total"]),
        auc_psnr=_auc(tables[TRUTH]["psnr"], tables["spoilt"]["psnr"]),
    )


def reverse(move: str) -> str:
    """The move the other way: "push in" becomes "pull out", "orbit left" becomes "orbit right"."""
    if move in ("push in", "pull out"):
        return "pull out" if move == "push in" else "push in"
    verb, _, way = move.partition(" ")
    return f"{verb} {REVERSE[way]}" if way in REVERSE else move


def _draw_moves(rng: np.random.Generator, moving: Sequence[str], i: int) -> tuple[str, ...]:
    first = moving[i % len(moving)]
    if i % 2 == 0:
        return (first,)
    return first, str(rng.choice([m for m in moving if m not in (first, reverse(first))]))


def _other(rng: np.random.Generator, moving: Sequence[str], moves: tuple[str, ...]) -> Trajectory:
    return Trajectory.from_moves([str(rng.choice([m for m in moving if m not in moves]))], 17)


def _sample(video: Tensor, scene: Scene, asked: Trajectory) -> Sample:
    return Sample(video.contiguous(), scene.caption, asked)


def _box_blur(video: Tensor, size: int) -> Tensor:
    padded = functional.pad(video, (size // 2,) * 4, mode="replicate")
    return functional.avg_pool2d(padded, size, stride=1)


def _reconstruct(reconstruct: Reconstructor, samples: Sequence[Sample]) -> list[Reconstruction]:
    found: list[Reconstruction] = []
    for start in range(0, len(samples), BATCH):
        batch = samples[start : start + BATCH]
        found += reconstruct(torch.stack([s.video for s in batch]), [s.trajectory for s in batch])
    return found


def _camera_errors(found: Sequence[Reconstruction], asked: Sequence[Trajectory]) -> tuple[Tensor, Tensor, Tensor]:
    """Mean rotation error in degrees of all clips; relative translation error, as found and with the best unit, of
    clips that were asked to translate by 0.05 scene depths or more on average."""
    rotation, translation, unit_free = [], [], []
    for scene, wanted in zip(found, asked, strict=True):
        rotation.append(math.degrees(float(rotation_geodesic(scene.c2w[:, :3, :3], wanted.c2w[:, :3, :3]).mean())))
        centres, targets = scene.c2w[:, :3, 3], wanted.c2w[:, :3, 3]
        length = float(targets.norm(dim=1).mean())
        if length < 0.05:
            continue
        scale = float((centres * targets).sum() / centres.square().sum().clamp(min=1e-9))
        translation.append(float((centres - targets).norm(dim=1).mean()) / length)
        unit_free.append(float((scale * centres - targets).norm(dim=1).mean()) / length)
    return torch.tensor(rotation), torch.tensor(translation), torch.tensor(unit_free)


def _statistic(values: Tensor) -> Statistic:
    kept = values[~values.isnan()].double()
    if len(kept) < 2:
        return Statistic(float("nan"), float("nan"), len(kept))
    return Statistic(float(kept.mean()), float(kept.std() / math.sqrt(len(kept))), len(kept))


def _statistics(table: dict[str, Tensor]) -> dict[str, Statistic]:
    return {name: _statistic(values) for name, values in table.items()}


def _below(truth: Tensor, other: Tensor) -> float:
    """Standard errors of the difference by which the mean of `other` lies below that of `truth`; inf when it has no
    value at all (missing is worse than any score)."""
    a, b = _statistic(truth), _statistic(other)
    if other.isnan().all():
        return float("inf")
    return (a.mean - b.mean) / max(math.hypot(a.error, b.error), 1e-9)


def _auc(good: Tensor, bad: Tensor) -> float:
    """Share of pairs in which the good one scores higher, ties counting half."""
    a, b = good[~good.isnan()][:, None], bad[~bad.isnan()][None]
    return float((a > b).float().mean() + 0.5 * (a == b).float().mean())
