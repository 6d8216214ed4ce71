"""How well our forms of S_recon and S_traj, and the paper's, tell good clips of the tiny world from bad ones.

`python -m benchmarks.reward_forms` rebuilds every clip by stereo and scores it with both forms of both. For each kind
of bad clip it tells the share of (good, bad) pairs that a form orders rightly (AUC: 1 always, 0.5 by chance), and the
means. Stereo takes Gaussians of three key frames; "of all frames" puts them behind every pixel of every frame instead.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from worldr1.camera.language import MOVES
from worldr1.camera.trajectory import Trajectory
from worldr1.reconstruction.stereo import StereoReconstructor
from worldr1.reconstruction.types import Reconstruction
from worldr1.rewards.calibrate import reverse
from worldr1.rewards.lpips import Lpips
from worldr1.rewards.recon import ReconReward
from worldr1.rewards.rerender import RerenderReward
from worldr1.rewards.traj import TrajReward
from worldr1.rewards.types import Reward, Sample
from worldr1.splats.gaussians import from_depth
from worldr1.tinyworld.render import render_clips
from worldr1.tinyworld.scenes import sample_scene
from worldr1.tinyworld.spoil import SPOIL_KINDS, sample_spoil

FRAMES = 17
TINY_SHARE = 0.05
"""Of the motion asked for, in clips that are nearly still."""
GOOD = "good"

logger = logging.getLogger("benchmarks")


def clips_of(count: int, seed: int) -> tuple[dict[str, list[Tensor]], list[Trajectory]]:
    """Clips by kind, all of the same scenes and the same moves asked for, and the cameras asked for."""
    rng = np.random.default_rng(seed)
    moving = [move for move in MOVES if move != "fixed"]
    names = [moving[i % len(moving)] for i in range(count)]
    asked = [Trajectory.from_moves((name,), FRAMES) for name in names]
    scenes = [sample_scene(rng, split="all") for _ in names]
    spoils = [sample_spoil(rng, SPOIL_KINDS[i % len(SPOIL_KINDS)]) for i in range(count)]
    nearly = [_slowed(path) for path in asked]
    back = [Trajectory.from_moves((reverse(name),), FRAMES) for name in names]
    good = [clip.video for clip in render_clips(scenes, asked)]
    kinds = {
        GOOD: good,
        "spoilt": [clip.video for clip in render_clips(scenes, asked, spoils)],
        "blurred": [_blurred(video) for video in good],
        "frozen": [video[:1].expand_as(video).contiguous() for video in good],
        "nearly still": [clip.video for clip in render_clips(scenes, nearly)],
        "reversed camera": [clip.video for clip in render_clips(scenes, back)],
    }
    return kinds, asked


def _slowed(path: Trajectory) -> Trajectory:
    """The first frames of a path of the same moves that takes 1 / TINY_SHARE times as long."""
    return Trajectory(Trajectory.from_moves(path.moves, round((FRAMES - 1) / TINY_SHARE) + 1).c2w[:FRAMES])


def _blurred(video: Tensor) -> Tensor:
    return functional.avg_pool2d(functional.pad(video, (2, 2, 2, 2), mode="replicate"), 5, stride=1)


def auc(good: Tensor, bad: Tensor) -> float:
    """Share of pairs in which the good clip scores higher, ties counting half; missing ones are left out."""
    a, b = good[~good.isnan()][:, None], bad[~bad.isnan()][None]
    return float((a > b).float().mean() + 0.5 * (a == b).float().mean())


class OfAllFrames:
    """The paper's S_recon with Gaussians of every frame, so that each frame is drawn again from its own pixels too."""

    name = "recon"
    needs_reconstruction = True

    def __init__(self, lpips: Lpips) -> None:
        self.reward = RerenderReward(lpips)

    def __call__(self, samples: Sequence[Sample], reconstructions: Sequence[Reconstruction] | None = None) -> Tensor:
        """Scores [B]."""
        pairs = zip(samples, reconstructions or (), strict=True)
        scenes = [replace(r, splats=from_depth(s.video, r.depth, r.c2w, r.intrinsics)) for s, r in pairs]
        return self.reward(samples, scenes)


def forms(lpips: Lpips) -> dict[str, Reward]:
    """Ours and the paper's."""
    return {
        "S_recon, ours": ReconReward(lpips),
        "paper": RerenderReward(lpips),
        "of all frames": OfAllFrames(lpips),
        "S_traj, ours": TrajReward(),
        "S_traj, paper": TrajReward(form="absolute"),
    }


def compare(count: int, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """By form and kind: "mean" and "missing" (share), and "auc" against the good ones."""
    kinds, asked = clips_of(count, seed)
    rewards, rebuild = forms(Lpips()), StereoReconstructor()
    scores: dict[str, dict[str, Tensor]] = {name: {} for name in rewards}
    for kind, videos in kinds.items():
        logger.info("scoring %d clips: %s", count, kind)
        scenes = rebuild(torch.stack(videos), asked)
        samples = [Sample(video, "", path) for video, path in zip(videos, asked, strict=True)]
        for name, reward in rewards.items():
            scores[name][kind] = reward(samples, scenes)
    return {name: {kind: _row(found[GOOD], values) for kind, values in found.items()} for name, found in scores.items()}


def _row(good: Tensor, values: Tensor) -> dict[str, float]:
    return {
        "mean": float(values.nanmean()),
        "auc": auc(good, values),
        "missing": float(values.isnan().float().mean()),
    }


def show(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """One line for each kind of clip: AUC against good clips, and the mean."""
    table = Table("AUC (mean)", *found, box=None)
    for kind in next(iter(found.values())):
        table.add_row(kind, *(_cell(rows[kind], kind == GOOD) for rows in found.values()))
    Console().print(table)


def _cell(row: Mapping[str, float], good: bool) -> str:
    return f"({row['mean']:.2f})" if good else f"{row['auc']:.2f} ({row['mean']:.2f})"


def main() -> None:
    """The command line."""
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reward_forms", description=summary)
    parser.add_argument("--clips", type=int, default=24, help="of each kind (24)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found = compare(options.clips, options.seed)
    if options.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        show(found)


if __name__ == "__main__":
    main()
