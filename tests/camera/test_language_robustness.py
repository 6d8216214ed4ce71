"""Whatever text comes, the parser answers with moves that it can write and read again."""

from __future__ import annotations

import random
import string

import pytest
from camera_prompts import NOTHING
from varied_prompts import MENTIONS, VARIED_PROMPTS

from worldr1.camera import ALL_MOVES, MAX_MOVES, describe_moves, parse_moves
from worldr1.data.prompts import read_prompts
from worldr1.data.promptset import SETS, shipped_path


def test_no_text_breaks_the_parser() -> None:
    rng = random.Random(0)
    vocabulary = [
        *ALL_MOVES,
        *NOTHING,
        *MENTIONS,
        *(prompt for prompt, _ in VARIED_PROMPTS),
        "camera",
        "the",
        "a",
        "slowly",
        ",",
        ".",
        "then",
        "and",
        ";",
        "!",
        "-",
        "not",
        "shot",
    ]
    vocabulary += ["to", "from", "around", "\n", "\x00", "é", "’", "\ud83d", "((((("]
    for _ in range(3000):
        text = " ".join(rng.choices(vocabulary, k=rng.randrange(20)))
        _is_read_once_and_for_all(text)
    for _ in range(500):
        _is_read_once_and_for_all("".join(rng.choices(string.printable, k=60)))


def test_no_unicode_breaks_the_parser() -> None:
    rng = random.Random(1)
    for _ in range(1500):
        strange = "".join(chr(rng.randrange(0x110000)) for _ in range(rng.randrange(12)))
        words = rng.choices(["camera", "the camera pans", *ALL_MOVES, "İ", "ß", "\u202e", "\ufdfa", "left"], k=4)
        _is_read_once_and_for_all(strange.join(words))
        _is_read_once_and_for_all(strange)


def test_no_scrap_of_a_real_prompt_breaks_the_parser() -> None:
    rng = random.Random(2)
    prompts = [prompt for name in SETS for prompt in read_prompts(shipped_path(name))]
    for _ in range(600):
        words = " ".join(rng.sample(prompts, 2)).split()
        start = rng.randrange(len(words))
        scrap = words[start : start + rng.randrange(1, 30)]
        rng.shuffle(scrap)
        _is_read_once_and_for_all(" ".join(scrap))
        _is_read_once_and_for_all(rng.choice(prompts)[rng.randrange(40) : rng.randrange(40, 400)])


def _is_read_once_and_for_all(text: str) -> None:
    """What the parser reads are at most three moves, and their own text reads as the same."""
    moves = parse_moves(text)
    assert set(moves) <= set(ALL_MOVES)
    assert len(moves) <= MAX_MOVES
    assert parse_moves(describe_moves(moves)) == moves


@pytest.mark.timeout(60)
def test_long_prompts_take_no_time() -> None:
    hostile = "the camera orbits " + "to the to from the left to " * 2000
    assert parse_moves(hostile + "a" * 20000)
