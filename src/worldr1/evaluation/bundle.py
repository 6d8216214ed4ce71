"""Bundle adjustment of tracked points: cameras, inverse depths and one lens that explain them as one rigid scene.

The model is Brown's: a pinhole of one focal length with the optical axis in the middle of the picture and one
coefficient of radial distortion, which is undone to first order. Each point lies on the ray of its place in its host
frame, at an inverse depth that is found with the rest. Depths are eliminated by the Schur complement (Triggs et al.
2000).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from worldr1.evaluation.tracks import SEEN, Array, Tracks
from worldr1.reconstruction.geometry import adjoint, compose, exponential, invert

NEAREST = 0.02
RHO_MIN, RHO_MAX = -0.2, 20.0
LARGEST_CHANGE = 0.5
LARGEST_DISTORTION = 0.4
FOCAL_SPREAD, DISTORTION_SPREAD = 0.3, 0.1
STIFFNESS = 1e-3
LENS = 2  # its parameters: the focal length's logarithm and the distortion


@dataclass(frozen=True)
class Scene:
    """What explains the tracks.

    Attributes:
        w2c: [T, 4, 4] world to camera, OpenCV; the first stays as it was given.
        rho: [N] inverse depth in the host frame.
        focal: pixels.
        distortion: k of the factor 1 + k r² on ideal image coordinates at a focal length of 1.
    """

    w2c: Array
    rho: Array
    focal: float
    distortion: float


@dataclass(frozen=True)
class Fit:
    """A scene, how far off it is, and the mean robust squared error that was minimised.

    errors: [N, T] pixels, shortened where the picture cannot tell (`Tracks.sharpness`); nan where the point is not SEEN
    and in its host frame, in which it has none, inf where it lies behind the camera.
    """

    scene: Scene
    errors: Array
    cost: float


@dataclass
class _System:
    """Gauss-Newton equations of poses and lens [P], and of depths [N]."""

    h: Array
    b: Array
    e: Array
    d: Array
    g: Array
    errors: Array
    cost: float = math.inf


def adjust(tracks: Tracks, scene: Scene, scale: float, steps: int, free_lens: bool) -> Fit:
    """Levenberg-Marquardt from a scene, under Geman-McClure weights.

    Args:
        tracks: of at least two frames.
        scene: to start from. The lens is held near it: the focal length to within some 30%, the distortion some 0.1.
        scale: error in pixels at which an observation's weight has fallen to a quarter.
        steps: at most.
        free_lens: whether the lens changes too.
    """
    start, seen = scene, int((tracks.state == SEEN).sum())
    now, trial = _system(tracks), _system(tracks)
    _linearise(tracks, scene, start, scale, seen, now)
    damping = 1e-3
    for _ in range(steps):
        moved = _moved(scene, now, damping, free_lens)
        _linearise(tracks, moved, start, scale, seen, trial)
        if not trial.cost < now.cost:
            damping *= 10.0
            if damping > 1e6:
                break
            continue
        settled = now.cost - trial.cost < 1e-4 * now.cost
        scene, now, trial = moved, trial, now
        damping = max(0.3 * damping, 1e-7)
        if settled:
            break
    return Fit(scene, now.errors, now.cost)


def _system(tracks: Tracks) -> _System:
    points, frames = tracks.state.shape
    size = 6 * frames + LENS
    return _System(
        np.empty((size, size)),
        np.empty(size),
        np.empty((points, size)),
        np.empty(points),
        np.empty(points),
        np.empty((points, frames)),
    )


def _linearise(tracks: Tracks, scene: Scene, start: Scene, scale: float, seen: int, out: _System) -> None:
    """Fill the system at a scene, with the lens's ties to that of the start."""
    centre = np.array([tracks.size[1] / 2, tracks.size[0] / 2])
    lens = np.array([scene.focal, scene.distortion])
    out.cost = normal_equations(
        tracks.host,
        tracks.places - centre,
        tracks.state,
        tracks.sharpness,
        scene.w2c,
        scene.rho,
        lens,
        scale * scale,
        out.h,
        out.b,
        out.e,
        out.d,
        out.g,
        out.errors,
    )
    ties = (
        (math.log(scene.focal / start.focal), FOCAL_SPREAD),
        (scene.distortion - start.distortion, DISTORTION_SPREAD),
    )
    for k, (value, spread) in enumerate(ties):
        out.h[k - LENS, k - LENS] += (2.0 / spread) ** 2
        out.b[k - LENS] += value * (2.0 / spread) ** 2
        out.cost += (2.0 * value / spread) ** 2 / seen


