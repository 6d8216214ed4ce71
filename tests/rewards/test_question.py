"""What the judge is asked fits the camera that was asked for."""

from __future__ import annotations

import pytest
import torch

from worldr1.camera import Trajectory
from worldr1.camera.language import ALL_MOVES
from worldr1.rewards.question import MOTION, meta_question, motion_words


@pytest.mark.parametrize("move", ALL_MOVES)
def test_every_move_has_words_of_its_own(move: str) -> None:
    question = meta_question("a red box", Trajectory.from_moves((move,), 9))
    assert f"the camera {MOTION[move]}." in question
    assert "a red box" in question
    assert sum(f"the camera {words}." in question for words in MOTION.values()) == 1


def test_moves_are_told_in_order() -> None:
    trajectory = Trajectory.from_moves(("push in", "orbit left"), 9)
    assert motion_words(trajectory) == f"{MOTION['push in']}, then {MOTION['orbit left']}"


def test_without_moves_the_poses_speak() -> None:
    assert motion_words(Trajectory(torch.eye(4).repeat(5, 1, 1))) == "stands still"
    c2w = torch.eye(4).repeat(5, 1, 1)
    c2w[:, 0, 3] = torch.linspace(0, 1, 5)
    assert motion_words(Trajectory(c2w)) == "follows a given path"


@pytest.mark.parametrize(
    ("moves", "evidence"),
    [
        (("pan left",), "stayed at one point"),
        ((), "stayed at one point"),
        (("orbit right",), "from several sides"),
        (("move left",), "moved through space"),
        (("pan left", "push in"), "moved through space"),
    ],
)
def test_the_question_says_what_the_camera_could_see(moves: tuple[str, ...], evidence: str) -> None:
    assert evidence in meta_question("a box", Trajectory.from_moves(moves, 17))
