"""Scenes that are not quite what was asked for, and how far they are from it: what teaches the critics to read."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np

from worldr1.tinyworld.scenes import Scene, SceneObject
from worldr1.tinyworld.vocabulary import COLORS, SETTINGS, SHAPES, held_out

EDITS: tuple[str, ...] = ("remove", "recolor", "reshape", "swap", "setting", "everything")
MISSING = 1.5
UNASKED = 0.5
PENALTY_BASE = 3.0


def _other(rng: np.random.Generator, values: list[str], taken: set[str]) -> str:
    return str(rng.choice([value for value in values if value not in taken]))


def _recolored(rng: np.random.Generator, scene: Scene, index: int) -> SceneObject:
    taken = {solid.color for solid in scene.solids}
    return replace(scene.solids[index], color=_other(rng, list(COLORS), taken))


def _elsewhere(rng: np.random.Generator, scene: Scene) -> int:
    flowing = SETTINGS[scene.setting].flowing
    return int(rng.choice([i for i, s in enumerate(SETTINGS) if i != scene.setting and (not s.flowing or flowing)]))


def edit_scene(rng: np.random.Generator, scene: Scene, kind: str) -> Scene:
    """The scene with one thing changed (everything with "everything"), all else in its place.

    "remove" takes one object away (also the only one); "swap" exchanges the colours of two, and recolours where there
    is only one. An edited object keeps its size, so only a word or two of the caption tell the scenes apart.

    Raises ValueError for an unknown kind.
    """
    solids = list(scene.solids)
    index = int(rng.integers(len(solids)))
    if kind == "remove":
        if solids[0].motion:
            index = len(solids) - 1
        return replace(scene, solids=tuple(s for i, s in enumerate(solids) if i != index))
    if kind == "swap" and len(solids) == 2:
        first, second = solids
        return replace(scene, solids=(replace(first, color=second.color), replace(second, color=first.color)))
    if kind in ("recolor", "swap"):
        solids[index] = _recolored(rng, scene, index)
        return replace(scene, solids=tuple(solids))
    if kind == "reshape":
        solids[index] = replace(solids[index], shape=_other(rng, list(SHAPES), {solids[index].shape}))
        return replace(scene, solids=tuple(solids))
    if kind == "setting":
        return replace(scene, setting=_elsewhere(rng, scene))
    if kind != "everything":
        raise ValueError(f"unknown edit {kind!r}; use one of {', '.join(EDITS)}")
    changed = [
        replace(_recolored(rng, scene, i), shape=_other(rng, list(SHAPES), {solid.shape}))
        for i, solid in enumerate(solids)
    ]
    if len(changed) == 2 and changed[0].color == changed[1].color:
        return edit_scene(rng, scene, kind)
    return replace(scene, solids=tuple(changed), setting=_elsewhere(rng, scene))


def renderable(scene: Scene) -> Scene:
    """A scene that the renderer takes: an empty one gets an object far behind every camera."""
    if scene.solids:
        return scene
    unseen = SceneObject(color="red", shape="box", x=0.0, z=-60.0, half=0.1, half_height=0.1, yaw=0.0)
    return replace(scene, solids=(unseen,))


def shrink_object(scene: Scene, index: int, factor: float) -> Scene:
    """The scene with one object smaller by `factor`, still on the floor."""
    solids = list(scene.solids)
    solid = solids[index]
    solids[index] = replace(solid, half=solid.half * factor, half_height=solid.half_height * factor)
    return replace(scene, solids=tuple(solids))


def mismatch(shown: Scene, asked: Scene) -> float:
    """How much of what was asked for is wrong in what is shown: 1 for each wrong colour, shape or setting, `MISSING`
    for an object that is not there, `UNASKED` for one that nobody asked for; the kindest pairing of objects counts."""
    have, want = list(shown.objects), list(asked.objects)
    slots: list[tuple[str, str] | None] = [*have, *[None] * len(want)]
    best = float("inf")
    for chosen in permutations(range(len(slots)), len(want)):
        cost = 0.0
        for (color, shape), slot in zip(want, chosen, strict=True):
            found = slots[slot]
            cost += MISSING if found is None else float(color != found[0]) + float(shape != found[1])
        best = min(best, cost + UNASKED * sum(i not in chosen for i in range(len(have))))
    return best + float(shown.setting != asked.setting)


def agreement(shown: Scene, asked: Scene) -> float:
    """1 when all that was asked for is there, a third of it for each unit of `mismatch`."""
    return PENALTY_BASE ** -mismatch(shown, asked)


def nearby_scenes(rng: np.random.Generator, scene: Scene, count: int, split: str) -> list[Scene]:
    """Scenes that another caption describes: edits of every kind in turn, an object more where there is but one.

    With the split "train" no caption is a held-out one, so that training never reads those.
    """
    found: list[Scene] = []
    attempt = int(rng.integers(len(EDITS)))
    while len(found) < count:
        kind = EDITS[attempt % len(EDITS)]
        attempt += 1
        alone = kind == "remove" and len(scene.solids) == 1
        other = _with_another(rng, scene) if alone else edit_scene(rng, scene, kind)
        if mismatch(scene, other) > 0 and not (split == "train" and held_out(other.caption)):
            found.append(other)
    return found


def _with_another(rng: np.random.Generator, scene: Scene) -> Scene:
    """The scene with a second object, for its caption alone: no room is made for it."""
    solid = scene.solids[0]
    second = replace(_recolored(rng, scene, 0), shape=str(rng.choice(SHAPES)), motion=None)
    pair = (solid, second) if solid.motion or rng.random() < 0.5 else (second, solid)
    return replace(scene, solids=pair)
