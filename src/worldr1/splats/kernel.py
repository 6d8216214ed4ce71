"""Splat rasteriser for CPUs in numba: forward and backward, batched over views.

One work item is one horizontal band of one view. An item projects the Gaussians of its scene, sorts the visible ones
by depth, bins them into tiles and composites front to back; there is one parallel region over all items and no other
barrier. The backward pass repeats projection, sorting and binning instead of storing them.

The conventions are gsplat's: EWA projection, 0.3 px^2 added to the screen covariance, alpha below 1/255 skipped and
clamped at 0.99, a pixel closed before its transmittance falls to 1e-4. Everything numba compiles lives in this one
file, because its on-disk cache looks only at the file of the function called.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

f4 = np.float32
ZERO, HALF, ONE, TWO = f4(0), f4(0.5), f4(1), f4(2)
TILE_X, TILE_Y = 8, 16
TILE = TILE_X * TILE_Y
NEAR = f4(0.01)
BLUR = f4(0.3)
MAX_ALPHA = f4(0.99)
MIN_ALPHA = f4(1 / 255)
MIN_TRANSMITTANCE = f4(1e-4)
MAX_POWER = f4(8)
FAR_PIXELS = f4(1e6)
# Floating-point freedoms that let loops vectorise; not "nnan" or "ninf", so that comparisons still catch bad values.
FAST = {"reassoc", "contract", "arcp", "nsz", "afn"}  # noqa: RUF100

# Columns of a projected Gaussian.
MX, MY, QA, QB, QC, OP, Z, RED, GREEN, BLUE = range(10)
# Columns of a view: world-to-camera rotation and translation by rows (0..11), then fx, fy, cx, cy.
FX, FY, CX, CY = 12, 13, 14, 15
# Columns of a job: first Gaussian, number of Gaussians, first colour row, source to leave out (-1: none).
START, COUNT, COLOR_START, EXCLUDE = range(4)


@njit(inline="always", fastmath=FAST)
def _exp_neg(s):
    """exp(-s) for s in [0,8]: Taylor series of exp(-s/16), squared four times; relative error below 3e-5."""
    y = s * f4(1 / 16)
    p = ONE - y * (ONE - y * (HALF - y * (f4(1 / 6) - y * (f4(1 / 24) - y * (f4(1 / 120) - y * f4(1 / 720))))))
    p = p * p
    p = p * p
    p = p * p
    return p * p


@njit(inline="always", fastmath=FAST)
def _rotation(q, i):
    """Rotation matrix by rows of quaternion q[i], then the unit quaternion and 1/length."""
    n = ONE / math.sqrt(max(q[i, 0] * q[i, 0] + q[i, 1] * q[i, 1] + q[i, 2] * q[i, 2] + q[i, 3] * q[i, 3], f4(1e-24)))
    w, x, y, z = q[i, 0] * n, q[i, 1] * n, q[i, 2] * n, q[i, 3] * n
    return (
        (
            ONE - TWO * (y * y + z * z),
            TWO * (x * y - w * z),
            TWO * (x * z + w * y),
            TWO * (x * y + w * z),
            ONE - TWO * (x * x + z * z),
            TWO * (y * z - w * x),
            TWO * (x * z - w * y),
            TWO * (y * z + w * x),
            ONE - TWO * (x * x + y * y),
        ),
        w,
        x,
        y,
        z,
        n,
    )


@njit(inline="always", fastmath=FAST)
def _camera_point(v, means, i):
    x, y, z = means[i, 0], means[i, 1], means[i, 2]
    return (
        v[0] * x + v[1] * y + v[2] * z + v[3],
        v[4] * x + v[5] * y + v[6] * z + v[7],
        v[8] * x + v[9] * y + v[10] * z + v[11],
    )


@njit(inline="always", fastmath=FAST)
def _ratio_limits(v, width, height):
    """Range of x/z and y/z within which the projection's Jacobian is taken: 15% of the image beyond its borders."""
    margin_x = f4(0.15) * f4(width) / v[FX]
    margin_y = f4(0.15) * f4(height) / v[FY]
    return (
        -(v[CX] / v[FX] + margin_x),
        (f4(width) - v[CX]) / v[FX] + margin_x,
        -(v[CY] / v[FY] + margin_y),
        (f4(height) - v[CY]) / v[FY] + margin_y,
    )


