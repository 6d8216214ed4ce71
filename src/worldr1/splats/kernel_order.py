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


@njit(forceinline=True)
def bin_tiles(rect, top, tiles_x, tiles_y):
    """Gaussians of each tile in depth order: offsets [tiles+1] into ids. rect must already be in depth order."""
    spans = np.empty((len(rect), 4), np.int32)
    offset = np.zeros(tiles_x * tiles_y + 1, np.int64)
    for k in range(len(rect)):
        spans[k, 0], spans[k, 1] = rect[k, 0] // TILE_X, (rect[k, 1] - 1) // TILE_X + 1
        spans[k, 2], spans[k, 3] = (rect[k, 2] - top) // TILE_Y, (rect[k, 3] - 1 - top) // TILE_Y + 1
        for ty in range(spans[k, 2], spans[k, 3]):
            for tx in range(spans[k, 0], spans[k, 1]):
                offset[ty * tiles_x + tx + 1] += 1
    for tile in range(tiles_x * tiles_y):
        offset[tile + 1] += offset[tile]
    ids, place = np.empty(offset[-1], np.int32), offset.copy()
    for k in range(len(rect)):
        for ty in range(spans[k, 2], spans[k, 3]):
            for tx in range(spans[k, 0], spans[k, 1]):
                ids[place[ty * tiles_x + tx]] = k
                place[ty * tiles_x + tx] += 1
    return offset, ids


@njit(inline="always")
def band_of(item, bands, height):
    """Rows of an item's band, a multiple of the tile height except for the last."""
    tiles = (height + TILE_Y - 1) // TILE_Y
    b = item % bands
    return (b * tiles // bands) * TILE_Y, min(((b + 1) * tiles // bands) * TILE_Y, height)
