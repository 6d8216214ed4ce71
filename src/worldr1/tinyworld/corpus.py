"""The pre-training corpus: which clips there are, by counter, so that any part of it can be rendered again alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldr1.camera.language import MOVES
from worldr1.camera.trajectory import Trajectory
from worldr1.tinyworld.render import Clip, render_clips
from worldr1.tinyworld.scenes import Scene, sample_scene
from worldr1.tinyworld.spoil import CLEAN, Spoil, sample_spoil

MOVING = tuple(move for move in MOVES if move != "fixed")
SPOIL_SHARES = {"mix": 0.4, "bend": 0.2, "morph": 0.15, "swim": 0.1, "parallax": 0.15}


@dataclass(frozen=True)
class CorpusSettings:
    """What the corpus is made of.

    Attributes:
        consistent: share of clips whose world holds together; the rest is spoilt.
        dynamic: share of clips with self-moving content.
        frames, height, width: of each clip.
        seed: of everything.
    """

    consistent: float = 0.35
    dynamic: float = 0.15
    frames: int = 17
    height: int = 64
    width: int = 64
    seed: int = 0


def sample_moves(rng: np.random.Generator) -> tuple[str, ...]:
    """Draw what a prompt asks of the camera: 62% one move, 14% two, 6% three, 12% "fixed", 6% nothing."""
    count = int(rng.choice([1, 2, 3, 0, -1], p=[0.62, 0.14, 0.06, 0.12, 0.06]))
    if count == 0:
        return ("fixed",)
    if count < 0:
        return ()
    return tuple(str(move) for move in rng.choice(MOVING, count, replace=False))


def draw(settings: CorpusSettings, index: int) -> tuple[Scene, Trajectory, Spoil]:
    """Plan of clip `index`: the same for the same settings, whatever was drawn before."""
    rng = np.random.default_rng((settings.seed, index))
    scene = sample_scene(rng, dynamic=bool(rng.random() < settings.dynamic))
    moves = sample_moves(rng)
    trajectory = Trajectory.from_moves(moves, settings.frames)
    if rng.random() < settings.consistent:
        return scene, trajectory, CLEAN
    kind = str(rng.choice(list(SPOIL_SHARES), p=list(SPOIL_SHARES.values())))
    return scene, trajectory, sample_spoil(rng, kind, moving_camera=bool(set(moves) - {"fixed"}))


def render_range(settings: CorpusSettings, start: int, stop: int) -> list[Clip]:
    """Render the clips `start` to `stop - 1`."""
    plans = [draw(settings, index) for index in range(start, stop)]
    return render_clips(
        [p[0] for p in plans], [p[1] for p in plans], [p[2] for p in plans], settings.height, settings.width
    )