@njit(fastmath=FAST)
def _project(means, scales, quats, opacities, colors, source, job, v, width, height, band, out, rect, index):
    """Projects the Gaussians of one job; keeps those that can reach rows band[0] to band[1]. Returns their number.

    out [n,10] by the columns above; rect [n,4] pixels x0, x1, y0, y1; index [n] row in `means`.
    """
    left, right, top, bottom = _ratio_limits(v, width, height)
    kept = 0
    for j in range(job[COUNT]):
        i = job[START] + j
        opacity = opacities[i]
        if not opacity >= MIN_ALPHA:
            continue
        if job[EXCLUDE] >= 0 and source[i] == job[EXCLUDE]:
            continue
        x, y, z = _camera_point(v, means, i)
        if not z > NEAR:
            continue
        iz = ONE / z
        mx = v[FX] * x * iz + v[CX]
        my = v[FY] * y * iz + v[CY]
        if not (abs(mx) < FAR_PIXELS and abs(my) < FAR_PIXELS):
            continue
        tx = min(max(x * iz, left), right)
        ty = min(max(y * iz, top), bottom)
        j00, j02 = v[FX] * iz, -v[FX] * tx * iz
        j11, j12 = v[FY] * iz, -v[FY] * ty * iz
        rot = _rotation(quats, i)[0]
        c00, c01, c11 = BLUR, ZERO, BLUR
        for k in range(3):
            m0, m1, m2 = rot[k] * scales[i, k], rot[3 + k] * scales[i, k], rot[6 + k] * scales[i, k]
            u2 = v[8] * m0 + v[9] * m1 + v[10] * m2
            a0 = j00 * (v[0] * m0 + v[1] * m1 + v[2] * m2) + j02 * u2
            a1 = j11 * (v[4] * m0 + v[5] * m1 + v[6] * m2) + j12 * u2
            c00 += a0 * a0
            c01 += a0 * a1
            c11 += a1 * a1
        det = c00 * c11 - c01 * c01
        if not det > ZERO:
            continue
        reach = math.sqrt(TWO * math.log(opacity / MIN_ALPHA)) + f4(1e-3)
        rx, ry = min(reach * math.sqrt(c00), FAR_PIXELS), min(reach * math.sqrt(c11), FAR_PIXELS)
        x0, x1 = max(int(math.floor(mx - rx - HALF)), 0), min(int(math.ceil(mx + rx - HALF)) + 1, width)
        y0, y1 = max(int(math.floor(my - ry - HALF)), band[0]), min(int(math.ceil(my + ry - HALF)) + 1, band[1])
        if x1 <= x0 or y1 <= y0:
            continue
        idet = ONE / det
        row = out[kept]
        row[MX], row[MY], row[OP], row[Z] = mx, my, opacity, z
        row[QA], row[QB], row[QC] = c11 * idet, -c01 * idet, c00 * idet
        color = job[COLOR_START] + j
        row[RED], row[GREEN], row[BLUE] = colors[color, 0], colors[color, 1], colors[color, 2]
        box = rect[kept]
        box[0], box[1], box[2], box[3] = x0, x1, y0, y1
        index[kept] = i
        kept += 1
    return kept


@njit
def _depth_order(depth):
    """Indices that sort positive float32 depths upwards, stable: radix sort over three digits of 11 bits."""
    key = depth.view(np.uint32)
    count = len(key)
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


