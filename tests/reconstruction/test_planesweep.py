import numpy as np

from worldr1.reconstruction.planesweep import refine, sweep

PLANES = np.linspace(0.02, 2.6, 24)
SIZE, FOCAL = 48, 40.0


def wall(depth: float, shifts: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Frames of a smooth fronto-parallel wall seen by cameras shifted along x; images and world-to-camera."""
    images, poses = [], []
    for shift in shifts:
        v, u = np.meshgrid(np.arange(SIZE) + 0.5 - SIZE / 2, np.arange(SIZE) + 0.5 - SIZE / 2, indexing="ij")
        x, y = u / FOCAL * depth + shift, v / FOCAL * depth
        texture = [np.sin(9 * x + 1.3 * y), np.sin(6 * y - 4 * x), np.cos(5 * x + 5 * y)]
        images.append(0.5 + 0.4 * np.stack(texture, -1))
        pose = np.eye(4)
        pose[0, 3] = -shift
        poses.append(pose)
    return np.stack(images).astype(np.float32), np.stack(poses)


def test_sweep_finds_the_depth_of_a_wall_between_its_planes() -> None:
    images, w2c = wall(1.37, [-0.1, 0.0, 0.15])
    rho, confidence = np.empty((SIZE, SIZE)), np.empty((SIZE, SIZE))
    sweep(images, w2c, 1, np.array([0, 2]), FOCAL, PLANES, 0.02, rho, confidence)
    inner = rho[6:-6, 6:-6]
    assert np.abs(inner - 1 / 1.37).mean() < 0.25 * (PLANES[1] - PLANES[0])
    assert confidence[6:-6, 6:-6].mean() > 0.5


def test_refine_sharpens_a_coarse_depth() -> None:
    images, w2c = wall(1.37, [-0.1, 0.0, 0.15])
    step = PLANES[1] - PLANES[0]
    coarse = np.full((SIZE // 2, SIZE // 2), 1 / 1.37 + 0.45 * step)
    rho = np.empty((SIZE, SIZE))
    refine(images, w2c, 1, np.array([0, 2]), FOCAL, coarse, step, rho)
    inner = np.abs(rho[6:-6, 6:-6] - 1 / 1.37)
    assert inner.mean() < 0.2 * step


def test_a_view_that_sees_something_else_is_outvoted() -> None:
    images, w2c = wall(1.37, [-0.1, 0.0, 0.15, 0.2])
    images[3] = np.random.default_rng(0).random(images[3].shape, np.float32)
    rho, confidence = np.empty((SIZE, SIZE)), np.empty((SIZE, SIZE))
    sweep(images, w2c, 1, np.array([0, 2, 3]), FOCAL, PLANES, 0.02, rho, confidence)
    assert np.median(np.abs(rho[6:-6, 6:-6] - 1 / 1.37)) < 0.25 * (PLANES[1] - PLANES[0])


def test_an_even_wall_has_no_confidence() -> None:
    images, w2c = wall(1.37, [-0.1, 0.0, 0.15])
    images[:] = 0.5
    rho, confidence = np.empty((SIZE, SIZE)), np.empty((SIZE, SIZE))
    sweep(images, w2c, 1, np.array([0, 2]), FOCAL, PLANES, 0.02, rho, confidence)
    assert confidence[8:-8, 16:-16].max() < 0.2
