"""Points followed through a video: corners of evenly spread frames, forwards and backwards (pyramidal Lucas-Kanade)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Array = NDArray[Any]

LOST, SEEN, LEFT = 0, 1, 2
HALF = 4
ROUNDS = 12
SETTLED = 0.01
LONGEST_STEP = 2.0
COARSEST_SIDE = 28
CELLS = 12
LEAST_CORNER = 2e-4
EDGE_RATIO = 4.0
FURTHEST_BACK = 0.5
LARGEST_DIFFERENCE = 0.1
_LUMA = (0.299, 0.587, 0.114)
_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


@dataclass(frozen=True)
class Tracks:
    """N points of a video of T frames.

    Attributes:
        host: [N] the frame in which a point was chosen.
        places: [N, T, 2] where it is, x and y in pixels (the first pixel's centre is 0.5, 0.5); only where it is SEEN.
        state: [N, T] SEEN, LEFT (its neighbourhood has left the picture) or LOST (it was followed no further, though
            inside).
        sharpness: [N, 2, 2] matrices that shorten an error by how little the point's neighbourhood shows of it: along
            an edge nothing can be told, at a corner all.
        size: (height, width) of the frames.
    """

    host: Array
    places: Array
    state: Array
    sharpness: Array
    size: tuple[int, int]

    def within(self, first: int, frames: int) -> Tracks:
        """What the `frames` frames from `first` show of the points chosen in them."""
        kept = (self.host >= first) & (self.host < first + frames)
        window = slice(first, first + frames)
        places, state = (np.ascontiguousarray(part[kept][:, window]) for part in (self.places, self.state))
        return Tracks(self.host[kept] - first, places, state, self.sharpness[kept], self.size)

    def chosen(self, kept: Array) -> Tracks:
        """Those points for which `kept` [N] is true."""
        return Tracks(self.host[kept], self.places[kept], self.state[kept], self.sharpness[kept], self.size)


def follow(video: Tensor, every: int = 4) -> Tracks:
    """Follow the corners of every `every`-th frame of a video as far as they go.

    A point is followed from frame to frame while following it back leads to within half a pixel of where it was, and
    its neighbourhood of 9x9 pixels looks alike (Lucas and Kanade 1981; Shi and Tomasi 1994; Kalal et al. 2010).

    Args:
        video: [T, 3, H, W] in [0, 1], at least 32 pixels a side.
        every: frames between those in which points are chosen.
    """
    gray = (video.detach().float().cpu() * torch.tensor(_LUMA)[:, None, None]).sum(1)
    height, width = gray.shape[1:]
    levels = max(1, int(math.log2(min(height, width) / COARSEST_SIDE)) + 1)
    pyramid = _pyramid(gray, levels)
    chosen = range(0, len(gray), every)
    starts = [_corners(gray[k], max(HALF, min(height, width) // CELLS)) for k in chosen]
    host = np.repeat(np.array(chosen, np.int64), [len(points) for points in starts])
    begin = np.concatenate(starts)
    sharpness = np.concatenate([_sharpness(gray[k].numpy(), points) for k, points in zip(chosen, starts, strict=True)])
    places, state = np.zeros((len(host), len(gray), 2)), np.full((len(host), len(gray)), LOST, np.int8)
    _follow_all(pyramid, host, begin, places, state)
    return Tracks(host, places + 0.5, state, sharpness, (height, width))


def _pyramid(gray: Tensor, levels: int) -> tuple[Array, ...]:
    """[T, H, W] and its halvings, each smoothed before."""
    stack = gray[:, None]
    kernel = torch.tensor(_BINOMIAL)
    found = [np.ascontiguousarray(gray.numpy(), np.float32)]
    for _ in range(levels - 1):
        stack = functional.conv2d(functional.pad(stack, (2, 2, 0, 0), mode="replicate"), kernel[None, None, None])
        stack = functional.conv2d(functional.pad(stack, (0, 0, 2, 2), mode="replicate"), kernel[None, None, :, None])
        stack = functional.avg_pool2d(stack, 2)
        found.append(np.ascontiguousarray(stack[:, 0].numpy()))
    return tuple(found)


def _corners(gray: Tensor, cell: int) -> Array:
    """[N, 2] x and y of the strongest corner of each square cell, if there is one (Shi and Tomasi)."""
    gy, gx = torch.gradient(gray)
    products = torch.stack([gx * gx, gx * gy, gy * gy])[:, None]
    xx, xy, yy = functional.avg_pool2d(products, 2 * HALF + 1, 1, HALF)[:, 0]
    low = (xx + yy) / 2 - (((xx - yy) / 2) ** 2 + xy * xy).sqrt()
    margin = HALF + 1
    inner = low[margin : low.shape[0] - margin, margin : low.shape[1] - margin]
    best, at = functional.max_pool2d(inner[None, None], cell, return_indices=True)
    chosen = at[best > LEAST_CORNER].numpy()
    return np.stack([chosen % inner.shape[1], chosen // inner.shape[1]], axis=1) + float(margin)


def _sharpness(gray: Array, points: Array) -> Array:
    """[N, 2, 2] L with L'L = the patch's structure tensor over its larger eigenvalue, the smaller one raised fourfold,
    so that all but edges count in full."""
    gy, gx = np.gradient(gray)
    found = np.empty((len(points), 2, 2))
    for n, (x, y) in enumerate(points.astype(int)):
        patch = (slice(y - HALF, y + HALF + 1), slice(x - HALF, x + HALF + 1))
        mixed = (gx[patch] * gy[patch]).sum()
        values, vectors = np.linalg.eigh([[(gx[patch] ** 2).sum(), mixed], [mixed, (gy[patch] ** 2).sum()]])
        found[n] = np.sqrt(np.minimum(1.0, EDGE_RATIO * values / max(values[1], 1e-12)))[:, None] * vectors.T
    return found


@njit(cache=True, fastmath=True)
def _look(image: Array, x: float, y: float) -> float:
    """image [H, W] at x, y, bilinear, where pixel [0, 0] lies at 0, 0; clamped to the border."""
    height, width = image.shape
    x, y = min(max(x, 0.0), width - 1.001), min(max(y, 0.0), height - 1.001)
    i, j = int(y), int(x)
    down, right = y - i, x - j
    above = (1.0 - right) * image[i, j] + right * image[i, j + 1]
    below = (1.0 - right) * image[i + 1, j] + right * image[i + 1, j + 1]
    return (1.0 - down) * above + down * below


@njit(cache=True, fastmath=True)
def _step(pyramid: tuple[Array, ...], a: int, b: int, x: float, y: float, patch: Array, at: Array) -> float:
    """Find in frame b what lies at x, y in frame a. `at` [2] holds the guess and takes the answer; patch
    [2 HALF + 3, 2 HALF + 3] is room to work in. Returns the root mean square difference of the neighbourhoods, less
    the difference of their means."""
    side = 2 * HALF + 1
    count = float(side * side)
    dx, dy = at[0] - x, at[1] - y
    difference = 0.0
    for down in range(len(pyramid)):
        level = len(pyramid) - 1 - down
        scale = 1.0 / (1 << level)
        source, target = pyramid[level][a], pyramid[level][b]
        px, py = (x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5
        vx, vy = dx * scale, dy * scale
        for i in range(side + 2):
            for j in range(side + 2):
                patch[i, j] = _look(source, px + j - HALF - 1, py + i - HALF - 1)
        xx, xy, yy = 1e-5 * count, 0.0, 1e-5 * count
        for i in range(1, side + 1):
            for j in range(1, side + 1):
                gx, gy = 0.5 * (patch[i, j + 1] - patch[i, j - 1]), 0.5 * (patch[i + 1, j] - patch[i - 1, j])
                xx += gx * gx
                xy += gx * gy
                yy += gy * gy
        determinant = xx * yy - xy * xy
        for _ in range(ROUNDS):
            bx, by, sum_x, sum_y, mean, square = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for i in range(1, side + 1):
                for j in range(1, side + 1):
                    gx, gy = 0.5 * (patch[i, j + 1] - patch[i, j - 1]), 0.5 * (patch[i + 1, j] - patch[i - 1, j])
                    d = _look(target, px + vx + j - HALF - 1, py + vy + i - HALF - 1) - patch[i, j]
                    bx += d * gx
                    by += d * gy
                    sum_x += gx
                    sum_y += gy
                    mean += d
                    square += d * d
            mean /= count
            bx -= mean * sum_x
            by -= mean * sum_y
            difference = math.sqrt(max(square / count - mean * mean, 0.0))
            sx, sy = (yy * bx - xy * by) / determinant, (xx * by - xy * bx) / determinant
            length = math.sqrt(sx * sx + sy * sy)
            shorter = min(1.0, LONGEST_STEP / max(length, 1e-12))
            vx -= shorter * sx
            vy -= shorter * sy
            if length < SETTLED:
                break
        dx, dy = vx / scale, vy / scale
    at[0], at[1] = x + dx, y + dy
    return difference


@njit(cache=True, fastmath=True, nogil=True)
def _follow_all(pyramid: tuple[Array, ...], host: Array, begin: Array, places: Array, state: Array) -> None:
    """Fill places [N, T, 2] and state [N, T] of points that begin [N, 2] in their host frames."""
    frames, height, width = pyramid[0].shape
    patch = np.empty((2 * HALF + 3, 2 * HALF + 3))
    at, back = np.empty(2), np.empty(2)
    for n in range(host.shape[0]):
        places[n, host[n]] = begin[n]
        state[n, host[n]] = SEEN
        for step in (1, -1):
            x, y, vx, vy = begin[n, 0], begin[n, 1], 0.0, 0.0
            t = host[n] + step
            while 0 <= t < frames:
                at[0], at[1] = x + vx, y + vy
                difference = _step(pyramid, t - step, t, x, y, patch, at)
                if not (HALF <= at[0] <= width - 1 - HALF and HALF <= at[1] <= height - 1 - HALF):
                    while 0 <= t < frames:
                        state[n, t] = LEFT
                        t += step
                    break
                back[0], back[1] = at[0] - vx, at[1] - vy
                _step(pyramid, t, t - step, at[0], at[1], patch, back)
                if difference > LARGEST_DIFFERENCE or math.hypot(back[0] - x, back[1] - y) > FURTHEST_BACK:
                    break
                vx, vy, x, y = at[0] - x, at[1] - y, at[0], at[1]
                places[n, t] = at
                state[n, t] = SEEN
                t += step