@njit
def _bin(rect, band, tiles_x, tiles_y):
    """Gaussians of each tile in depth order: offsets [tiles+1] into ids. rect must already be in depth order."""
    offset = np.zeros(tiles_x * tiles_y + 1, np.int64)
    for k in range(len(rect)):
        for ty in range((rect[k, 2] - band[0]) // TILE_Y, (rect[k, 3] - 1 - band[0]) // TILE_Y + 1):
            for tx in range(rect[k, 0] // TILE_X, (rect[k, 1] - 1) // TILE_X + 1):
                offset[ty * tiles_x + tx + 1] += 1
    for tile in range(tiles_x * tiles_y):
        offset[tile + 1] += offset[tile]
    ids, place = np.empty(offset[-1], np.int32), offset.copy()
    for k in range(len(rect)):
        for ty in range((rect[k, 2] - band[0]) // TILE_Y, (rect[k, 3] - 1 - band[0]) // TILE_Y + 1):
            for tx in range(rect[k, 0] // TILE_X, (rect[k, 1] - 1) // TILE_X + 1):
                tile = ty * tiles_x + tx
                ids[place[tile]] = k
                place[tile] += 1
    return offset, ids


@njit
def _prepare(means, scales, quats, opacities, colors, source, job, v, width, height, band):
    """Visible Gaussians of one item in depth order, and their tiles: splats, rect, index, offset, ids."""
    count = job[COUNT]
    splats, rect, index = np.empty((count, 10), f4), np.empty((count, 4), np.int32), np.empty(count, np.int64)
    kept = _project(means, scales, quats, opacities, colors, source, job, v, width, height, band, splats, rect, index)
    order = _depth_order(splats[:kept, Z].copy())
    near_splats, near_rect = np.empty((kept, 10), f4), np.empty((kept, 4), np.int32)
    near_index = np.empty(kept, np.int64)
    for k in range(kept):
        near_splats[k], near_rect[k], near_index[k] = splats[order[k]], rect[order[k]], index[order[k]]
    tiles_x, tiles_y = (width + TILE_X - 1) // TILE_X, (band[1] - band[0] + TILE_Y - 1) // TILE_Y
    offset, ids = _bin(near_rect, band, tiles_x, tiles_y)
    return near_splats, near_rect, near_index, offset, ids, tiles_x, tiles_y


@njit(inline="always")
def _band_of(item, bands, height):
    """Rows of an item's band, a multiple of the tile height except for the last."""
    tiles = (height + TILE_Y - 1) // TILE_Y
    b = item % bands
    return (b * tiles // bands) * TILE_Y, min(((b + 1) * tiles // bands) * TILE_Y, height)


@njit(fastmath=FAST)
def _composite(splats, rect, ids, x0, y0, width, y_end, image, last):
    """Composites the splats `ids` over the tile at (x0, y0) into image [H,W,5] and last [H,W]."""
    trans, red, green, blue = np.ones(TILE, f4), np.zeros(TILE, f4), np.zeros(TILE, f4), np.zeros(TILE, f4)
    depth, live, latest = np.zeros(TILE, f4), np.zeros(TILE, f4), np.full(TILE, -1, np.int32)
    rows, columns = min(TILE_Y, y_end - y0), min(TILE_X, width - x0)
    for y in range(rows):
        for x in range(columns):
            live[y * TILE_X + x] = ONE
    for k in range(len(ids)):
        s = splats[ids[k]]
        mx, my = s[MX] - f4(x0) - HALF, s[MY] - f4(y0) - HALF
        ha, b, hc, opacity, z = HALF * s[QA], s[QB], HALF * s[QC], s[OP], s[Z]
        cr, cg, cb, rank = s[RED], s[GREEN], s[BLUE], np.int32(k)
        for y in range(max(rect[ids[k], 2] - y0, 0), min(rect[ids[k], 3] - y0, TILE_Y)):
            dy = f4(y) - my
            bd, cd, base = b * dy, hc * dy * dy, y * TILE_X
            for x in range(TILE_X):
                p = base + x
                dx = f4(x) - mx
                power = max(ha * dx * dx + bd * dx + cd, ZERO)
                a = min(opacity * _exp_neg(min(power, MAX_POWER)), MAX_ALPHA)
                a = a if (a >= MIN_ALPHA and power < MAX_POWER) else ZERO
                w = a * trans[p] * live[p]
                live[p] = live[p] if trans[p] - w > MIN_TRANSMITTANCE else ZERO
                w *= live[p]
                trans[p] -= w
                red[p] += w * cr
                green[p] += w * cg
                blue[p] += w * cb
                depth[p] += w * z
                latest[p] = rank if w > ZERO else latest[p]
        if (k & 15) == 15:
            alive = ZERO
            for p in range(TILE):
                alive += live[p]
            if alive == ZERO:
                break
    for y in range(rows):
        for x in range(columns):
            p, out = y * TILE_X + x, image[y0 + y, x0 + x]
            out[0], out[1], out[2], out[3], out[4] = red[p], green[p], blue[p], depth[p], ONE - trans[p]
            last[y0 + y, x0 + x] = latest[p]


@njit(parallel=True, cache=True, fastmath=FAST)
def forward(means, scales, quats, opacities, colors, source, jobs, views, bands, image, last):
    """Renders jobs [J,4] seen by views [J,16] into image [J,H,W,5] (RGB, sum of weight * z, alpha) and last [J,H,W].

    All float arrays are C-contiguous float32; source [N] int64; jobs int64. last is the rank, in its tile's list, of
    the last Gaussian that a pixel took, -1 for none: `backward` needs it.
    """
    height, width = image.shape[1], image.shape[2]
    for item in prange(len(jobs) * bands):
        view = item // bands
        band = _band_of(item, bands, height)
        splats, rect, _, offset, ids, tiles_x, tiles_y = _prepare(
            means, scales, quats, opacities, colors, source, jobs[view], views[view], width, height, band
        )
        for tile in range(tiles_x * tiles_y):
            x0, y0 = (tile % tiles_x) * TILE_X, band[0] + (tile // tiles_x) * TILE_Y
            tile_ids = ids[offset[tile] : offset[tile + 1]]
            _composite(splats, rect, tile_ids, x0, y0, width, band[1], image[view], last[view])
