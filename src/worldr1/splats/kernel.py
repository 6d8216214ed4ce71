"""Splat rasteriser for CPUs in numba: forward and backward, batched over views.

One work item is one horizontal band of one view. An item projects the Gaussians of its scene, sorts the visible ones
by depth, bins them into tiles and composites front to back. Items share nothing that they write and the functions
release the interpreter's lock, so ranges of items may run in threads. The backward pass repeats projection, sorting
and binning instead of storing them.

All that the entries call is inlined into them by force. Otherwise a process that compiles calls the callees' own code
and one that loads an entry from numba's on-disk cache calls the copies in there, which are optimised differently: the
last bits of pictures would depend on whether the cache was warm.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numba import njit

from worldr1.splats import kernel_layout, kernel_order, kernel_projection, kernel_tiles
from worldr1.splats.kernel_layout import COUNT, FAST, SPLAT, START, TILE_X, TILE_Y, Z, f4
from worldr1.splats.kernel_order import band_of, bin_tiles, depth_order
from worldr1.splats.kernel_projection import project, project_backward
from worldr1.splats.kernel_tiles import composite, composite_backward


@njit(forceinline=True)
def _prepare(scene, job, v, width, height, band):
    """Visible Gaussians of one item, and those of each tile in depth order: splats, rect, index, offset, ids."""
    count = job[COUNT]
    splats, rect, index = np.empty((count, SPLAT), f4), np.empty((count, 4), np.int32), np.empty(count, np.int32)
    kept = project(scene, job, v, width, height, band, splats, rect, index)
    tiles_x, tiles_y = (width + TILE_X - 1) // TILE_X, (band[1] - band[0] + TILE_Y - 1) // TILE_Y
    offset, ids = bin_tiles(depth_order(splats[:kept, Z].copy()), rect, band[0], tiles_x, tiles_y)
    return splats[:kept], rect, index, offset, ids, tiles_x, tiles_y


def _sources() -> str:
    """Digest of the other files that are compiled into the entries, which close over it.

    numba's on-disk cache sees changes in an entry's own file and in what it closes over, not in the files of the
    functions that it calls.
    """
    parts = (kernel_layout, kernel_order, kernel_projection, kernel_tiles)
    return hashlib.sha256(b"".join(Path(str(part.__file__)).read_bytes() for part in parts)).hexdigest()


def _forward(sources: str):
    @njit(nogil=True, cache=True, fastmath=FAST)
    def forward(scene, jobs, views, bands, image, last, first, stop):
        """Draws items first to stop (item = view * bands + band) of jobs [J,4], views [J,17] into image and last.

        scene: means [N,3], scales [N,3], quats [N,4], opacities [N], reach [N], colors [R,3] and source [N] of all.

        image [J,H,W,5] holds RGB, sum of weight * z, transmittance; last [J,H,W], which `backward` needs, the rank in
        its tile's list of the last Gaussian that a pixel took, -1 for none. Floats are float32, those of views
        float64; source and jobs int64.
        """
        _key = sources
        height, width = image.shape[1], image.shape[2]
        for item in range(first, stop):
            view = item // bands
            band = band_of(item, bands, height)
            splats, rect, _, offset, ids, tiles_x, tiles_y = _prepare(
                scene, jobs[view], views[view], width, height, band
            )
            for tile in range(tiles_x * tiles_y):
                x0, y0 = (tile % tiles_x) * TILE_X, band[0] + (tile // tiles_x) * TILE_Y
                tile_ids = ids[offset[tile] : offset[tile + 1]]
                composite(splats, rect, tile_ids, x0, y0, width, band[1], image[view], last[view])

    return forward


def _backward(sources: str):
    @njit(nogil=True, cache=True, fastmath=FAST)
    def backward(scene, jobs, views, bands, image, last, first, stop, d_image, rows, parts):
        """Gradient of `forward` item by item: parts[rows[item] + j], zero at first, is that of its job's j-th Gaussian.

        d_image [J,H,W,5] is the gradient of image; rows [J * bands] int64; parts [R,14] by the columns D_*.
        """
        _key = sources
        height, width = image.shape[1], image.shape[2]
        for item in range(first, stop):
            view = item // bands
            band = band_of(item, bands, height)
            splats, rect, index, offset, ids, tiles_x, tiles_y = _prepare(
                scene, jobs[view], views[view], width, height, band
            )
            d_splats = np.zeros(splats.shape, f4)
            for tile in range(tiles_x * tiles_y):
                x0, y0 = (tile % tiles_x) * TILE_X, band[0] + (tile // tiles_x) * TILE_Y
                tile_ids = ids[offset[tile] : offset[tile + 1]]
                composite_backward(
                    splats, rect, tile_ids, x0, y0, width, band[1], image[view], last[view], d_image[view], d_splats
                )
            first_row = rows[item] - jobs[view, START]
            project_backward(scene, index, views[view], width, height, splats, d_splats, first_row, parts)

    return backward


forward, backward = _forward(_sources()), _backward(_sources())
