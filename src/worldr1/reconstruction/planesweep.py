"""Inverse depth of one frame from others with known cameras: plane sweep, semi-global smoothing, local refinement.

Images are [T,H,W,3] float32, cameras world-to-camera [T,4,4], focal length in pixels, principal point in the middle.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from worldr1.reconstruction.geometry import Array, compose, invert

UNSEEN = 0.3
ALONE = 0.03
CEILING = 0.6
RIVALS = 0.3


@njit(cache=True, fastmath=True)
def relative_poses(w2c: Array, host: int, sources: Array) -> Array:
    """[n,4,4] transforms from the host's camera frame into each source's."""
    out = np.empty((sources.shape[0], 4, 4))
    back = np.empty((4, 4))
    invert(w2c[host], back)
    for k in range(sources.shape[0]):
        compose(w2c[sources[k]], back, out[k])
    return out


@njit(cache=True, fastmath=True)
def _best_half(errors: Array, count: int) -> float:
    """Mean of the better half of `count` errors, so that views in which the point is hidden do not count."""
    if count == 0:
        return UNSEEN
    half = (count + 1) // 2
    total = 0.0
    for q in range(half):
        total += errors[q]
    return min(total / half, CEILING) + (ALONE if count == 1 else 0.0)


@njit(cache=True, fastmath=True)
def _insert(errors: Array, count: int, error: float) -> None:
    q = count
    while q > 0 and errors[q - 1] > error:
        errors[q] = errors[q - 1]
        q -= 1
    errors[q] = error


@njit(cache=True, fastmath=True)
def _difference(image: Array, u: float, v: float, color: Array) -> float:
    """Sum of absolute differences of image [H,W,3], sampled at (u, v) from the first pixel's centre, to color."""
    u0, v0 = int(u), int(v)
    fu, fv = np.float32(u - u0), np.float32(v - v0)
    w11 = fu * fv
    w01 = fu - w11
    w10 = fv - w11
    w00 = np.float32(1.0) - fu - fv + w11
    a, b, c, d = image[v0, u0], image[v0, u0 + 1], image[v0 + 1, u0], image[v0 + 1, u0 + 1]
    return (
        abs(w00 * a[0] + w01 * b[0] + w10 * c[0] + w11 * d[0] - color[0])
        + abs(w00 * a[1] + w01 * b[1] + w10 * c[1] + w11 * d[1] - color[1])
        + abs(w00 * a[2] + w01 * b[2] + w10 * c[2] + w11 * d[2] - color[2])
    )


@njit(cache=True, fastmath=True)
def _cost_volume(images: Array, poses: Array, host: int, sources: Array, focal: float, planes: Array) -> Array:
    _, height, width, _ = images.shape
    n, depths = sources.shape[0], planes.shape[0]
    cost = np.empty((height, width, depths), np.float32)
    errors = np.empty((depths, n), np.float32)
    counts = np.empty(depths, np.int64)
    u_max, v_max = width - 1.001, height - 1.001
    for i in range(height):
        for j in range(width):
            x, y = (j + 0.5 - width * 0.5) / focal, (i + 0.5 - height * 0.5) / focal
            counts[:] = 0
            for k in range(n):
                m = poses[k]
                a0 = m[0, 0] * x + m[0, 1] * y + m[0, 2]
                a1 = m[1, 0] * x + m[1, 1] * y + m[1, 2]
                a2 = m[2, 0] * x + m[2, 1] * y + m[2, 2]
                for d in range(depths):
                    z = a2 + m[2, 3] * planes[d]
                    if z < 0.05:
                        continue
                    scale = focal / z
                    u = (a0 + m[0, 3] * planes[d]) * scale + (width * 0.5 - 0.5)
                    v = (a1 + m[1, 3] * planes[d]) * scale + (height * 0.5 - 0.5)
                    if u < 0.0 or v < 0.0 or u > u_max or v > v_max:
                        continue
                    _insert(errors[d], counts[d], _difference(images[sources[k]], u, v, images[host, i, j]))
                    counts[d] += 1
            for d in range(depths):
                cost[i, j, d] = _best_half(errors[d], counts[d])
    return cost


@njit(cache=True, fastmath=True)
def _box(cost: Array) -> Array:
    """Mean over 3x3 pixels."""
    height, width, depths = cost.shape
    rows, out = np.zeros_like(cost), np.zeros_like(cost)
    for i in range(height):
        for j in range(width):
            a, b = max(0, j - 1), min(width, j + 2)
            share = np.float32(1.0 / (b - a))
            for q in range(a, b):
                for d in range(depths):
                    rows[i, j, d] += cost[i, q, d] * share
    for i in range(height):
        a, b = max(0, i - 1), min(height, i + 2)
        share = np.float32(1.0 / (b - a))
        for q in range(a, b):
            for j in range(width):
                for d in range(depths):
                    out[i, j, d] += rows[q, j, d] * share
    return out


@njit(cache=True, fastmath=True)
def _path_step(cost: Array, before: Array, now: Array, total: Array, small: np.float32, large: np.float32) -> None:
    depths = cost.shape[0]
    least = before[0]
    for d in range(1, depths):
        least = min(least, before[d])
    for d in range(depths):
        value = min(before[d], least + large)
        if d > 0:
            value = min(value, before[d - 1] + small)
        if d < depths - 1:
            value = min(value, before[d + 1] + small)
        value = value - least + cost[d]
        now[d] = value
        total[d] += value


