"""Cameras of one video: many starts at low resolution, the best few refined at higher ones.

All videos are [T,H,W,3] float32 with H and W divisible by 4; cameras are world-to-camera [T,4,4] float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from worldr1.reconstruction.alignment import adjust, align_frame
from worldr1.reconstruction.geometry import Array, interpolate
from worldr1.reconstruction.planesweep import sweep

KNOTS = 5
SEMI_FINALISTS = 3
FINALISTS = 2
COARSE_SCALE2 = 0.05
FINE_SCALE2 = 0.02
SMOOTH = 0.02
COARSE_STEPS = 6
FINE_STEPS = 4
COARSE_STIFFNESS = 1.0
FINE_STIFFNESS = 5.0
STILL_MARGIN = 1.3
STILL_FLOOR = 1e-5


@dataclass(frozen=True)
class Levels:
    """One video at full, half and quarter resolution, and its focal length in pixels of the full one."""

    full: Array
    half: Array
    quarter: Array
    focal: float


@dataclass(frozen=True)
class Cameras:
    """World-to-camera [T,4,4] (first = identity), the mean robust colour error, and that of standing still."""

    w2c: Array
    cost: float
    still_cost: float

    @property
    def still(self) -> bool:
        """Whether standing still explains the video as well as any motion found."""
        return self.still_cost <= STILL_MARGIN * self.cost + STILL_FLOOR


def halve(images: Array) -> Array:
    """Mean over 2x2 pixels of images [T,H,W,3]."""
    height, width = images.shape[1:3]
    even = images[:, : height // 2 * 2, : width // 2 * 2]
    return np.ascontiguousarray(
        0.25 * (even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2])
    )


def spread(frames: int, count: int) -> Array:
    """Up to `count` distinct frame indices out of `frames`, evenly spread, first and last included."""
    return np.unique(np.linspace(0, frames - 1, min(count, frames)).round().astype(np.int64))


def fill_between(w2c: Array, knots: Array) -> None:
    """Overwrites the poses of w2c [T,4,4] between the knots (frame indices [n], ascending), in place."""
    for a, b in pairwise(knots):
        for t in range(a + 1, b):
            interpolate(w2c[a], w2c[b], (t - a) / (b - a), w2c[t])


def _hosts(knots: Array) -> Array:
    """Positions in `knots` of the frames that carry depth: a quarter and three quarters through the clip."""
    return np.unique(np.array([(len(knots) - 1) // 4, len(knots) - 1 - (len(knots) - 1) // 4], np.int64))


def _sweep_hosts(
    images: Array, w2c: Array, hosts: Array, sources: Array, focal: float, planes: Array, smooth: float
) -> Array:
    """Inverse depth [hosts,H,W] of the frames `hosts` from the frames `sources`."""
    rho = np.empty((len(hosts), *images.shape[1:3]))
    unused = np.empty(images.shape[1:3])
    for q, host in enumerate(hosts):
        sweep(images, w2c, host, sources[sources != host], focal, planes, smooth, rho[q], unused)
    return rho


def solve_cameras(levels: Levels, starts: Array, planes: Array) -> Cameras:
    """Cameras of one video.

    starts [S,T,4,4]: cameras to start from, the last of which must stand still; planes: inverse depths to sweep.
    """
    frames = len(levels.full)
    knots = spread(frames, KNOTS)
    hosts, anchor = _hosts(knots), len(knots) // 2
    coarse = []
    for s, start in enumerate(starts):
        w2c = start.copy()
        if s == len(starts) - 1:
            rho = np.ones((len(hosts), *levels.quarter.shape[1:3]))
        else:
            rho = _sweep_hosts(levels.quarter, w2c, knots[hosts], knots, levels.focal / 4, planes[::2].copy(), 0.0)
        cost, _ = adjust(
            levels.quarter,
            knots,
            w2c,
            hosts,
            rho,
            levels.focal / 4,
            2,
            1,
            COARSE_SCALE2,
            COARSE_STEPS,
            anchor,
            COARSE_STIFFNESS,
        )
        coarse.append((cost, s, w2c))
    middle = []
    for cost, s, w2c in _best(coarse, SEMI_FINALISTS):
        rho = _sweep_hosts(levels.half, w2c, knots[hosts], knots, levels.focal / 2, planes, SMOOTH)
        cost, _ = adjust(
            levels.half, knots, w2c, hosts, rho, levels.focal / 2, 2, 1, FINE_SCALE2, FINE_STEPS, anchor, FINE_STIFFNESS
        )
        middle.append((cost, s, w2c, rho))
    final = []
    for _, s, w2c, half_rho in _best(middle, FINALISTS):
        rho = np.ascontiguousarray(half_rho.repeat(2, 1).repeat(2, 2))
        cost, _ = adjust(
            levels.full, knots, w2c, hosts, rho, levels.focal, 4, 2, FINE_SCALE2, FINE_STEPS, anchor, FINE_STIFFNESS
        )
        final.append((cost, s, w2c, rho))
    cost, _, w2c, rho = _best(final, 1)[0]
    still = starts[-1].copy()
    still_cost, _ = adjust(
        levels.full, knots, still, hosts, np.ones_like(rho), levels.focal, 4, 2, FINE_SCALE2, 0, anchor, FINE_STIFFNESS
    )
    solution = Cameras(w2c, cost, still_cost)
    if solution.still:
        return Cameras(still, cost, still_cost)
    fill_between(w2c, knots)
    half_rho = np.ascontiguousarray(rho[:, ::2, ::2])
    for t in range(frames):
        if t not in knots:
            align_frame(levels.half, t, w2c, knots[hosts], half_rho, levels.focal / 2, FINE_SCALE2, 3)
    return Cameras(w2c @ np.linalg.inv(w2c[0]), cost, still_cost)


def _best(candidates: list, count: int) -> list:
    """The `count` of least cost, without repeats (starts that led to the same cost)."""
    chosen: list = []
    for candidate in sorted(candidates, key=lambda c: (c[0], c[1])):
        if all(abs(candidate[0] - other[0]) > 1e-12 for other in chosen):
            chosen.append(candidate)
    return chosen[:count]
