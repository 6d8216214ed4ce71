import numpy as np
import pytest

from tiny_clips import truth_and_spoilt
from worldr1.reconstruction.alignment import adjust, align_frame, normal_equations
from worldr1.reconstruction.geometry import exponential

FOCAL = 30.0


def ramps(frames: int, size: int = 16) -> np.ndarray:
    """Frames whose colours are linear in the pixel position, so that bilinear samples and gradients are exact."""
    rng = np.random.default_rng(0)
    v, u = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    slopes = rng.uniform(-0.02, 0.02, (2, 3))
    offsets = rng.uniform(0.4, 0.6, (frames, 1, 1, 3))
    return (offsets + u[None, ..., None] * slopes[0] + v[None, ..., None] * slopes[1]).astype(np.float32)


def system(images, w2c, rho, cell=4):
    n, cells = len(images), (images.shape[1] // cell) ** 2
    h, b, e, d, g = (
        np.zeros((6 * n, 6 * n)),
        np.zeros(6 * n),
        np.zeros((cells, 6 * n)),
        np.zeros(cells),
        np.zeros(cells),
    )
    everyone = np.ones(n, np.bool_)
    cost, coverage = normal_equations(
        images, np.arange(n), w2c, np.array([1]), everyone, rho, FOCAL, cell, 1, 1e9, h, b, e, d, g
    )
    seen = coverage * (n - 1) * images.shape[1] * images.shape[2]
    return cost * seen, coverage, b, g


def moved(w2c: np.ndarray, frame: int, twist: np.ndarray) -> np.ndarray:
    step = np.empty((4, 4))
    exponential(twist, step)
    out = w2c.copy()
    out[frame] = step @ w2c[frame]
    return out


def test_gradients_match_finite_differences_where_images_are_linear() -> None:
    images = ramps(3)
    w2c = np.stack([np.eye(4)] * 3)
    w2c[0, 0, 3], w2c[2, 2, 3] = 1e-3, 1e-6
    rho = np.full((1, 16, 16), 0.8)
    _, coverage, b, g = system(images, w2c, rho)
    eps, checked = 1e-4, []
    for frame in range(3):
        for axis in (0, 1, 5):
            twist = np.zeros(6)
            twist[axis] = eps
            plus, c1, _, _ = system(images, moved(w2c, frame, twist), rho)
            minus, c2, _, _ = system(images, moved(w2c, frame, -twist), rho)
            if c1 == c2 == coverage:
                checked.append((frame, axis))
                assert 0.25 * (plus - minus) / eps == pytest.approx(b[6 * frame + axis], rel=2e-2, abs=2e-3)
    assert len(checked) >= 6, checked
    assert {frame for frame, _ in checked} == {0, 1, 2}
    up, down = rho.copy(), rho.copy()
    up[0, 4:8, 4:8] += eps
    down[0, 4:8, 4:8] -= eps
    slope = 0.25 * (system(images, w2c, up)[0] - system(images, w2c, down)[0]) / eps
    assert slope == pytest.approx(g[5], rel=2e-2, abs=1e-6)


@pytest.fixture(scope="module")
def clip():
    clean, _, asked = truth_and_spoilt([("move left",)], seed=3)
    video = np.ascontiguousarray(clean[0].video.permute(0, 2, 3, 1).numpy())
    return video, np.linalg.inv(asked[0].c2w.double().numpy()), clean[0].depth.numpy(), float(clean[0].intrinsics[0, 0])


def test_adjust_brings_shaken_cameras_back(clip) -> None:
    video, truth, depth, focal = clip
    frames, hosts = np.array([0, 4, 8, 12, 16]), np.array([1, 3])
    rng = np.random.default_rng(5)
    shaken = truth.copy()
    for t in frames:
        if t != 8:
            shaken = moved(shaken, t, rng.normal(size=6) * 0.01)
    rho = 1.0 / depth[frames[hosts]].astype(np.float64)
    before = np.abs(shaken - truth)[frames].max()
    cost, coverage = adjust(video, frames, shaken, hosts, rho, focal, 4, 2, 0.02, 12, 2, 5.0)
    assert np.abs(shaken - truth)[frames].max() < 0.35 * before
    assert cost < 1e-3
    assert coverage > 0.7


def displacement(found: np.ndarray, truth: np.ndarray, depth: np.ndarray, focal: float) -> float:
    """Mean distance in pixels between where the two cameras put the true frame's pixels."""
    v, u = np.meshgrid(np.arange(64) + 0.5 - 32, np.arange(64) + 0.5 - 32, indexing="ij")
    points = np.stack([u / focal * depth, v / focal * depth, depth, np.ones_like(depth)], -1)
    there = points @ (found @ np.linalg.inv(truth)).T
    return float(np.hypot(there[..., 0] / there[..., 2] * focal - u, there[..., 1] / there[..., 2] * focal - v).mean())


def test_align_frame_finds_one_camera(clip) -> None:
    video, truth, depth, focal = clip
    w2c = moved(truth, 6, np.array([0.02, -0.01, 0.01, 0.01, 0.015, -0.01]))
    before = displacement(w2c[6], truth[6], depth[6], focal)
    hosts = np.array([4, 12])
    align_frame(video, 6, w2c, hosts, 1.0 / depth[hosts].astype(np.float64), focal, 0.02, 25)
    assert before > 0.7
    assert displacement(w2c[6], truth[6], depth[6], focal) < 0.2
    assert np.array_equal(np.delete(w2c, 6, 0), np.delete(truth, 6, 0))
