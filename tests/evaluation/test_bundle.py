"""Bundle adjustment against finite differences, and against scenes of which everything is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from worldr1.evaluation.bundle import RHO_MAX, Scene, adjust, normal_equations
from worldr1.evaluation.tracks import LOST, SEEN, Array, Tracks
from worldr1.reconstruction.geometry import compose, exponential

SIZE = (240, 320)
FOCAL, DISTORTION = 260.0, -0.02


def poses(frames: int, reach: float = 0.25) -> Array:
    """World to camera: a path that travels and turns; the first is the identity."""
    found, step = np.empty((frames, 4, 4)), np.empty((4, 4))
    for t in range(frames):
        s = t / (frames - 1)
        exponential(np.array([reach * s, 0.3 * reach * s * s, 0.4 * reach * s, 0.02 * s, -0.1 * s, 0.03 * s]), step)
        found[t] = step
    return found


def seen_by(w2c: Array, rho: Array, rays: Array, focal: float, distortion: float) -> Array:
    """[N, T, 2] places in pixels of points on the rays [N, 2] of the first camera, projected with distortion."""
    points = np.concatenate([rays, np.ones((len(rays), 1))], axis=1) / rho[:, None]
    there = np.einsum("tij,nj->nti", w2c[:, :3, :3], points) + w2c[None, :, :3, 3]
    flat = there[..., :2] / there[..., 2:]
    curved = flat * (1 + distortion * (flat**2).sum(-1, keepdims=True))
    return focal * curved + np.array([SIZE[1] / 2, SIZE[0] / 2])


def known(points: int = 150, frames: int = 7, noise: float = 0.0, seed: int = 0) -> tuple[Tracks, Scene]:
    """Tracks of points that begin in frame 0, and the truth."""
    rng = np.random.default_rng(seed)
    rays = rng.uniform(-0.5, 0.5, (points, 2)) * np.array([SIZE[1], SIZE[0]]) / FOCAL * 0.9
    rho = rng.uniform(0.4, 1.2, points)
    w2c = poses(frames)
    places = seen_by(w2c, rho, rays, FOCAL, DISTORTION) + noise * rng.standard_normal((points, frames, 2))
    state = np.full((points, frames), SEEN, np.int8)
    state[rng.random((points, frames)) < 0.1] = LOST
    state[:, 0] = SEEN
    whole = np.broadcast_to(np.eye(2), (points, 2, 2)).copy()
    return Tracks(np.zeros(points, np.int64), places, state, whole, SIZE), Scene(w2c, rho, FOCAL, DISTORTION)


def linearised(tracks: Tracks, scene: Scene, scale: float) -> tuple[float, Array, Array, Array]:
    """Mean robust squared error times observations, and the gradients of its half: of poses and lens, of depths."""
    points, frames = tracks.state.shape
    size = 6 * frames + 2
    h, b, e = np.empty((size, size)), np.empty(size), np.empty((points, size))
    d, g, errors = np.empty(points), np.empty(points), np.empty((points, frames))
    places = tracks.places - np.array([SIZE[1] / 2, SIZE[0] / 2])
    lens = np.array([scene.focal, scene.distortion])
    cost = normal_equations(
        tracks.host, places, tracks.state, tracks.sharpness, scene.w2c, scene.rho, lens, scale**2, h, b, e, d, g, errors
    )
    return cost * ((tracks.state == SEEN).sum() - points), b, g, h


def nudged(scene: Scene, place: int, by: float) -> Scene:
    """One of the parameters [6 T + 2] changed."""
    frames = len(scene.w2c)
    if place == 6 * frames:
        return replace(scene, focal=scene.focal * np.exp(by))
    if place == 6 * frames + 1:
        return replace(scene, distortion=scene.distortion + by)
    twist, step, moved = np.zeros(6), np.empty((4, 4)), scene.w2c.copy()
    twist[place % 6] = by
    exponential(twist, step)
    compose(step, scene.w2c[place // 6], moved[place // 6])
    return replace(scene, w2c=moved)


def off(scene: Scene, seed: int = 1) -> Scene:
    """A scene near another one."""
    rng = np.random.default_rng(seed)
    w2c, step = scene.w2c.copy(), np.empty((4, 4))
    for t in range(len(w2c)):
        exponential(0.01 * rng.standard_normal(6), step)
        compose(step, scene.w2c[t], w2c[t])
    return Scene(w2c, scene.rho * np.exp(0.1 * rng.standard_normal(len(scene.rho))), FOCAL * 1.07, DISTORTION + 0.03)


def test_gradients_are_those_of_finite_differences() -> None:
    tracks, truth = known(points=30, frames=4)
    rng = np.random.default_rng(5)
    tracks = replace(tracks, sharpness=rng.uniform(-1, 1, (30, 2, 2)))
    scene, scale, by = off(truth), 6.0, 1e-6
    _, b, g, _ = linearised(tracks, scene, scale)
    for place in range(6 * 4 + 2):
        up, down = (linearised(tracks, nudged(scene, place, s * by), scale)[0] for s in (1, -1))
        assert b[place] == pytest.approx((up - down) / (4 * by), rel=2e-3, abs=2e-2)
    for n in range(0, 30, 7):
        change = np.zeros(30)
        change[n] = by
        up, down = (linearised(tracks, replace(scene, rho=scene.rho + s * change), scale)[0] for s in (1, -1))
        assert g[n] == pytest.approx((up - down) / (4 * by), rel=2e-3, abs=2e-2)


def test_curvature_is_that_of_finite_differences_where_errors_are_small() -> None:
    tracks, truth = known(points=40, frames=4)
    base, _, _, h = linearised(tracks, truth, 1e6)
    by = 1e-3
    for place in (6, 9, 13, 20, 24, 25):
        up, down = (linearised(tracks, nudged(truth, place, s * by), 1e6)[0] for s in (1, -1))
        assert h[place, place] == pytest.approx((up + down - 2 * base) / (2 * by * by), rel=2e-2)
    assert np.allclose(h, h.T)


def test_the_truth_is_found_from_cameras_that_stand_still_up_to_its_scale() -> None:
    tracks, truth = known()
    still = np.broadcast_to(np.eye(4), truth.w2c.shape).copy()
    begin = Scene(still, np.ones(len(truth.rho)), FOCAL * 0.9, 0.0)
    coarse = adjust(tracks, begin, 4.0, 60, free_lens=False)
    fit = adjust(tracks, coarse.scene, 1.0, 200, free_lens=True)
    assert np.nanmax(fit.errors) < 0.1
    assert np.nanmedian(fit.errors) < 0.01
    assert np.isnan(fit.errors[:, 0]).all()
    assert np.isnan(fit.errors[tracks.state == LOST]).all()
    ratio = fit.scene.rho / truth.rho
    assert ratio.std() / ratio.mean() < 0.02
    assert fit.scene.focal == pytest.approx(FOCAL, rel=0.03)


def test_noise_stays_and_what_is_not_rigid_shows() -> None:
    tracks, truth = known(noise=0.3)
    fit = adjust(tracks, truth, 1.0, 60, free_lens=True)
    seen = fit.errors[np.isfinite(fit.errors)]
    assert 0.2 < np.sqrt((seen**2).mean() / 2) < 0.35
    bent = tracks.places.copy()
    bent[:, 3, 0] += 3.0 * np.sin(7 * bent[:, 3, 1] / SIZE[0])
    worse = adjust(replace(tracks, places=bent), truth, 1.0, 60, free_lens=True)
    assert np.nanmean(worse.errors[:, 3]) > 3 * np.nanmean(fit.errors[:, 3])


def test_the_lens_can_be_kept_and_depths_stay_bounded() -> None:
    tracks, truth = known()
    fit = adjust(tracks, off(truth), 1.0, 20, free_lens=False)
    assert fit.scene.focal == pytest.approx(FOCAL * 1.07)
    assert fit.scene.distortion == pytest.approx(DISTORTION + 0.03)
    assert (np.abs(fit.scene.rho) <= RHO_MAX).all()
    assert np.allclose(fit.scene.w2c[0], off(truth).w2c[0])
