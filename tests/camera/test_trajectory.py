"""Trajectories against closed forms and an independent composition of rotations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from worldr1.camera import ALL_MOVES, Trajectory

CENTRE = torch.tensor([0.0, 0.0, 1.0, 1.0])
END = {
    "push in": ((0.0, 0.0, 0.40), 0.0),
    "pull out": ((0.0, 0.0, -0.40), 0.0),
    "move left": ((-0.35, 0.0, 0.0), 0.0),
    "move right": ((0.35, 0.0, 0.0), 0.0),
    "orbit left": ((-math.sin(math.radians(30)), 0.0, 1 - math.cos(math.radians(30))), 30.0),
    "orbit right": ((math.sin(math.radians(30)), 0.0, 1 - math.cos(math.radians(30))), -30.0),
    "pan left": ((0.0, 0.0, 0.0), -25.0),
    "pan right": ((0.0, 0.0, 0.0), 25.0),
    "pull left": ((-0.25, 0.0, -0.28), 0.0),
    "pull right": ((0.25, 0.0, -0.28), 0.0),
    "fixed": ((0.0, 0.0, 0.0), 0.0),
    "tilt up": ((0.0, 0.0, 0.0), 15.0),
    "tilt down": ((0.0, 0.0, 0.0), -15.0),
    "crane up": ((0.0, -0.20, 0.0), 0.0),
    "crane down": ((0.0, 0.20, 0.0), 0.0),
    "roll left": ((0.0, 0.0, 0.0), -20.0),
    "roll right": ((0.0, 0.0, 0.0), 20.0),
}
AXIS = {"tilt": "x", "roll": "z"}
CORNER = torch.tensor([0.2, 0.1, 1.0, 1.0])


def seen(trajectory: Trajectory, point: torch.Tensor) -> torch.Tensor:
    """``[T, 3]`` pixel x, pixel y and depth of a world point, by a general matrix inverse."""
    camera = torch.linalg.inv(trajectory.c2w.double()) @ point.double()
    pixel = camera[:, :3] @ trajectory.intrinsics(60, 100).double().T
    return torch.cat([pixel[:, :2] / pixel[:, 2:], camera[:, 2:3]], dim=1)


@pytest.mark.parametrize("move", ALL_MOVES)
def test_end_pose_and_constant_speed(move: str) -> None:
    trajectory = Trajectory.from_moves([move], 81)
    translation, degrees = END[move]
    expected = np.eye(4)
    expected[:3, :3] = Rotation.from_euler(AXIS.get(move.split()[0], "y"), degrees, degrees=True).as_matrix()
    expected[:3, 3] = translation
    np.testing.assert_allclose(trajectory.c2w[-1].numpy(), expected, atol=1e-6)
    steps = torch.linalg.inv(trajectory.c2w[:-1].double()) @ trajectory.c2w[1:].double()
    torch.testing.assert_close(steps, steps[:1].expand_as(steps), atol=1e-6, rtol=0)
    assert torch.equal(trajectory.c2w[0], torch.eye(4))
    assert trajectory.c2w.dtype == torch.float32
    assert trajectory.frames == 81
    assert trajectory.moves == (move,)


@pytest.mark.parametrize("moves", [("orbit left",), ("orbit right",), ("push in", "orbit left", "orbit right")])
def test_orbits_keep_the_scene_centred(moves: tuple[str, ...]) -> None:
    pixels = seen(Trajectory.from_moves(moves, 49), CENTRE)
    torch.testing.assert_close(pixels[:, :2], torch.tensor([[50.0, 30.0]]).double().expand(49, 2), atol=1e-4, rtol=0)
    orbit = pixels[:, 2] if len(moves) == 1 else pixels[16:, 2]
    torch.testing.assert_close(orbit, orbit[:1].expand_as(orbit), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("move", "point", "axis", "sign"),
    [
        ("pan left", CENTRE, 0, 1),
        ("pan right", CENTRE, 0, -1),
        ("move left", CENTRE, 0, 1),
        ("pull right", CENTRE, 0, -1),
        ("orbit left", torch.tensor([0.0, 0.0, 2.0, 1.0]), 0, -1),
        ("orbit right", torch.tensor([0.0, 0.0, 2.0, 1.0]), 0, 1),
        ("push in", CENTRE, 2, -1),
        ("pull out", CENTRE, 2, 1),
        ("tilt up", CENTRE, 1, 1),
        ("tilt down", CENTRE, 1, -1),
        ("crane up", CENTRE, 1, 1),
        ("crane down", CENTRE, 1, -1),
        ("roll right", CORNER, 1, -1),
        ("roll left", CORNER, 1, 1),
    ],
)
def test_things_in_the_image_go_the_right_way(move: str, point: torch.Tensor, axis: int, sign: int) -> None:
    track = seen(Trajectory.from_moves([move], 17), point)[:, axis]
    assert bool((track.diff() * sign > 0).all())


def test_a_sequence_goes_at_the_speed_of_single_moves_in_the_camera_frame() -> None:
    moves = ("pan left", "move right", "push in")
    trajectory = Trajectory.from_moves(moves, 61)
    pose = np.eye(4)
    for segment, move in enumerate(moves):
        (x, y, z), degrees = END[move]
        for step in range(21):
            part = np.eye(4)
            part[:3, :3] = Rotation.from_euler("y", degrees / 3 * step / 20, degrees=True).as_matrix()
            part[:3, 3] = np.array([x, y, z]) / 3 * step / 20
            np.testing.assert_allclose(trajectory.c2w[20 * segment + step].numpy(), pose @ part, atol=1e-6)
        pose = pose @ part


def test_few_frames_and_odd_splits() -> None:
    assert torch.equal(Trajectory.from_moves(["push in"], 1).c2w, torch.eye(4)[None])
    short, long = Trajectory.from_moves(["pan left", "push in"], 6), Trajectory.from_moves(["pan left", "push in"], 11)
    torch.testing.assert_close(short.c2w, long.c2w[::2])
    still = Trajectory.from_prompt("a red box", 5)
    assert still.moves == ()
    assert torch.equal(still.c2w, torch.eye(4).expand(5, 4, 4))
    assert Trajectory.from_prompt("camera orbit left, then push in", 9).moves == ("orbit left", "push in")


def test_intrinsics_span_the_field_of_view() -> None:
    trajectory = Trajectory.from_moves([], 1, fov=90.0)
    intrinsics = trajectory.intrinsics(480, 832)
    edge = torch.linalg.solve(intrinsics.double(), torch.tensor([0.0, 240.0, 1.0]).double())
    torch.testing.assert_close(edge, torch.tensor([-1.0, 0.0, 1.0]).double(), atol=1e-6, rtol=0)
    assert float(intrinsics[0, 0]) == float(intrinsics[1, 1])
    assert math.degrees(2 * math.atan(32 / float(Trajectory.from_moves([], 1).intrinsics(64, 64)[0, 0]))) == (
        pytest.approx(64.0)
    )


def test_bad_input_is_named() -> None:
    eye = torch.eye(4)[None]
    with pytest.raises(ValueError, match="Unknown camera move 'tilt'"):
        Trajectory.from_moves(["tilt"])
    with pytest.raises(ValueError, match="at most 3"):
        Trajectory.from_moves(["fixed"] * 4)
    with pytest.raises(ValueError, match="at least 1 frame"):
        Trajectory.from_moves([], 0)
    with pytest.raises(ValueError, match=r"\[T, 4, 4\]"):
        Trajectory(torch.eye(4))
    with pytest.raises(ValueError, match="not finite"):
        Trajectory(eye * torch.nan)
    with pytest.raises(ValueError, match="not the identity"):
        Trajectory(2 * eye)
    with pytest.raises(ValueError, match="180 degrees"):
        Trajectory(eye, fov=180.0)
    with pytest.raises(ValueError, match="must be positive"):
        Trajectory(eye).intrinsics(0, 5)
