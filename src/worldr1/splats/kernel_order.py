"""Depth order and tiles of projected Gaussians for the splat kernel."""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

import numpy as np
from numba import njit

from worldr1.splats.kernel_layout import (
    TILE_X,
    TILE_Y,
)


@njit(forceinline=True)
def depth_order(depth):
    """Indices that sort positive float32 depths upwards, stable: radix sort over three digits of 11 bits."""
    key, count = depth.view(np.uint32), len(depth)
    order, other = np.arange(count).astype(np.int32), np.empty(count, np.int32)
    for digit in range(3):
        shift = np.uint32(11 * digit)
        place = np.zeros(2049, np.int64)
        for i in range(count):
            place[((key[i] >> shift) & np.uint32(2047)) + 1] += 1
        for b in range(2048):
            place[b + 1] += place[b]
        for i in range(count):
            b = (key[order[i]] >> shift) & np.uint32(2047)
            other[place[b]] = order[i]
            place[b] += 1
        order, other = other, order
    return order


@njit(inline="always")
def _tiles(rect, i, top):
    """Tiles x0, x1, y0, y1 that rectangle i of pixels meets."""
    x0, x1, y0, y1 = rect[i, 0], rect[i, 1], rect[i, 2] - top, rect[i, 3] - top
    return x0 // TILE_X, (x1 - 1) // TILE_X + 1, y0 // TILE_Y, (y1 - 1) // TILE_Y + 1


@njit(forceinline=True)
def bin_tiles(order, rect, top, tiles_x, tiles_y):
    """Gaussians of each tile in the given order: offsets [tiles+1] into ids."""
    offset = np.zeros(tiles_x * tiles_y + 1, np.int64)
    for i in range(len(order)):
        x0, x1, y0, y1 = _tiles(rect, i, top)
        for ty in range(y0, y1):
            for tx in range(x0, x1):
                offset[ty * tiles_x + tx + 1] += 1
    for tile in range(tiles_x * tiles_y):
        offset[tile + 1] += offset[tile]
    ids, place = np.empty(offset[-1], np.int32), offset.copy()
    for i in order:
        x0, x1, y0, y1 = _tiles(rect, i, top)
        for ty in range(y0, y1):
            for tx in range(x0, x1):
                ids[place[ty * tiles_x + tx]] = i
                place[ty * tiles_x + tx] += 1
    return offset, ids


@njit(inline="always")
def band_of(item, bands, height):
    """Rows of an item's band, a multiple of the tile height except for the last."""
    tiles = (height + TILE_Y - 1) // TILE_Y
    b = item % bands
    return (b * tiles // bands) * TILE_Y, min(((b + 1) * tiles // bands) * TILE_Y, height)
