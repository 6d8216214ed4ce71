"""Camera paths over another number of frames: closed forms, and nothing changed where nothing is asked."""

from __future__ import annotations

import math

import pytest
import torch

from worldr1.camera.fit import fit_trajectory
from worldr1.camera.trajectory import Trajectory


def test_the_same_number_gives_the_same_bits() -> None:
    path = Trajectory.from_moves(("orbit left", "push in"), 17, fov=50.0)
    fitted = fit_trajectory(path, 17)
    assert torch.equal(fitted.c2w, path.c2w)
    assert (fitted.moves, fitted.fov) == (path.moves, path.fov)


@pytest.mark.parametrize("move", ["push in", "move left", "pan right", "tilt up", "roll left"])
@pytest.mark.parametrize("frames", [1, 9, 33, 100])
def test_one_steady_move_is_that_move_at_any_length(move: str, frames: int) -> None:
    fitted = fit_trajectory(Trajectory.from_moves((move,), 17), frames)
    torch.testing.assert_close(fitted.c2w, Trajectory.from_moves((move,), frames).c2w, atol=2e-6, rtol=0)


def test_poses_between_are_rigid_and_half_way() -> None:
    path = Trajectory.from_moves(("orbit left",), 2)
    middle = fit_trajectory(path, 3).c2w[1].double()
    torch.testing.assert_close(middle[:3, :3] @ middle[:3, :3].T, torch.eye(3, dtype=torch.float64), atol=1e-6, rtol=0)
    angle = math.acos((float(middle[:3, :3].trace()) - 1) / 2)
    assert math.degrees(angle) == pytest.approx(15.0, abs=1e-3)
    torch.testing.assert_close(middle[:3, 3], path.c2w[1, :3, 3].double() / 2, atol=1e-6, rtol=0)


def test_half_a_turn_and_a_single_pose() -> None:
    turn = torch.eye(4).repeat(2, 1, 1)
    turn[1, 0, 0] = turn[1, 2, 2] = -1.0
    quarter = fit_trajectory(Trajectory(turn), 3).c2w[1]
    assert abs(float(quarter[0, 2])) == pytest.approx(1.0, abs=1e-6)
    assert torch.equal(fit_trajectory(Trajectory(torch.eye(4)[None]), 5).c2w, torch.eye(4).repeat(5, 1, 1))


def test_lengths_are_in_scene_depths() -> None:
    path = Trajectory.from_moves(("push in",), 5)
    fitted = fit_trajectory(path, 5, scene_depth=4.0)
    torch.testing.assert_close(fitted.c2w[:, 2, 3], path.c2w[:, 2, 3] / 4)
    assert torch.equal(fitted.c2w[:, :3, :3], path.c2w[:, :3, :3])


@pytest.mark.parametrize(
    ("frames", "depth", "told"), [(0, 1.0, "frames is 0"), (5, 0.0, "scene depth is 0"), (5, math.inf, "scene depth")]
)
def test_bad_wishes_are_told(frames: int, depth: float, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        fit_trajectory(Trajectory.from_moves((), 5), frames, depth)
