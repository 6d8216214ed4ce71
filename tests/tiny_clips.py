"""Clips with ground truth for tests of several rooms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worldr1.camera.trajectory import Trajectory
from worldr1.tinyworld.render import Clip, render_clips
from worldr1.tinyworld.scenes import sample_scene
from worldr1.tinyworld.spoil import SPOIL_KINDS, sample_spoil


def truth_and_spoilt(
    moves: Sequence[Sequence[str]], seed: int, frames: int = 17, height: int = 64, width: int = 64
) -> tuple[list[Clip], list[Clip], list[Trajectory]]:
    """Consistent clips, clips spoilt in turn by every kind, and the trajectories asked for."""
    rng = np.random.default_rng(seed)
    asked = [Trajectory.from_moves(m, frames) for m in moves]
    scenes = [sample_scene(rng, split="all") for _ in moves]
    spoils = [sample_spoil(rng, SPOIL_KINDS[i % len(SPOIL_KINDS)]) for i in range(len(moves))]
    clean = render_clips(scenes, asked, height=height, width=width)
    return clean, render_clips(scenes, asked, spoils, height=height, width=width), asked
