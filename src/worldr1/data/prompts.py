"""Prompt sets: drawn from the tiny world, shipped, or read from plain text and JSONL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from worldr1.data.promptset import nothing_in, read_lines, shipped_path

_SEQUENCE_SHARES = (0.5, 0.35, 0.15)
"""Share of prompts that ask for one, two and three camera moves."""


def read_prompts(path: Path) -> list[str]:
    """Read prompts: a .jsonl file with a "prompt" in each object, or any other text file with a prompt a line.

    Empty lines and, in plain text, lines that begin with '#' are left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not UTF-8 text, a line of JSONL holds no prompt, or no prompt is left; the sentence
            names file and line.
    """
    lines = [(number, line.strip()) for number, line in enumerate(read_lines(path), start=1)]
    if path.suffix == ".jsonl":
        prompts = [_prompt_of_json(path, number, line) for number, line in lines if line]
    else:
        prompts = [line for _, line in lines if line and not line.startswith("#")]
    if not prompts:
        raise ValueError(nothing_in(path))
    return prompts


def tinyworld_prompts(count: int, seed: int, dynamic: bool = False, split: str = "train") -> list[str]:
    """Draw prompts of the tiny world: camera moves and the words of a scene.

    Args:
        count: how many.
        seed: the same seed gives the same prompts; a longer list begins with the shorter one.
        dynamic: scenes in which something moves by itself.
        split: "train", or "test" for scenes that no training ever saw.
    """
    from worldr1.tinyworld.scenes import prompt_of, sample_scene

    prompts = []
    for index in range(count):
        rng = np.random.default_rng([seed, index, int(dynamic)])
        prompts.append(prompt_of(sample_scene(rng, dynamic=dynamic, split=split), _moves(rng)))
    return prompts


def load_prompts(source: str, count: int, seed: int, dynamic: bool = False, split: str = "train") -> list[str]:
    """The prompts of a source.

    Args:
        source: "tinyworld" draws prompts of the tiny world; "world-r1" is the shipped real-world prompts (held out for
            the split "test", else for the dynamic or the main phase); anything else names a file.
        count: how many to draw, or at most how many to take of the shipped ones; a file is taken whole.
        seed: of the tiny world's draws.
        dynamic: prompts for the dynamic phase.
        split: "train" or "test".
    """
    if source == "tinyworld":
        return tinyworld_prompts(count, seed, dynamic, split)
    if source == "world-r1":
        name = "test" if split == "test" else "dynamic" if dynamic else "train"
        return read_prompts(shipped_path(name))[:count]
    return read_prompts(Path(source))


def _moves(rng: np.random.Generator) -> tuple[str, ...]:
    from worldr1.camera.language import MOVES

    moving: Sequence[str] = [name for name in MOVES if name != "fixed"]
    if rng.random() < 1.0 / len(MOVES):
        return ("fixed",)
    count = 1 + int(rng.choice(len(_SEQUENCE_SHARES), p=_SEQUENCE_SHARES))
    moves = [str(rng.choice(moving))]
    while len(moves) < count:
        moves.append(str(rng.choice([name for name in moving if name != moves[-1]])))
    return tuple(moves)


def _prompt_of_json(path: Path, number: int, line: str) -> str:
    try:
        prompt = json.loads(line)["prompt"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f'{path}, line {number}: expected an object such as {{"prompt": "..."}}') from error
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError(f"{path}, line {number}: the prompt must be text that is not empty")
    return prompt.strip()
