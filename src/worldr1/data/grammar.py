"""The prompt grammar: real-world video prompts over scenes, light and camera moves, from a seed.

A prompt is a scene (a subject and a place of one setting), its light, perhaps a detail and a style, and a sentence
about the camera. Which scenes are held out follows from their words alone, so no seed and no count ever puts a scene
on both sides. Every draw is named by seed, split and index, so a longer list begins with the shorter one.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Literal, TypeVar

from worldr1.camera.language import describe_moves
from worldr1.data import grammar_words as words
from worldr1.data.grammar_motion import DYNAMIC
from worldr1.data.grammar_scenes import STATIC, Setting
from worldr1.data.promptset import ScenePrompt, same_text

Split = Literal["train", "dynamic", "test"]
SHIPPED_COUNTS: dict[Split, int] = {"train": 3000, "dynamic": 500, "test": 200}
SHIPPED_SEED = 0

_HELD_OUT = 0.12
_DYNAMIC_IN_TEST = 4
_KINDS = (("one", 0.46), ("two", 0.24), ("three", 0.12), ("fixed", 0.08), ("none", 0.10))
_KEYWORDS, _STYLED, _IN_SCENE, _FIRST = 0.35, 0.35, 0.15, 0.45
_TRIES = 50

Item = TypeVar("Item")


@dataclass(frozen=True)
class Scene:
    """One subject at one place of a setting."""

    setting: Setting
    subject: str
    place: str

    @property
    def name(self) -> str:
        """What names the scene: its subject and place."""
        return f"{_plain(self.subject)} {self.place}"

    @property
    def held_out(self) -> bool:
        """Whether the scene is kept for testing."""
        return _fraction(self.name) < _HELD_OUT


def generate_prompts(split: Split, count: int, seed: int = SHIPPED_SEED) -> list[ScenePrompt]:
    """Draw prompts of the grammar, no two alike, with the domains and scenes in turn.

    Args:
        split: "train" (only the camera moves), "dynamic" (the content moves), or "test" (scenes that no training split
            ever shows, every fourth of them moving).
        count: how many, at least 1.
        seed: the same seed gives the same prompts; a longer list begins with the shorter one.

    Raises:
        ValueError: unknown split, no positive count, or more prompts than the grammar has words for.
    """
    if split not in SHIPPED_COUNTS:
        raise ValueError(f"unknown split '{split}'; there are {', '.join(SHIPPED_COUNTS)}")
    if count < 1:
        raise ValueError(f"count is {count}; it must be at least 1")
    still, moving = _turns(False, split == "test", seed), _turns(True, split == "test", seed)
    seen: set[str] = set()
    prompts: list[ScenePrompt] = []
    for index in range(count):
        dynamic = split == "dynamic" or (split == "test" and index % _DYNAMIC_IN_TEST == _DYNAMIC_IN_TEST - 1)
        scene = next(moving if dynamic else still)
        prompt = _new_prompt(scene, f"{seed} {split} {index}", dynamic, seen)
        if prompt is None:
            raise ValueError(f"the grammar has no {count} different '{split}' prompts; ask for {len(prompts)} or fewer")
        prompts.append(prompt)
    return prompts


@cache
def scenes(dynamic: bool, held_out: bool) -> tuple[Scene, ...]:
    """All scenes of one side: whether the content moves by itself, and whether they are held out."""
    found = [
        Scene(setting, subject, place)
        for setting in (DYNAMIC if dynamic else STATIC)
        for subject in setting.subjects
        for place in setting.places
    ]
    return tuple(scene for scene in found if scene.held_out == held_out)


def _turns(dynamic: bool, held_out: bool, seed: int) -> Iterator[Scene]:
    """Scenes without end: the domains in turn, in each domain all scenes in a random order, over and over."""
    by_domain: dict[str, list[Scene]] = defaultdict(list)
    for scene in sorted(scenes(dynamic, held_out), key=lambda scene: _fraction(f"{seed} {scene.name}")):
        by_domain[scene.setting.domain].append(scene)
    turn = 0
    while True:
        for members in by_domain.values():
            yield members[turn % len(members)]
        turn += 1


def _new_prompt(scene: Scene, name: str, dynamic: bool, seen: set[str]) -> ScenePrompt | None:
    for attempt in range(_TRIES):
        rng = Random(f"{name} {attempt}")
        moves = _moves(rng)
        text = _write(scene, moves, rng, dynamic)
        if same_text(text) not in seen:
            seen.add(same_text(text))
            return ScenePrompt(text, moves, scene.name, scene.setting.domain)
    return None


def _moves(rng: Random) -> tuple[str, ...]:
    kind, left = _KINDS[-1][0], rng.random()
    for name, share in _KINDS:
        if left < share:
            kind = name
            break
        left -= share
    if kind in ("none", "fixed"):
        return ("fixed",) if kind == "fixed" else ()
    moves: list[str] = []
    while len(moves) < {"one": 1, "two": 2, "three": 3}[kind]:
        moves.append(_pick([move for move in words.SAYINGS if move not in moves[-1:]], rng))
    return tuple(moves)


def _write(scene: Scene, moves: Sequence[str], rng: Random, dynamic: bool) -> str:
    body = _fill_scene(_pick(words.SCENES_MOVING if dynamic else words.SCENES_STILL, rng), scene, rng)
    style = f" {_pick(words.STYLES, rng)}" if rng.random() < _STYLED else ""
    the = f"the {_head(scene.subject)}"
    if len(moves) == 1 and moves != ("fixed",) and rng.random() < _IN_SCENE:
        return f"{body.removesuffix('.')}, as the camera {_does(moves[0], the, rng)}.{style}"
    camera = _camera_sentence(moves, the, rng)
    if not camera:
        return body + style
    return f"{camera} {body}{style}" if rng.random() < _FIRST else f"{body}{style} {camera}"


def _fill_scene(template: str, scene: Scene, rng: Random) -> str:
    parts = {
        "subject": _plain(scene.subject),
        "place": scene.place,
        "light": _pick(words.LIGHTS[scene.setting.light], rng),
        "detail": _pick(scene.setting.details, rng),
    }
    return template.format(**parts, **{name.capitalize(): _capital(text) for name, text in parts.items()})


def _camera_sentence(moves: Sequence[str], the: str, rng: Random) -> str:
    """What is said of the camera: the plain words of the language in about a third of the prompts."""
    if not moves:
        return ""
    if tuple(moves) == ("fixed",):
        return _pick(words.FIXED, rng)
    if rng.random() < _KEYWORDS:
        return f"{_capital(describe_moves(moves))}."
    template = _pick((words.ONE, words.TWO, words.THREE)[len(moves) - 1], rng)
    parts = {"pace": _pick(words.PACES, rng)}
    for place, move in enumerate(moves):
        parts[f"does{place}"] = _does(move, the, rng)
        parts[f"doing{place}"] = _pick(words.SAYINGS[move].doing, rng)
        parts[f"noun{place}"] = _pick(words.SAYINGS[move].noun, rng)
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", template.format(**parts))


def _does(move: str, the: str, rng: Random) -> str:
    return _pick(words.SAYINGS[move].does, rng).format(m=_pick(words.MANNERS, rng), the=the)


def _plain(subject: str) -> str:
    return subject.replace("[", "").replace("]", "")


def _head(subject: str) -> str:
    return subject[subject.index("[") + 1 : subject.index("]")]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _pick(options: Sequence[Item], rng: Random) -> Item:
    """One of the options; `Random.random` alone is promised to be the same in every Python."""
    return options[int(rng.random() * len(options))]


def _fraction(text: str) -> float:
    """A number in [0, 1) that hangs on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