def _moved(scene: Scene, system: _System, damping: float, free_lens: bool) -> Scene:
    """The scene after one damped step."""
    depths = system.d * (1.0 + damping) + STIFFNESS * system.d.mean() + 1e-9
    size = len(system.b)
    matrix = system.h - (system.e.T / depths) @ system.e
    own = np.diagonal(system.h)
    held = np.zeros(size)
    held[:6] = 1e12
    if not free_lens:
        held[-LENS:] = 1e12
    matrix[np.arange(size), np.arange(size)] += damping * own + 1e-9 * own.sum() / size + held
    x = np.linalg.solve(matrix, -system.b + system.e.T @ (system.g / depths))
    change = np.clip(-(system.g + system.e @ x) / depths, -LARGEST_CHANGE, LARGEST_CHANGE)
    poses, step = np.empty_like(scene.w2c), np.empty((4, 4))
    for t in range(len(poses)):
        exponential(x[6 * t : 6 * t + 6], step)
        compose(step, scene.w2c[t], poses[t])
    return Scene(
        poses,
        np.clip(scene.rho + change, RHO_MIN, RHO_MAX),
        scene.focal * math.exp(min(max(x[-2], -0.3), 0.3)),
        min(max(scene.distortion + x[-1], -LARGEST_DISTORTION), LARGEST_DISTORTION),
    )


