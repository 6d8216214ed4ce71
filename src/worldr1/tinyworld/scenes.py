"""Procedural scenes: what stands where, of which colour, and how it moves; the caption says the same in words.

Units are scene depths (the scene's centre lies at (0, 0, 1) in the first camera's frame) and axes are OpenCV's, so the
floor is at positive y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from worldr1.tinyworld.vocabulary import COLORS, MOTIONS, SETTINGS, SHAPES, held_out

FLOOR_Y = 0.38


@dataclass(frozen=True)
class SceneObject:
    """One solid with its centre at (x, FLOOR_Y - half_height, z) and half width `half`, in scene depths; yaw in rad."""

    color: str
    shape: str
    x: float
    z: float
    half: float
    half_height: float
    yaw: float
    motion: str | None = None
    motion_phase: float = 0.0


@dataclass(frozen=True)
class Scene:
    """A static or dynamic scene.

    Attributes:
        setting: index into `vocabulary.SETTINGS`.
        solids: one or two objects; none where a scene has been emptied.
        wall_z: depth of the back wall.
        phase: offset of the surface textures along x and z, in scene depths.
    """

    setting: int
    solids: tuple[SceneObject, ...]
    wall_z: float
    phase: tuple[float, float]

    @property
    def objects(self) -> tuple[tuple[str, str], ...]:
        """(colour, shape) of each object, in the caption's order."""
        return tuple((o.color, o.shape) for o in self.solids)

    @property
    def dynamic(self) -> bool:
        """Whether anything moves by itself."""
        return SETTINGS[self.setting].flowing or any(o.motion for o in self.solids)

    @property
    def caption(self) -> str:
        """The scene in words, without the camera; of a scene without objects, only where it is."""
        phrase = SETTINGS[self.setting].phrase
        if not self.solids:
            return phrase
        named = [f"a {o.color} {o.shape}" + (f" {o.motion}" if o.motion else "") for o in self.solids]
        joint = " beside " if self.solids[0].motion else " and "
        return f"{joint.join(named)} {phrase}"


def prompt_of(scene: Scene, moves: tuple[str, ...]) -> str:
    """The full prompt of a clip: camera sentence first when there are moves, then the scene."""
    return f"camera {', then '.join(moves)}. {scene.caption}" if moves else scene.caption


def _draw(rng: np.random.Generator, dynamic: bool) -> Scene:
    still_settings = [i for i, s in enumerate(SETTINGS) if not s.flowing]
    flows = dynamic and rng.random() < 0.2
    setting = (
        next(i for i, s in enumerate(SETTINGS) if s.flowing)
        if flows
        else still_settings[rng.integers(len(still_settings))]
    )
    count = 2 if rng.random() < 0.7 else 1
    colors = rng.permutation(list(COLORS))[:count]
    side = 1.0 if rng.random() < 0.5 else -1.0
    solids = []
    for i in range(count):
        x = side * (-1.0) ** i * rng.uniform(0.16, 0.34) if count == 2 else rng.uniform(-0.2, 0.2)
        half = rng.uniform(0.125, 0.17)
        motion = str(rng.choice(MOTIONS)) if dynamic and not flows and i == 0 else None
        solids.append(
            SceneObject(
                color=str(colors[i]),
                shape=SHAPES[rng.integers(len(SHAPES))],
                x=float(x),
                z=float(rng.uniform(0.85, 1.2)),
                half=float(half),
                half_height=float(half * (1.3 if rng.random() < 0.5 else 1.0)),
                yaw=float(rng.uniform(0.2, 0.9)),
                motion=motion,
                motion_phase=float(rng.uniform(0, 2 * np.pi)),
            )
        )
    return Scene(
        setting=setting,
        solids=tuple(solids),
        wall_z=float(rng.uniform(1.7, 1.9)),
        phase=(float(rng.uniform(-0.08, 0.08)), float(rng.uniform(-0.08, 0.08))),
    )


def sample_scene(rng: np.random.Generator, dynamic: bool = False, split: str = "train") -> Scene:
    """Draw a scene of one split.

    Args:
        rng: source of randomness.
        dynamic: with self-moving content (an object that slides, bounces, spins or pulses, or flowing water).
        split: "train", "test" (scenes whose caption no training set holds) or "all".

    Raises:
        ValueError: if `split` is unknown.
    """
    if split not in ("train", "test", "all"):
        raise ValueError(f"unknown split {split!r}; use 'train', 'test' or 'all'")
    while True:
        scene = _draw(rng, dynamic)
        if split == "all" or held_out(scene.caption) == (split == "test"):
            return scene
