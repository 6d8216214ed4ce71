import numpy as np
import pytest
import torch

from worldr1.reconstruction import geometry


def twist_matrix(twist: np.ndarray) -> torch.Tensor:
    t = torch.zeros(4, 4, dtype=torch.float64)
    a, b, c = twist[3:]
    t[:3, :3] = torch.tensor([[0, -c, b], [c, 0, -a], [-b, a, 0]], dtype=torch.float64)
    t[:3, 3] = torch.from_numpy(twist[:3])
    return t


def pose(twist: np.ndarray) -> np.ndarray:
    out = np.empty((4, 4))
    geometry.exponential(twist, out)
    return out


@pytest.mark.parametrize("size", [1e-8, 0.3, 2.5])
def test_exponential_is_the_matrix_exponential(size: float) -> None:
    twist = np.random.default_rng(0).normal(size=6) * size
    assert np.allclose(pose(twist), torch.matrix_exp(twist_matrix(twist)).numpy(), atol=1e-12)


def test_adjoint_carries_twists_through_a_pose() -> None:
    rng = np.random.default_rng(1)
    here, twist, out = pose(rng.normal(size=6)), rng.normal(size=6), np.empty((6, 6))
    geometry.adjoint(here, out)
    assert np.allclose(pose(out @ twist), here @ pose(twist) @ np.linalg.inv(here), atol=1e-12)


def test_invert_and_compose() -> None:
    rng = np.random.default_rng(2)
    a, b, inverse, product = pose(rng.normal(size=6)), pose(rng.normal(size=6)), np.empty((4, 4)), np.empty((4, 4))
    geometry.invert(a, inverse)
    geometry.compose(a, b, product)
    assert np.allclose(inverse, np.linalg.inv(a), atol=1e-12)
    assert np.allclose(product, a @ b, atol=1e-12)


def test_interpolation_turns_evenly_and_moves_the_centre_on_a_line() -> None:
    rng = np.random.default_rng(3)
    a, b, out = pose(rng.normal(size=6)), pose(rng.normal(size=6) * 0.4), np.empty((4, 4))
    for share in (0.0, 0.25, 1.0):
        geometry.interpolate(a, b, share, out)
        centre = share * np.linalg.inv(b)[:3, 3] + (1 - share) * np.linalg.inv(a)[:3, 3]
        assert np.allclose(np.linalg.inv(out)[:3, 3], centre, atol=1e-10)
        angle = np.arccos((np.trace(out[:3, :3] @ a[:3, :3].T) - 1) / 2)
        whole = np.arccos((np.trace(b[:3, :3] @ a[:3, :3].T) - 1) / 2)
        assert angle == pytest.approx(share * whole, abs=1e-7)


def test_solve_matches_numpy_and_refuses_an_indefinite_matrix() -> None:
    rng = np.random.default_rng(4)
    root, right, x = rng.normal(size=(30, 30)), rng.normal(size=30), np.empty(30)
    matrix = root @ root.T + np.eye(30)
    assert geometry.solve(matrix.copy(), right, x)
    assert np.allclose(x, np.linalg.solve(matrix, right), atol=1e-9)
    assert not geometry.solve(-matrix, right, x)