@njit(cache=True, fastmath=True, nogil=True)
def normal_equations(
    host: Array,
    places: Array,
    state: Array,
    sharpness: Array,
    w2c: Array,
    rho: Array,
    lens: Array,
    scale2: float,
    h: Array,
    b: Array,
    e: Array,
    d: Array,
    g: Array,
    errors: Array,
) -> float:
    """Gauss-Newton system of the weighted errors, in twists of the poses (to the left), the logarithm of the focal
    length, the distortion, and the depths.

    places [N, T, 2] from the middle of the picture; lens [focal, distortion]; the rest as in `Tracks` and `Scene`.
    Writes h [P, P], b [P] (P = 6 T + 2), e [N, P], d and g [N] (mixed and depth blocks, depth gradient), errors [N, T].
    Returns the mean robust squared error, where a point behind the camera counts as one far off.
    """
    points, frames = state.shape
    focal, bend = lens[0], lens[1]
    h[:] = 0.0
    b[:] = 0.0
    e[:] = 0.0
    d[:] = 0.0
    g[:] = 0.0
    errors[:] = np.nan
    cost, count = 0.0, 0
    back, m, transport = np.empty((4, 4)), np.empty((4, 4)), np.empty((6, 6))
    jac, pair_h, pair_b, mixed = np.zeros((2, 9)), np.empty((8, 8)), np.empty(8), np.empty(6)
    lens_at = 6 * frames
    for a in range(frames):
        invert(w2c[a], back)
        for t in range(frames):
            if t == a:
                continue
            compose(w2c[t], back, m)
            adjoint(m, transport)
            pair_h[:] = 0.0
            pair_b[:] = 0.0
            for n in range(points):
                if host[n] != a or state[n, t] != SEEN:
                    continue
                hx, hy, p = places[n, a, 0] / focal, places[n, a, 1] / focal, rho[n]
                square = hx * hx + hy * hy
                straight = 1.0 - bend * square
                x, y = hx * straight, hy * straight
                z = m[2, 0] * x + m[2, 1] * y + m[2, 2] + m[2, 3] * p
                count += 1
                if z < NEAREST:
                    cost += scale2
                    errors[n, t] = np.inf
                    continue
                inv_z = 1.0 / z
                px = (m[0, 0] * x + m[0, 1] * y + m[0, 2] + m[0, 3] * p) * inv_z
                py = (m[1, 0] * x + m[1, 1] * y + m[1, 2] + m[1, 3] * p) * inv_z
                r2 = px * px + py * py
                curve = 1.0 + bend * r2
                u, v = focal * px * curve - places[n, t, 0], focal * py * curve - places[n, t, 1]
                jac[0, 0], jac[1, 0] = p * inv_z, 0.0
                jac[0, 1], jac[1, 1] = 0.0, p * inv_z
                jac[0, 2], jac[1, 2] = -px * p * inv_z, -py * p * inv_z
                jac[0, 3], jac[1, 3] = -px * py, -1.0 - py * py
                jac[0, 4], jac[1, 4] = 1.0 + px * px, px * py
                jac[0, 5], jac[1, 5] = -py, px
                stretch = -(1.0 - 3.0 * bend * square)
                for k, dx, dy in ((6, hx * stretch, hy * stretch), (7, -hx * square, -hy * square)):
                    dz = m[2, 0] * dx + m[2, 1] * dy
                    jac[0, k] = (m[0, 0] * dx + m[0, 1] * dy - px * dz) * inv_z
                    jac[1, k] = (m[1, 0] * dx + m[1, 1] * dy - py * dz) * inv_z
                jac[0, 8], jac[1, 8] = (m[0, 3] - px * m[2, 3]) * inv_z, (m[1, 3] - py * m[2, 3]) * inv_z
                xx, xy = focal * (curve + 2.0 * bend * px * px), focal * 2.0 * bend * px * py
                yy = focal * (curve + 2.0 * bend * py * py)
                l00, l01, l10, l11 = sharpness[n, 0, 0], sharpness[n, 0, 1], sharpness[n, 1, 0], sharpness[n, 1, 1]
                for k in range(9):
                    du, dv = xx * jac[0, k] + xy * jac[1, k], xy * jac[0, k] + yy * jac[1, k]
                    if k == 6:
                        du, dv = du + focal * px * curve, dv + focal * py * curve
                    elif k == 7:
                        du, dv = du + focal * px * r2, dv + focal * py * r2
                    jac[0, k], jac[1, k] = l00 * du + l01 * dv, l10 * du + l11 * dv
                u, v = l00 * u + l01 * v, l10 * u + l11 * v
                error2 = u * u + v * v
                errors[n, t] = math.sqrt(error2)
                share = 1.0 / (1.0 + error2 / scale2)
                cost += error2 * share
                weight = share * share
                along, down = jac[0, 8] * weight, jac[1, 8] * weight
                d[n] += along * jac[0, 8] + down * jac[1, 8]
                g[n] += along * u + down * v
                for k in range(8):
                    du, dv = jac[0, k] * weight, jac[1, k] * weight
                    pair_b[k] += du * u + dv * v
                    for l in range(k + 1):
                        pair_h[k, l] += du * jac[0, l] + dv * jac[1, l]
                for k in range(6):
                    mixed[k] = along * jac[0, k] + down * jac[1, k]
                    e[n, 6 * t + k] += mixed[k]
                for k in range(2):
                    e[n, lens_at + k] += along * jac[0, 6 + k] + down * jac[1, 6 + k]
                for k in range(6):
                    for q in range(6):
                        e[n, 6 * a + k] -= transport[q, k] * mixed[q]
            _fold(pair_h, pair_b, transport, 6 * t, 6 * a, lens_at, h, b)
    return cost / max(count, 1)


@njit(cache=True, fastmath=True, nogil=True)
def _fold(pair_h: Array, pair_b: Array, transport: Array, t: int, a: int, lens: int, h: Array, b: Array) -> None:
    """Add the equations of one target frame's points, in its own twist and the lens, to those of target, host and lens,
    whose parameters begin at t, a and lens: moving the host is moving the target back."""
    for k in range(8):
        for l in range(k):
            pair_h[l, k] = pair_h[k, l]
    chain = np.zeros((8, 14))
    for k in range(6):
        chain[k, k] = 1.0
        for l in range(6):
            chain[k, 6 + l] = -transport[k, l]
    chain[6, 12] = 1.0
    chain[7, 13] = 1.0
    at = np.empty(14, np.int64)
    for k in range(6):
        at[k], at[6 + k] = t + k, a + k
    at[12], at[13] = lens, lens + 1
    half = pair_h @ chain
    whole = chain.T @ half
    right = chain.T @ pair_b
    for k in range(14):
        b[at[k]] += right[k]
        for l in range(14):
            h[at[k], at[l]] += whole[k, l]
