"""Words and palettes of the tiny world: what a caption can name and how it looks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.90, 0.15, 0.12),
    "green": (0.15, 0.75, 0.20),
    "blue": (0.15, 0.30, 0.95),
    "yellow": (0.95, 0.85, 0.10),
    "purple": (0.65, 0.20, 0.85),
    "white": (0.95, 0.95, 0.95),
}
SHAPES: tuple[str, ...] = ("box", "sphere", "cylinder")
MOTIONS: tuple[str, ...] = ("sliding", "bouncing", "spinning", "pulsing")


@dataclass(frozen=True)
class Setting:
    """A place: `phrase` ends the caption; two RGB tones each for floor and wall; `pattern` picks the kernel's texture.

    `open_air` settings have no walls or ceiling, only ground and sky. `flowing` grounds move by themselves.
    """

    phrase: str
    pattern: int
    floor: tuple[tuple[float, float, float], tuple[float, float, float]]
    wall: tuple[tuple[float, float, float], tuple[float, float, float]]
    open_air: bool = False
    flowing: bool = False


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "in a checkered room", 0, ((0.85, 0.80, 0.70), (0.28, 0.22, 0.22)), ((0.75, 0.60, 0.50), (0.52, 0.38, 0.33))
    ),
    Setting("in a striped room", 1, ((0.78, 0.56, 0.35), (0.36, 0.22, 0.13)), ((0.55, 0.66, 0.80), (0.33, 0.43, 0.62))),
    Setting("in a tiled room", 2, ((0.60, 0.76, 0.80), (0.20, 0.34, 0.44)), ((0.82, 0.76, 0.50), (0.60, 0.50, 0.30))),
    Setting("in a dotted room", 3, ((0.70, 0.80, 0.60), (0.26, 0.40, 0.25)), ((0.70, 0.55, 0.75), (0.48, 0.34, 0.54))),
    Setting(
        "on open sand",
        0,
        ((0.90, 0.76, 0.50), (0.58, 0.44, 0.27)),
        ((0.30, 0.52, 0.90), (0.80, 0.86, 0.92)),
        open_air=True,
    ),
    Setting(
        "on open grass",
        3,
        ((0.48, 0.68, 0.28), (0.18, 0.38, 0.14)),
        ((0.42, 0.50, 0.84), (0.86, 0.84, 0.90)),
        open_air=True,
    ),
    Setting(
        "on flowing water",
        2,
        ((0.36, 0.66, 0.78), (0.10, 0.28, 0.50)),
        ((0.58, 0.50, 0.80), (0.92, 0.84, 0.84)),
        open_air=True,
        flowing=True,
    ),
)

COLOR_TABLE = np.array(list(COLORS.values()), dtype=np.float32)


def held_out(scene_words: str) -> bool:
    """Whether a scene (its caption without the camera) belongs to the test split: one scene in eight, by hash.

    Every training set of this package (pre-training, critics, RL prompts) leaves these scenes out.
    """
    return hashlib.sha256(scene_words.encode()).digest()[0] % 8 == 0
