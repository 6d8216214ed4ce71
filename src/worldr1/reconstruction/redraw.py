"""Drawing frames from other frames: where a frame's pixels lie in the others, and what colour they have there.

Pixel-aligned surfaces are drawn by looking colours up in the source images (bilinear) instead of through splats, whose
footprints overlap front to back and cost several dB: with exact depth the lookup leaves the interpolation error only.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from worldr1.reconstruction.geometry import Array
from worldr1.reconstruction.planesweep import relative_poses

NEAR = 0.05
BEHIND = 0.06


@njit(cache=True, fastmath=True, nogil=True)
def splat_depth(w2c: Array, frame: int, keys: Array, rho: Array, intrinsics: Array, out: Array) -> None:
    """Writes out [H,W], the inverse depth of `frame` as the surfaces of the key frames put it; 0 where none lies.

    keys [K] frame indices (`frame` itself is left out); rho [K,H,W] their inverse depths; intrinsics [3,3], float64.
    """
    _, height, width = rho.shape
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    out[:] = 0.0
    for k in range(keys.shape[0]):
        if keys[k] == frame:
            continue
        m = relative_poses(w2c, keys[k], np.array([frame]))[0]
        for i in range(height):
            for j in range(width):
                x, y, p = (j + 0.5 - cx) / fx, (i + 0.5 - cy) / fy, rho[k, i, j]
                z = m[2, 0] * x + m[2, 1] * y + m[2, 2] + m[2, 3] * p
                if z < NEAR:
                    continue
                u = (m[0, 0] * x + m[0, 1] * y + m[0, 2] + m[0, 3] * p) / z * fx + cx - 0.5
                v = (m[1, 0] * x + m[1, 1] * y + m[1, 2] + m[1, 3] * p) / z * fy + cy - 0.5
                if u < -1.0 or v < -1.0 or u > width or v > height:
                    continue
                u0, v0 = int(np.floor(u)), int(np.floor(v))
                for a in range(2):
                    for b in range(2):
                        r, c = v0 + a, u0 + b
                        if 0 <= r < height and 0 <= c < width and abs(r - v) < 0.8 and abs(c - u) < 0.8:
                            out[r, c] = max(out[r, c], p / z)


@njit(cache=True, fastmath=True, nogil=True)
def fill_holes(rho: Array, rounds: int) -> None:
    """Gives pixels without depth the farthest depth among their neighbours, in place, `rounds` times."""
    height, width = rho.shape
    for _ in range(rounds):
        before = rho.copy()
        for i in range(height):
            for j in range(width):
                if before[i, j] > 0.0:
                    continue
                least = 1e30
                for r in range(max(0, i - 1), min(height, i + 2)):
                    for c in range(max(0, j - 1), min(width, j + 2)):
                        if before[r, c] > 0.0:
                            least = min(least, before[r, c])
                if least < 1e30:
                    rho[i, j] = least


@njit(cache=True, fastmath=True, nogil=True)
def look_up(
    images: Array,
    w2c: Array,
    frame: int,
    keys: Array,
    rho: Array,
    intrinsics: Array,
    own: Array,
    out: Array,
    weight: Array,
) -> None:
    """Writes the frame drawn from the key frames, out [H,W,3], and the weight that each pixel's sources have, [H,W].

    images [T,H,W,3]; keys [K]; rho [K,H,W]; own [H,W]: inverse depth of `frame`; intrinsics [3,3],
    float64. A key frame counts where its own
    surface is not in front of the point, by the inverse square of its distance in time; the frame itself never does.
    """
    _, height, width, _ = images.shape
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    out[:] = 0.0
    weight[:] = 0.0
    for k in range(keys.shape[0]):
        if keys[k] == frame:
            continue
        m = relative_poses(w2c, frame, keys[k : k + 1])[0]
        image = images[keys[k]]
        share = 1.0 / (keys[k] - frame) ** 2
        for i in range(height):
            for j in range(width):
                p = own[i, j]
                if p <= 0.0:
                    continue
                x, y = (j + 0.5 - cx) / fx, (i + 0.5 - cy) / fy
                z = m[2, 0] * x + m[2, 1] * y + m[2, 2] + m[2, 3] * p
                if z < NEAR:
                    continue
                u = (m[0, 0] * x + m[0, 1] * y + m[0, 2] + m[0, 3] * p) / z * fx + cx - 0.5
                v = (m[1, 0] * x + m[1, 1] * y + m[1, 2] + m[1, 3] * p) / z * fy + cy - 0.5
                if u < 0.0 or v < 0.0 or u > width - 1.001 or v > height - 1.001:
                    continue
                u0, v0 = int(u), int(v)
                fu, fv = u - u0, v - v0
                near = min(min(rho[k, v0, u0], rho[k, v0, u0 + 1]), min(rho[k, v0 + 1, u0], rho[k, v0 + 1, u0 + 1]))
                if near > p / z * 1.1 + BEHIND:
                    continue
                w11 = fu * fv
                w01, w10, w00 = fu - w11, fv - w11, 1.0 - fu - fv + w11
                a, b, c, d = image[v0, u0], image[v0, u0 + 1], image[v0 + 1, u0], image[v0 + 1, u0 + 1]
                for q in range(3):
                    out[i, j, q] += share * (w00 * a[q] + w01 * b[q] + w10 * c[q] + w11 * d[q])
                weight[i, j] += share
    for i in range(height):
        for j in range(width):
            if weight[i, j] > 0.0:
                for c in range(3):
                    out[i, j, c] /= weight[i, j]
