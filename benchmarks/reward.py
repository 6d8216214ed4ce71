"""Rows of the reward: cameras, depth, splats and all four scores of tiny-world clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import numpy as np
import torch

from benchmarks.measure import Row, Setting, paired, scaling_row
from worldr1.camera.trajectory import Trajectory
from worldr1.recipes.files import load_recipe
from worldr1.rewards.compose import RewardComposer
from worldr1.rewards.registry import build_composer
from worldr1.rewards.types import Sample
from worldr1.tinyworld import render_clips, sample_scene

MOVES = ("orbit left", "push in", "pan right", "move left")


def rows(setting: Setting) -> dict[str, Callable[[], Row]]:
    """All rows of this file by name, not yet run."""
    return {"reward_batch_32": partial(_batch, setting), "reward_batch_size": partial(_batch_size, setting)}


@lru_cache(maxsize=1)
def composer() -> RewardComposer:
    """The whole reward of the tiny recipe."""
    return build_composer(load_recipe("tiny").reward)


def samples(count: int) -> list[Sample]:
    """Clips of 17 frames of 64x64 with their prompts and cameras."""
    generator = np.random.default_rng(0)
    scenes = [sample_scene(generator, split="test") for _ in range(count)]
    trajectories = [Trajectory.from_moves((MOVES[k % len(MOVES)],), 17) for k in range(count)]
    clips = render_clips(scenes, trajectories)
    return [Sample(clip.video, clip.prompt, path) for clip, path in zip(clips, trajectories, strict=True)]


def _batch(setting: Setting) -> Row:
    count, alone = (2, 1) if setting.quick else (32, 4)
    clips, score = samples(count), composer()
    pairs = paired(
        partial(score, clips),
        partial(_one_by_one, score, clips[:alone]),
        setting.runs,
        ours_seconds=lambda spent: spent / count,
        peer_seconds=lambda spent: spent / alone,
    )
    together = score(clips[:alone]).total
    difference = float((together - torch.stack(_one_by_one(score, clips[:alone]))).abs().max())
    return Row(
        "reward_batch_32",
        *(pairs.ours, pairs.peer, pairs.ratio, pairs.runs),
        f"seconds per clip in a batch of {count}, all four scores; the peer is the same reward clip by clip",
        *(pairs.peak_mb, pairs.peer_peak_mb),
        agreement={"difference": difference},
        agrees=difference < 1e-3,
    )


def _one_by_one(score: RewardComposer, clips: Sequence[Sample]) -> list[torch.Tensor]:
    return [score([clip]).total[0] for clip in clips]


def _batch_size(setting: Setting) -> Row:
    sizes = (1, 2) if setting.quick else (1, 4, 8, 16, 32)
    clips = samples(sizes[-1])
    return scaling_row(
        "reward_batch_size",
        sizes,
        lambda size: partial(composer(), clips[: int(size)]),
        setting.runs,
        "seconds of the whole batch, against clips in it",
    )
