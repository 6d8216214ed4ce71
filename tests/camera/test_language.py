"""The camera language: what is a camera move, what is not, and the way back to text."""

from __future__ import annotations

import itertools

import pytest
from camera_prompts import NOTHING, ONE_MOVE, SEQUENCES
from real_prompts import REAL_PROMPTS
from varied_prompts import MENTIONS, VARIED_PROMPTS

from worldr1.camera import ALL_MOVES, EXTENDED_MOVES, MAX_MOVES, MOVES, describe_moves, parse_moves


@pytest.mark.parametrize(
    ("move", "prompt"), [(move, prompt) for move, prompts in ONE_MOVE.items() for prompt in prompts]
)
def test_one_move(move: str, prompt: str) -> None:
    assert parse_moves(prompt) == (move,)


@pytest.mark.parametrize(("prompt", "moves"), SEQUENCES)
def test_sequences(prompt: str, moves: tuple[str, ...]) -> None:
    assert parse_moves(prompt) == moves


@pytest.mark.parametrize("prompt", [*NOTHING, *MENTIONS])
def test_nothing_is_asked(prompt: str) -> None:
    assert parse_moves(prompt) == ()


@pytest.mark.parametrize(("prompt", "moves"), [*REAL_PROMPTS, *VARIED_PROMPTS])
def test_prompts_as_people_write_them(prompt: str, moves: tuple[str, ...]) -> None:
    assert parse_moves(prompt) == moves
    assert parse_moves(describe_moves(moves)) == moves


def test_every_sequence_survives_the_way_through_text() -> None:
    for count in range(MAX_MOVES + 1):
        for moves in itertools.product(ALL_MOVES, repeat=count):
            assert parse_moves(describe_moves(moves)) == moves
            assert parse_moves(f"{describe_moves(moves)}. a red box and a blue sphere in a striped room") == moves
            assert parse_moves(", then ".join(moves)) == moves


def test_mirrored_prompts_ask_for_mirrored_moves() -> None:
    swap = {"left": "right", "right": "left"}
    for move, prompts in ONE_MOVE.items():
        if move.split()[-1] not in swap:
            continue
        for prompt in prompts:
            words = prompt.replace("left", "\0").replace("right", "left").replace("\0", "right")
            if words != prompt:
                expected = f"{move.split()[0]} {swap[move.split()[1]]}"
                assert parse_moves(words) == (expected,), words


def test_the_moves_of_the_paper_stay_as_they_are() -> None:
    assert len(MOVES) == 11
    assert not set(MOVES) & set(EXTENDED_MOVES)
    assert (*MOVES, *EXTENDED_MOVES) == ALL_MOVES


def test_describe_names_what_is_wrong() -> None:
    assert describe_moves(()) == ""
    assert describe_moves(["orbit left", "push in"]) == "camera orbit left, then push in"
    with pytest.raises(ValueError, match="Unknown camera move 'fly up'"):
        describe_moves(["fly up"])
    with pytest.raises(ValueError, match="at most 3"):
        describe_moves(["fixed"] * 4)
