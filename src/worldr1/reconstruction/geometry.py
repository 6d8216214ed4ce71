"""Rigid transforms and a small dense solver for the numba kernels (4x4 world-to-camera matrices, twists (t, w))."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]


@njit(cache=True)
def compose(a: Array, b: Array, out: Array) -> None:
    """out = a @ b for rigid [4,4]; out must be neither."""
    for i in range(3):
        for j in range(3):
            out[i, j] = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]
        out[i, 3] = a[i, 0] * b[0, 3] + a[i, 1] * b[1, 3] + a[i, 2] * b[2, 3] + a[i, 3]
    out[3, 0] = 0.0
    out[3, 1] = 0.0
    out[3, 2] = 0.0
    out[3, 3] = 1.0


@njit(cache=True)
def invert(a: Array, out: Array) -> None:
    """out = inverse of the rigid a [4,4]; out must not be a."""
    for i in range(3):
        for j in range(3):
            out[i, j] = a[j, i]
        out[i, 3] = -(a[0, i] * a[0, 3] + a[1, i] * a[1, 3] + a[2, i] * a[2, 3])
    out[3, 0] = 0.0
    out[3, 1] = 0.0
    out[3, 2] = 0.0
    out[3, 3] = 1.0


@njit(cache=True)
def exponential(twist: Array, out: Array) -> None:
    """out [4,4] = exp of the twist [6] (translation part first, rotation vector second)."""
    a, b, c = twist[3], twist[4], twist[5]
    square = a * a + b * b + c * c
    if square < 1e-12:
        first, second, third = 1.0, 0.5, 1.0 / 6.0
    else:
        angle = math.sqrt(square)
        first = math.sin(angle) / angle
        second = (1.0 - math.cos(angle)) / square
        third = (1.0 - first) / square
    cross = np.zeros((3, 3))
    cross[0, 1], cross[0, 2], cross[1, 2] = -c, b, -a
    cross[1, 0], cross[2, 0], cross[2, 1] = c, -b, a
    for i in range(3):
        out[i, 3] = 0.0
        for j in range(3):
            unit = 1.0 if i == j else 0.0
            twice = cross[i, 0] * cross[0, j] + cross[i, 1] * cross[1, j] + cross[i, 2] * cross[2, j]
            out[i, j] = unit + first * cross[i, j] + second * twice
            out[i, 3] += (unit + second * cross[i, j] + third * twice) * twist[j]
    out[3, 0] = 0.0
    out[3, 1] = 0.0
    out[3, 2] = 0.0
    out[3, 3] = 1.0


@njit(cache=True)
def adjoint(pose: Array, out: Array) -> None:
    """out [6,6]: exp(out x) = pose exp(x) pose^-1 for twists x = (t, w)."""
    out[:] = 0.0
    tx, ty, tz = pose[0, 3], pose[1, 3], pose[2, 3]
    for j in range(3):
        r0, r1, r2 = pose[0, j], pose[1, j], pose[2, j]
        for i in range(3):
            out[i, j] = pose[i, j]
            out[i + 3, j + 3] = pose[i, j]
        out[0, j + 3] = ty * r2 - tz * r1
        out[1, j + 3] = tz * r0 - tx * r2
        out[2, j + 3] = tx * r1 - ty * r0


@njit(cache=True)
def interpolate(a: Array, b: Array, share: float, out: Array) -> None:
    """out = world-to-camera [4,4] at `share` of the way from a to b: constant angular speed, centre on a line."""
    rotation = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            rotation[i, j] = b[i, 0] * a[j, 0] + b[i, 1] * a[j, 1] + b[i, 2] * a[j, 2]
    trace = rotation[0, 0] + rotation[1, 1] + rotation[2, 2]
    angle = math.acos(min(1.0, max(-1.0, 0.5 * (trace - 1.0))))
    scale = 0.5 if angle < 1e-6 else 0.5 * angle / math.sin(angle)
    twist = np.zeros(6)
    twist[3] = share * scale * (rotation[2, 1] - rotation[1, 2])
    twist[4] = share * scale * (rotation[0, 2] - rotation[2, 0])
    twist[5] = share * scale * (rotation[1, 0] - rotation[0, 1])
    step = np.empty((4, 4))
    exponential(twist, step)
    centre_a, centre_b = np.empty((4, 4)), np.empty((4, 4))
    invert(a, centre_a)
    invert(b, centre_b)
    compose(step, a, out)
    for i in range(3):
        out[i, 3] = 0.0
        for j in range(3):
            out[i, 3] -= out[i, j] * ((1.0 - share) * centre_a[j, 3] + share * centre_b[j, 3])


@njit(cache=True)
def solve(matrix: Array, right: Array, x: Array) -> bool:
    """Cholesky solution x of matrix x = right; overwrites the lower triangle of matrix. False if not positive."""
    n = matrix.shape[0]
    for i in range(n):
        for j in range(i + 1):
            s = matrix[i, j]
            for k in range(j):
                s -= matrix[i, k] * matrix[j, k]
            if i == j:
                if not s > 1e-14:
                    return False
                matrix[i, i] = math.sqrt(s)
            else:
                matrix[i, j] = s / matrix[j, j]
    for i in range(n):
        s = right[i]
        for k in range(i):
            s -= matrix[i, k] * x[k]
        x[i] = s / matrix[i, i]
    for i in range(n - 1, -1, -1):
        s = x[i]
        for k in range(i + 1, n):
            s -= matrix[k, i] * x[k]
        x[i] = s / matrix[i, i]
    return True
