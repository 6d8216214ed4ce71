"""Rigid transforms and quaternions against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from worldr1.camera import se3


def random_poses(count: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    rotations = Rotation.from_quat(rng.standard_normal((count, 4))).as_matrix()
    return se3.compose(torch.from_numpy(rotations), torch.from_numpy(rng.standard_normal((count, 3))))


def test_an_inverse_undoes_the_pose() -> None:
    poses = random_poses(50)
    torch.testing.assert_close(se3.invert(poses), torch.linalg.inv(poses), atol=1e-12, rtol=0)
    torch.testing.assert_close(se3.invert(poses[0]) @ poses[0], torch.eye(4, dtype=poses.dtype), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("turn", "axis"), [(se3.pitch, "x"), (se3.yaw, "y"), (se3.roll, "z")])
def test_elementary_rotations(turn, axis: str) -> None:
    angles = torch.linspace(-3, 3, 13, dtype=torch.float64)
    expected = np.stack([Rotation.from_euler(axis, angle).as_matrix() for angle in angles.tolist()])
    torch.testing.assert_close(turn(angles), torch.from_numpy(expected), atol=1e-12, rtol=0)


def test_quaternions_there_and_back_half_turns_included() -> None:
    half = Rotation.from_rotvec(math.pi * np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0, 0.8]])).as_matrix()
    rotations = torch.cat(
        [random_poses(50)[:, :3, :3], torch.from_numpy(half), torch.eye(3, dtype=torch.float64)[None]]
    )
    quaternions = se3.matrix_to_quaternion(rotations)
    assert bool((quaternions[:, 0] >= 0).all())
    torch.testing.assert_close(quaternions.norm(dim=-1), torch.ones(len(rotations), dtype=torch.float64))
    torch.testing.assert_close(se3.quaternion_to_matrix(3.0 * quaternions), rotations, atol=1e-12, rtol=0)
    expected = torch.from_numpy(np.roll(Rotation.from_matrix(rotations[:50].numpy()).as_quat(), 1, axis=1))
    expected = torch.where(expected[:, :1] < 0, -expected, expected)
    torch.testing.assert_close(quaternions[:50], expected, atol=1e-12, rtol=0)


def test_poses_relative_to_the_first_keep_their_distances() -> None:
    poses = random_poses(6, seed=1)
    relative = se3.relative_to_first(poses)
    assert torch.equal(relative[0], torch.eye(4, dtype=poses.dtype))
    torch.testing.assert_close(poses[0] @ relative, poses, atol=1e-12, rtol=0)
