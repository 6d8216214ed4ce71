"""Direct bundle adjustment: camera poses and inverse depths that make frames agree with each other photometrically.

Host frames carry inverse depth per pixel; every other frame in the set is a target. The residual is the colour
difference between a host pixel and the target sampled where the pixel lands, under a Geman-McClure weight. As in
inverse compositional alignment, image gradients are taken in the host. Depths are corrected per square cell of pixels
and eliminated by the Schur complement, so that a step solves a dense system in the poses only.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from worldr1.reconstruction.geometry import Array, adjoint, compose, exponential, invert, solve

RHO_MIN = 0.02
RHO_MAX = 5.0
FLAT = 1e-5


@njit(cache=True, fastmath=True)
def _gradient(image: Array, i: int, j: int, out: Array) -> None:
    """out [2,3]: central differences of image [H,W,3] along x and y, per pixel."""
    height, width, _ = image.shape
    left, right, up, down = max(j - 1, 0), min(j + 1, width - 1), max(i - 1, 0), min(i + 1, height - 1)
    for c in range(3):
        out[0, c] = (image[i, right, c] - image[i, left, c]) / (right - left)
        out[1, c] = (image[down, j, c] - image[up, j, c]) / (down - up)


@njit(cache=True, fastmath=True)
def _fold(pair_h: Array, pair_b: Array, transport: Array, t: int, a: int, h: Array, b: Array) -> None:
    """Adds one host-target pair's normal equations, in the target's twist, to those of target t and host a."""
    for m in range(6):
        for l in range(m):
            pair_h[l, m] = pair_h[m, l]
    half = np.zeros((6, 6))
    for m in range(6):
        for l in range(6):
            for z in range(6):
                half[m, l] += pair_h[m, z] * transport[z, l]
    for m in range(6):
        b[6 * t + m] += pair_b[m]
        for z in range(6):
            b[6 * a + m] -= transport[z, m] * pair_b[z]
        for l in range(6):
            h[6 * t + m, 6 * t + l] += pair_h[m, l]
            h[6 * t + m, 6 * a + l] -= half[m, l]
            h[6 * a + l, 6 * t + m] -= half[m, l]
            for z in range(6):
                h[6 * a + m, 6 * a + l] += transport[z, m] * half[z, l]


@njit(cache=True, fastmath=True)
def normal_equations(
    images: Array,
    frames: Array,
    w2c: Array,
    hosts: Array,
    targets: Array,
    rho: Array,
    focal: float,
    cell: int,
    stride: int,
    scale2: float,
    h: Array,
    b: Array,
    e: Array,
    d: Array,
    g: Array,
) -> tuple[float, float]:
    """Gauss-Newton system at the present poses and depths.

    images [T,H,W,3]; frames [n] indices; w2c [T,4,4]; hosts: positions in `frames`; targets [n] bool; rho
    [hosts,H,W]; stride: every how many host pixels in a row and column; scale2: squared colour difference at which
    the robust weight has fallen to a quarter.
    Writes h [6n,6n], b [6n], e [cells,6n] and d, g [cells] (mixed and depth blocks, depth gradient).
    Returns the mean robust cost and the share of (host pixel, target) pairs that land inside the target.
    """
    _, height, width, _ = images.shape
    n = frames.shape[0]
    rows, columns = height // cell, width // cell
    h[:] = 0.0
    b[:] = 0.0
    e[:] = 0.0
    d[:] = 0.0
    g[:] = 0.0
    relative, transport = np.empty((n, 4, 4)), np.empty((n, 6, 6))
    pair_h, pair_b = np.empty((n, 6, 6)), np.empty((n, 6))
    back, jac, grad = np.empty((4, 4)), np.zeros((2, 6)), np.empty((2, 3))
    cost, seen, asked = 0.0, 0, 0
    for q in range(hosts.shape[0]):
        a = hosts[q]
        host = images[frames[a]]
        invert(w2c[frames[a]], back)
        for t in range(n):
            compose(w2c[frames[t]], back, relative[t])
            adjoint(relative[t], transport[t])
        pair_h[:] = 0.0
        pair_b[:] = 0.0
        for i in range(0, rows * cell, stride):
            for j in range(0, columns * cell, stride):
                where = (q * rows + i // cell) * columns + j // cell
                x, y, p = (j + 0.5 - width * 0.5) / focal, (i + 0.5 - height * 0.5) / focal, rho[q, i, j]
                _gradient(host, i, j, grad)
                gxx = grad[0, 0] * grad[0, 0] + grad[0, 1] * grad[0, 1] + grad[0, 2] * grad[0, 2]
                gxy = grad[0, 0] * grad[1, 0] + grad[0, 1] * grad[1, 1] + grad[0, 2] * grad[1, 2]
                gyy = grad[1, 0] * grad[1, 0] + grad[1, 1] * grad[1, 1] + grad[1, 2] * grad[1, 2]
                flat = gxx + gyy < FLAT
                for t in range(n):
                    if t == a or not targets[t]:
                        continue
                    m = relative[t]
                    asked += 1
                    z = m[2, 0] * x + m[2, 1] * y + m[2, 2] + m[2, 3] * p
                    if z < 0.05:
                        continue
                    inv_z = 1.0 / z
                    px = (m[0, 0] * x + m[0, 1] * y + m[0, 2] + m[0, 3] * p) * inv_z
                    py = (m[1, 0] * x + m[1, 1] * y + m[1, 2] + m[1, 3] * p) * inv_z
                    u, v = px * focal + (width * 0.5 - 0.5), py * focal + (height * 0.5 - 0.5)
                    if u < 0.0 or v < 0.0 or u > width - 1.001 or v > height - 1.001:
                        continue
                    u0, v0 = int(u), int(v)
                    fu, fv = u - u0, v - v0
                    w11 = fu * fv
                    w01, w10, w00 = fu - w11, fv - w11, 1.0 - fu - fv + w11
                    image = images[frames[t]]
                    s0, s1, s2, s3 = image[v0, u0], image[v0, u0 + 1], image[v0 + 1, u0], image[v0 + 1, u0 + 1]
                    r0 = w00 * s0[0] + w01 * s1[0] + w10 * s2[0] + w11 * s3[0] - host[i, j, 0]
                    r1 = w00 * s0[1] + w01 * s1[1] + w10 * s2[1] + w11 * s3[1] - host[i, j, 1]
                    r2 = w00 * s0[2] + w01 * s1[2] + w10 * s2[2] + w11 * s3[2] - host[i, j, 2]
                    square = r0 * r0 + r1 * r1 + r2 * r2
                    share = 1.0 / (1.0 + square / scale2)
                    cost += square * share
                    seen += 1
                    if flat:
                        continue
                    zoom = min(z, 2.0)
                    weight = share * share * zoom
                    bx = (grad[0, 0] * r0 + grad[0, 1] * r1 + grad[0, 2] * r2) * weight
                    by = (grad[1, 0] * r0 + grad[1, 1] * r1 + grad[1, 2] * r2) * weight
                    weight *= zoom
                    axx, axy, ayy = gxx * weight, gxy * weight, gyy * weight
                    jac[0, 0] = focal * p * inv_z
                    jac[0, 2] = -jac[0, 0] * px
                    jac[0, 3] = -focal * px * py
                    jac[0, 4] = focal * (1.0 + px * px)
                    jac[0, 5] = -focal * py
                    jac[1, 1] = jac[0, 0]
                    jac[1, 2] = -jac[0, 0] * py
                    jac[1, 3] = -focal * (1.0 + py * py)
                    jac[1, 4] = focal * px * py
                    jac[1, 5] = focal * px
                    du = focal * (m[0, 3] - px * m[2, 3]) * inv_z
                    dv = focal * (m[1, 3] - py * m[2, 3]) * inv_z
                    au, av = axx * du + axy * dv, axy * du + ayy * dv
                    d[where] += du * au + dv * av
                    g[where] += du * bx + dv * by
                    for k in range(6):
                        ju, jv = jac[0, k], jac[1, k]
                        pair_b[t, k] += ju * bx + jv * by
                        e[where, 6 * t + k] += ju * au + jv * av
                        cu, cv = axx * ju + axy * jv, axy * ju + ayy * jv
                        for l in range(k + 1):
                            pair_h[t, k, l] += cu * jac[0, l] + cv * jac[1, l]
        for t in range(n):
            if t == a or not targets[t]:
                continue
            _fold(pair_h[t], pair_b[t], transport[t], t, a, h, b)
            for c in range(q * rows * columns, (q + 1) * rows * columns):
                for k in range(6):
                    for z in range(6):
                        e[c, 6 * a + k] -= transport[t, z, k] * e[c, 6 * t + z]
    return cost / max(seen, 1), seen / max(asked, 1)


@njit(cache=True, fastmath=True)
def _reduce(h: Array, b: Array, e: Array, damped: Array, g: Array, out: Array, right: Array) -> None:
    """Schur complement of the depths: lower triangle of out [6n,6n] and right-hand side [6n]."""
    size = b.shape[0]
    out[:] = h
    for m in range(size):
        right[m] = -b[m]
    for c in range(damped.shape[0]):
        inverse = 1.0 / damped[c]
        for m in range(size):
            value = e[c, m] * inverse
            if value == 0.0:
                continue
            right[m] += value * g[c]
            for l in range(m + 1):
                out[m, l] -= value * e[c, l]


@njit(cache=True, fastmath=True, nogil=True)
def adjust(
    images: Array,
    frames: Array,
    w2c: Array,
    hosts: Array,
    rho: Array,
    focal: float,
    cell: int,
    stride: int,
    scale2: float,
    steps: int,
    anchor: int,
    stiffness: float,
) -> tuple[float, float]:
    """Levenberg-Marquardt on the poses of `frames` and the hosts' depths, in place; see `normal_equations`.

    anchor: position in `frames` of the pose that stays; stiffness: resistance of depths to change, in units of their
    mean curvature. Returns the final mean robust cost and coverage.
    """
    _, height, width, _ = images.shape
    n = frames.shape[0]
    size, cells = 6 * n, hosts.shape[0] * (height // cell) * (width // cell)
    targets = np.ones(n, np.bool_)
    h, b, e, d, g = np.zeros((size, size)), np.zeros(size), np.zeros((cells, size)), np.zeros(cells), np.zeros(cells)
    h2, b2, e2, d2, g2 = h.copy(), b.copy(), e.copy(), d.copy(), g.copy()
    reduced, right, x, damped = np.empty((size, size)), np.empty(size), np.zeros(size), np.empty(cells)
    trial, trial_rho = w2c.copy(), rho.copy()
    step = np.empty((4, 4))
    damping = 1e-3
    cost, coverage = normal_equations(
        images, frames, w2c, hosts, targets, rho, focal, cell, stride, scale2, h, b, e, d, g
    )
    for _ in range(steps):
        mean = 0.0
        for c in range(cells):
            mean += d[c]
        mean /= cells
        for c in range(cells):
            damped[c] = d[c] * (1.0 + damping) + stiffness * mean + 1e-9
        _reduce(h, b, e, damped, g, reduced, right)
        trace = 0.0
        for m in range(size):
            trace += h[m, m]
        for m in range(size):
            reduced[m, m] += damping * h[m, m] + 1e-7 * trace / size + 1e-9
        for m in range(6):
            reduced[6 * anchor + m, 6 * anchor + m] += 1e9
        if not solve(reduced, right, x):
            damping *= 10.0
            continue
        for t in range(n):
            exponential(x[6 * t : 6 * t + 6], step)
            compose(step, w2c[frames[t]], trial[frames[t]])
        columns = width // cell
        for q in range(hosts.shape[0]):
            for c in range((height // cell) * columns):
                where = q * (height // cell) * columns + c
                change = g[where]
                for m in range(size):
                    change += e[where, m] * x[m]
                change = max(-0.3, min(0.3, -change / damped[where]))
                for i in range((c // columns) * cell, (c // columns + 1) * cell):
                    for j in range((c % columns) * cell, (c % columns + 1) * cell):
                        trial_rho[q, i, j] = min(RHO_MAX, max(RHO_MIN, rho[q, i, j] + change))
        new_cost, new_coverage = normal_equations(
            images, frames, trial, hosts, targets, trial_rho, focal, cell, stride, scale2, h2, b2, e2, d2, g2
        )
        if new_cost > cost or new_coverage < 0.6 * coverage:
            damping *= 10.0
            continue
        settled = cost - new_cost < 1e-3 * cost
        w2c[:] = trial
        rho[:] = trial_rho
        cost, coverage = new_cost, new_coverage
        damping = max(0.3 * damping, 1e-5)
        h, h2, b, b2, e, e2, d, d2, g, g2 = h2, h, b2, b, e2, e, d2, d, g2, g
        if settled:
            break
    return cost, coverage


@njit(cache=True, fastmath=True, nogil=True)
def align_frame(
    images: Array, frame: int, w2c: Array, hosts: Array, rho: Array, focal: float, scale2: float, steps: int
) -> None:
    """Gauss-Newton on the pose of one frame, in place; the hosts (frame indices) keep their poses and depths."""
    _, height, width, _ = images.shape
    n = hosts.shape[0] + 1
    frames, positions = np.empty(n, np.int64), np.arange(1, n)
    frames[0] = frame
    frames[1:] = hosts
    targets = np.zeros(n, np.bool_)
    targets[0] = True
    h, b, x = np.zeros((6 * n, 6 * n)), np.zeros(6 * n), np.zeros(6)
    cells = hosts.shape[0] * (height // 4) * (width // 4)
    e, d, g = np.zeros((cells, 6 * n)), np.zeros(cells), np.zeros(cells)
    best, step, moved = w2c[frame].copy(), np.empty((4, 4)), np.empty((4, 4))
    least, cost = 1e30, 0.0
    block = np.empty((6, 6))
    for turn in range(steps + 1):
        cost, _ = normal_equations(images, frames, w2c, positions, targets, rho, focal, 4, 1, scale2, h, b, e, d, g)
        if cost >= least or turn == steps:
            break
        least = cost
        best[:] = w2c[frame]
        for m in range(6):
            for l in range(6):
                block[m, l] = h[m, l]
            block[m, m] += 1e-4 * h[m, m] + 1e-9
        if not solve(block, -b[:6], x):
            break
        exponential(x, step)
        compose(step, w2c[frame], moved)
        w2c[frame] = moved
    if cost > least:
        w2c[frame] = best
