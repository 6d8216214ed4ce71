"""Pose metrics against closed forms, scipy, and known similarities."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from worldr1.camera import Trajectory, align_first, align_similarity, camera_errors, rotation_geodesic, se3
from worldr1.camera.metrics import Similarity

PATHS = [["push in"], ["orbit left"], ["pan right"], ["move left", "push in"], ["orbit right", "pull left", "pan left"]]


def turned(degrees: float) -> torch.Tensor:
    return se3.yaw(torch.tensor(math.radians(degrees), dtype=torch.float64))


def random_similarity(seed: int) -> Similarity:
    rotation = torch.from_numpy(Rotation.random(random_state=seed).as_matrix())
    return Similarity(0.3 + seed, rotation, torch.tensor([1.0, -2.0, 0.5 * seed], dtype=torch.float64))


def test_geodesic_agrees_with_scipy_also_for_tiny_angles() -> None:
    a, b = Rotation.random(300, random_state=1), Rotation.random(300, random_state=2)
    expected = torch.from_numpy((a.inv() * b).magnitude())
    measured = rotation_geodesic(torch.from_numpy(a.as_matrix()), torch.from_numpy(b.as_matrix()))
    torch.testing.assert_close(measured, expected)
    for angle in (0.0, 1e-9, 1e-4, math.pi):
        turn = torch.from_numpy(Rotation.from_rotvec([0, angle, 0]).as_matrix())
        assert float(rotation_geodesic(turn, torch.eye(3))) == pytest.approx(angle, rel=1e-6, abs=1e-15)


@pytest.mark.parametrize("moves", PATHS)
@pytest.mark.parametrize("align", ["similarity", "first"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_similar_path_has_no_error(moves: list[str], align: str, seed: int) -> None:
    reference = Trajectory.from_moves(moves, 21).c2w
    errors = camera_errors(random_similarity(seed).apply(reference), reference, align=align)
    assert errors.rot_err < 1e-4
    assert errors.trans_err < 1e-4
    assert errors.cam_mc < 1e-4
    if moves != ["pan right"]:
        assert errors.scale == pytest.approx(1 / (0.3 + seed), rel=1e-4)


def test_without_orientations_it_is_umeyamas_alignment() -> None:
    generator = torch.Generator().manual_seed(0)
    reference, estimated = (torch.eye(4, dtype=torch.float64).repeat(40, 1, 1) for _ in range(2))
    reference[:, :3, 3] = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    similarity = random_similarity(3)
    noise = 0.1 * torch.randn(40, 3, generator=generator, dtype=torch.float64)
    estimated[:, :3, 3] = similarity.apply(reference)[:, :3, 3] + noise
    found = align_similarity(estimated, reference, orientation_weight=0.0)
    source, target = estimated[:, :3, 3].numpy(), reference[:, :3, 3].numpy()
    turn, _ = Rotation.align_vectors(target - target.mean(0), source - source.mean(0))
    np.testing.assert_allclose(found.rotation.numpy(), turn.as_matrix(), atol=1e-9)

    def cost(scale: float, shift: np.ndarray) -> float:
        return float(np.square(target - (scale * turn.apply(source) + shift)).sum())

    best = cost(found.scale, found.translation.numpy())
    for scale, shift in [(1e-3, 0.0), (-1e-3, 0.0), (0.0, 1e-3), (0.0, -1e-3)]:
        assert cost(found.scale + scale, found.translation.numpy() + shift) > best


def test_errors_of_known_differences() -> None:
    reference = Trajectory.from_moves(["move left"], 11).c2w.double()
    panned = reference.clone()
    panned[1:, :3, :3] = turned(10.0)
    errors = camera_errors(panned, reference, align="first")
    assert errors.rot_err == pytest.approx(10 * math.radians(10.0), abs=1e-6)
    assert errors.trans_err == pytest.approx(0.0, abs=1e-6)
    chord = 2 * math.sqrt(2) * math.sin(math.radians(5.0))
    assert errors.cam_mc == pytest.approx(10 * chord, abs=1e-5)
    bumped = reference.clone()
    bumped[5, 1, 3] += 0.2
    errors = camera_errors(bumped, reference, align="first", reduction="mean")
    scale = 0.35**2 * sum((k / 10) ** 2 for k in range(11))
    assert errors.scale == pytest.approx(scale / (scale + 0.04), rel=1e-5)
    assert errors.trans_err == pytest.approx(
        sum(math.hypot(0.035 * k * (1 - errors.scale), 0.2 * errors.scale if k == 5 else 0.0) for k in range(11)) / 11,
        rel=1e-4,
    )
    assert errors.frames == 11


def test_noisy_straight_paths_keep_their_orientation() -> None:
    reference = Trajectory.from_moves(["push in"], 21).c2w
    generator = torch.Generator().manual_seed(0)
    with_axes, centres_only = [], []
    for _ in range(20):
        estimated = random_similarity(1).apply(reference)
        estimated[:, :3, 3] += 0.002 * torch.randn(21, 3, generator=generator, dtype=torch.float64)
        with_axes.append(camera_errors(estimated, reference, reduction="mean").rot_err)
        moved = align_similarity(estimated, reference, orientation_weight=0.0).apply(estimated)
        centres_only.append(float(rotation_geodesic(moved[:, :3, :3], reference[:, :3, :3]).mean()))
    assert max(with_axes) < math.radians(0.5)
    assert sum(centres_only) > 20 * sum(with_axes)


def test_opposite_and_still_paths() -> None:
    left, right = (Trajectory.from_moves([f"move {side}"], 17).c2w for side in ("left", "right"))
    for align in (align_first, align_similarity):
        assert align(right, left).scale == 0.0
    assert camera_errors(right, left, align="first").trans_err == pytest.approx(0.35 * 17 / 2, rel=1e-5)
    still = Trajectory.from_moves(["fixed"], 17).c2w
    assert camera_errors(still, left, align="first").trans_err == pytest.approx(0.35 * 17 / 2, rel=1e-5)
    assert camera_errors(still, left).scale == 1.0
    jitter = still.clone()
    jitter[:, 0, 3] = -1e-4 * torch.arange(17)
    assert camera_errors(jitter, left).scale == pytest.approx(0.35 / 16 / 1e-4, rel=1e-3)


def test_bad_input_is_named() -> None:
    path = Trajectory.from_moves(["fixed"], 3).c2w
    with pytest.raises(ValueError, match="both must be"):
        camera_errors(path, path[:2])
    with pytest.raises(ValueError, match="align is 'icp'"):
        camera_errors(path, path, align="icp")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reduction is 'max'"):
        camera_errors(path, path, reduction="max")  # type: ignore[arg-type]
