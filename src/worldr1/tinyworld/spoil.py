"""The ways in which video models break a world, as parameters that the renderer follows.

Each kind is plain to see and leaves every single frame looking right: only the relation between frames is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SPOIL_KINDS: tuple[str, ...] = ("bend", "swim", "morph", "parallax", "mix")


@dataclass(frozen=True)
class Spoil:
    """Strengths of the defects; all zero is a consistent clip. Lengths in scene depths.

    Slides and swells follow `wave(s)`, which swings to and fro over the clip fraction s, so that no choice of depths or
    cameras explains them.

    Attributes:
        phase: where the swing starts, in rad.
        bend: amplitude of the image-space warp, in image widths.
        bend_frequency, bend_phase: its waves per image and its phase in rad.
        swim_floor: how far the floor's texture slides along (x, z) over the clip.
        swim_wall: how far the walls' texture slides.
        room: how far the back wall and the side walls travel.
        drift: per object, how far it slides along (x, z).
        swell: per object, relative growth of (width, height).
        recolor: per object, blend towards `recolor_to` at the end of the clip, 0 to 1.
        parallax: whether the background follows the inverse of the camera's motion.
    """

    phase: float = 0.0
    bend: float = 0.0
    bend_frequency: float = 1.0
    bend_phase: float = 0.0
    swim_floor: tuple[float, float] = (0.0, 0.0)
    swim_wall: float = 0.0
    room: tuple[float, float] = (0.0, 0.0)
    drift: tuple[tuple[float, float], ...] = ((0.0, 0.0), (0.0, 0.0))
    swell: tuple[tuple[float, float], ...] = ((0.0, 0.0), (0.0, 0.0))
    recolor: tuple[float, ...] = (0.0, 0.0)
    recolor_to: tuple[int, ...] = (0, 0)
    parallax: bool = False

    def wave(self, s: np.ndarray) -> np.ndarray:
        """Displacement of all that swings, 0 at the start and within [-2, 2], at the clip fractions `s` [T]."""
        return np.sin(2.0 * np.pi * SWINGS * s + self.phase) - np.sin(self.phase)


SWINGS = 1.25
CLEAN = Spoil()


def _signed(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high) * rng.choice((-1.0, 1.0)))


def _swim(rng: np.random.Generator, strength: float) -> dict[str, object]:
    angle = rng.uniform(0, 2 * np.pi)
    length = rng.uniform(0.28, 0.40) * strength
    return {
        "swim_floor": (float(length * np.cos(angle)), float(length * np.sin(angle))),
        "swim_wall": _signed(rng, 0.26, 0.36) * strength,
    }


def _morph(rng: np.random.Generator, strength: float) -> dict[str, object]:
    return {
        "room": (_signed(rng, 0.22, 0.32) * strength, _signed(rng, 0.08, 0.13) * strength),
        "drift": tuple((_signed(rng, 0.09, 0.14) * strength, _signed(rng, 0.06, 0.12) * strength) for _ in range(2)),
        "swell": tuple((_signed(rng, 0.15, 0.25) * strength, _signed(rng, 0.15, 0.25) * strength) for _ in range(2)),
        "recolor": tuple(float(rng.uniform(0.7, 1.0) * strength) for _ in range(2)),
        "recolor_to": tuple(int(rng.integers(6)) for _ in range(2)),
        "swim_wall": _signed(rng, 0.14, 0.20) * strength,
    }


def _bend(rng: np.random.Generator, strength: float) -> dict[str, object]:
    return {
        "bend": float(rng.uniform(0.06, 0.085) * strength),
        "bend_frequency": 1.1,
        "bend_phase": float(rng.integers(4) * np.pi / 2),
    }


def sample_spoil(rng: np.random.Generator, kind: str, moving_camera: bool = True, strength: float = 1.0) -> Spoil:
    """Draw the parameters of one kind of spoiling.

    Args:
        rng: source of randomness.
        kind: one of `SPOIL_KINDS`.
        moving_camera: without camera motion there is no parallax to invert; "parallax" becomes "swim" then.
        strength: 1 is plainly wrong; 0 leaves the clip consistent. Used to calibrate scores.

    Raises:
        ValueError: if the kind is unknown.
    """
    if kind not in SPOIL_KINDS:
        raise ValueError(f"unknown kind of spoiling {kind!r}; use one of {', '.join(SPOIL_KINDS)}")
    phase = float(rng.integers(2) * np.pi / 2)
    if kind == "parallax" and moving_camera:
        return Spoil(parallax=True, phase=phase, **_swim(rng, 0.7 * strength))  # type: ignore[arg-type]
    if kind == "mix":
        parts = [_bend, _swim, _morph]
        first, second = rng.choice(3, 2, replace=False)
        return Spoil(phase=phase, **{**parts[first](rng, strength), **parts[second](rng, strength)})  # type: ignore[arg-type]
    part = {"bend": _bend, "swim": _swim, "morph": _morph, "parallax": _swim}[kind]
    return Spoil(phase=phase, **part(rng, strength))  # type: ignore[arg-type]