@njit(cache=True, fastmath=True)
def _semi_global(cost: Array, small: float, large: float) -> Array:
    """Sum of the costs of the best paths from four sides (Hirschmueller 2005); steps of one plane cost `small`."""
    height, width, depths = cost.shape
    total = np.zeros_like(cost)
    p1, p2 = np.float32(small), np.float32(large)
    a, b = np.zeros(depths, np.float32), np.zeros(depths, np.float32)
    for i in range(height):
        a[:] = 0
        for j in range(width):
            _path_step(cost[i, j], a, b, total[i, j], p1, p2)
            a, b = b, a
        a[:] = 0
        for j in range(width - 1, -1, -1):
            _path_step(cost[i, j], a, b, total[i, j], p1, p2)
            a, b = b, a
    for j in range(width):
        a[:] = 0
        for i in range(height):
            _path_step(cost[i, j], a, b, total[i, j], p1, p2)
            a, b = b, a
        a[:] = 0
        for i in range(height - 1, -1, -1):
            _path_step(cost[i, j], a, b, total[i, j], p1, p2)
            a, b = b, a
    return total


@njit(cache=True, fastmath=True, nogil=True)
def sweep(
    images: Array,
    w2c: Array,
    host: int,
    sources: Array,
    focal: float,
    planes: Array,
    smooth: float,
    rho: Array,
    confidence: Array,
) -> None:
    """Writes the inverse depth rho [H,W] of frame `host` and its confidence [H,W] in [0,1].

    Confidence is how far the cost lies below the mean over all depths, less when many depths cost about as little: it
    is 0 when 30% of the planes do.

    sources: the other frames; planes: inverse depths, evenly spaced; smooth: cost of a step by one plane between
    neighbours in the semi-global sums (a jump costs five times that), 0 for none.
    """
    cost = _box(_cost_volume(images, relative_poses(w2c, host, sources), host, sources, focal, planes))
    total = _semi_global(cost, smooth, 5.0 * smooth) if smooth > 0.0 else cost
    height, width, depths = cost.shape
    step = planes[1] - planes[0]
    for i in range(height):
        for j in range(width):
            best, mean = 0, 0.0
            for d in range(depths):
                mean += cost[i, j, d]
                if total[i, j, d] < total[i, j, best]:
                    best = d
            mean /= depths
            offset = 0.0
            if 0 < best < depths - 1:
                low, mid, high = total[i, j, best - 1], total[i, j, best], total[i, j, best + 1]
                curve = low + high - 2.0 * mid
                if curve > 1e-9:
                    offset = max(-0.5, min(0.5, 0.5 * (low - high) / curve))
            rho[i, j] = max(planes[0], planes[best] + step * offset)
            contrast = max(0.0, min(1.0, (mean - cost[i, j, best]) / (mean + 0.02)))
            rivals = -1
            for d in range(depths):
                if cost[i, j, d] <= cost[i, j, best] + 0.25 * (mean - cost[i, j, best]):
                    rivals += 1
            confidence[i, j] = contrast * max(0.0, 1.0 - max(0, rivals) / (RIVALS * depths))


@njit(cache=True, fastmath=True)
def _point_cost(
    images: Array, poses: Array, host: int, sources: Array, focal: float, i: int, j: int, rho: float, errors: Array
) -> float:
    _, height, width, _ = images.shape
    x, y = (j + 0.5 - width * 0.5) / focal, (i + 0.5 - height * 0.5) / focal
    count = 0
    for k in range(sources.shape[0]):
        m = poses[k]
        z = m[2, 0] * x + m[2, 1] * y + m[2, 2] + m[2, 3] * rho
        if z < 0.05:
            continue
        scale = focal / z
        u = (m[0, 0] * x + m[0, 1] * y + m[0, 2] + m[0, 3] * rho) * scale + (width * 0.5 - 0.5)
        v = (m[1, 0] * x + m[1, 1] * y + m[1, 2] + m[1, 3] * rho) * scale + (height * 0.5 - 0.5)
        if u < 0.0 or v < 0.0 or u > width - 1.001 or v > height - 1.001:
            continue
        _insert(errors, count, _difference(images[sources[k]], u, v, images[host, i, j]))
        count += 1
    return _best_half(errors, count)


@njit(cache=True, fastmath=True, nogil=True)
def refine(
    images: Array, w2c: Array, host: int, sources: Array, focal: float, coarse: Array, step: float, rho: Array
) -> None:
    """Writes rho [H,W] from `coarse` [H/2,W/2], the inverse depth at half the size.

    Each pixel tries the four nearest coarse values and fractions of `step` (the plane distance) around the best.
    """
    poses = relative_poses(w2c, host, sources)
    errors = np.empty(sources.shape[0], np.float32)
    _, height, width, _ = images.shape
    rows, columns = coarse.shape
    for i in range(height):
        for j in range(width):
            r0 = min(rows - 1, max(0, (i - 1) // 2))
            c0 = min(columns - 1, max(0, (j - 1) // 2))
            best = coarse[min(rows - 1, i // 2), min(columns - 1, j // 2)]
            least = _point_cost(images, poses, host, sources, focal, i, j, best, errors) - 0.005
            for q in range(4):
                value = coarse[min(rows - 1, r0 + q // 2), min(columns - 1, c0 + q % 2)]
                error = _point_cost(images, poses, host, sources, focal, i, j, value, errors)
                if error < least:
                    least, best = error, value
            centre = best
            for q in range(-2, 3):
                value = centre + 0.25 * step * q
                if q == 0 or value <= 0.0:
                    continue
                error = _point_cost(images, poses, host, sources, focal, i, j, value, errors) + 0.002
                if error < least:
                    least, best = error, value
            rho[i, j] = best
