"""Splat rasteriser for CPUs in numba: forward and backward, batched over views.

One work item is one horizontal band of one view. An item projects the Gaussians of its scene, sorts the visible ones
by depth, bins them into tiles and composites front to back. Items share nothing that they write and the functions
release the interpreter's lock, so ranges of items may run in threads. The backward pass repeats projection, sorting
and binning instead of storing them.

The conventions are gsplat's: EWA projection, 0.3 px^2 added to the screen covariance, alpha below 1/255 skipped and
clamped at 0.99, a pixel closed before its transmittance falls to 1e-4. Everything numba compiles lives in this one
file, because its on-disk cache looks only at the file of the function called.
"""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

import math

import numpy as np
from numba import njit

f4 = np.float32
ZERO, HALF, ONE, TWO = f4(0), f4(0.5), f4(1), f4(2)
TILE_X, TILE_Y = 8, 16
NEAR = f4(0.01)
BLUR = f4(0.3)
MAX_ALPHA = f4(0.99)
MIN_ALPHA = f4(1 / 255)
MIN_TRANSMITTANCE = f4(1e-4)
MAX_POWER = f4(8)
FAR_PIXELS = f4(1e6)
# Floating-point freedoms that let loops vectorise; not "nnan" or "ninf", so that comparisons still catch bad values.
FAST = {"reassoc", "contract", "arcp", "nsz", "afn"}

# Columns of a projected Gaussian.
MX, MY, QA, QB, QC, OP, Z, RED, GREEN, BLUE = range(10)
# Columns of a view: world-to-camera rotation and translation by rows (0..11), then fx, fy, cx, cy.
FX, FY, CX, CY = 12, 13, 14, 15
# Columns of a gradient row: means, scales, quats, opacity, colour.
D_MEAN, D_SCALE, D_QUAT, D_OPACITY, D_COLOR, D_COUNT = 0, 3, 6, 10, 11, 14
# Fields of a row of pixels while a tile is composited.
TRANS, LIVE, LATEST, T_RED, T_GREEN, T_BLUE, T_DEPTH, FIELDS = range(8)
BEHIND, SUMS = LIVE, 7
# Columns of a job: first Gaussian, number of Gaussians, first colour row, source to leave out (-1: none).
START, COUNT, COLOR_START, EXCLUDE = range(4)


@njit(inline="always", fastmath=FAST)
def _exp_neg(s):
    """exp(-s) for s in [0,8]: Taylor series of exp(-s/16), squared four times; relative error below 3e-5."""
    y = s * f4(1 / 16)
    p = ONE - y * (ONE - y * (HALF - y * (f4(1 / 6) - y * (f4(1 / 24) - y * (f4(1 / 120) - y * f4(1 / 720))))))
    p = (p * p) * (p * p)
    return (p * p) * (p * p)


@njit(inline="always", fastmath=FAST)
def _rotation(q, i):
    """Rotation matrix by rows of quaternion q[i], then the unit quaternion and 1/length."""
    n = ONE / math.sqrt(max(q[i, 0] * q[i, 0] + q[i, 1] * q[i, 1] + q[i, 2] * q[i, 2] + q[i, 3] * q[i, 3], f4(1e-24)))
    w, x, y, z = q[i, 0] * n, q[i, 1] * n, q[i, 2] * n, q[i, 3] * n
    first = (ONE - TWO * (y * y + z * z), TWO * (x * y - w * z), TWO * (x * z + w * y))
    second = (TWO * (x * y + w * z), ONE - TWO * (x * x + z * z), TWO * (y * z - w * x))
    third = (TWO * (x * z - w * y), TWO * (y * z + w * x), ONE - TWO * (x * x + y * y))
    return first + second + third, w, x, y, z, n


@njit(inline="always", fastmath=FAST)
def _camera_point(v, means, i):
    x, y, z = means[i, 0], means[i, 1], means[i, 2]
    return (
        v[0] * x + v[1] * y + v[2] * z + v[3],
        v[4] * x + v[5] * y + v[6] * z + v[7],
        v[8] * x + v[9] * y + v[10] * z + v[11],
    )


@njit(inline="always", fastmath=FAST)
def _jacobian(v, x, y, z, width, height):
    """d(screen)/d(camera point) as j00, j02, j11, j12, and 1 or 0 as x/z, y/z are free or clamped.

    The ratios are clamped at 15% of the image beyond its borders, as gsplat does.
    """
    iz = ONE / z
    rx, ry = x * iz, y * iz
    margin_x, margin_y = f4(0.15) * f4(width) / v[FX], f4(0.15) * f4(height) / v[FY]
    tx = min(max(rx, -v[CX] / v[FX] - margin_x), (f4(width) - v[CX]) / v[FX] + margin_x)
    ty = min(max(ry, -v[CY] / v[FY] - margin_y), (f4(height) - v[CY]) / v[FY] + margin_y)
    return v[FX] * iz, -v[FX] * tx * iz, v[FY] * iz, -v[FY] * ty * iz, f4(tx == rx), f4(ty == ry)


@njit(error_model="numpy", fastmath=FAST)
def _project(means, scales, quats, opacities, colors, source, job, v, width, height, band, out, rect, index):
    """Projects the Gaussians of one job; keeps those that can reach rows band[0] to band[1]. Returns their number.

    out [n,10] by the columns above; rect [n,4] pixels x0, x1, y0, y1; index [n] row in `means`.
    """
    kept = 0
    for j in range(job[COUNT]):
        i = job[START] + j
        opacity = opacities[i]
        if not opacity >= MIN_ALPHA or (job[EXCLUDE] >= 0 and source[i] == job[EXCLUDE]):
            continue
        x, y, z = _camera_point(v, means, i)
        if not z > NEAR:
            continue
        mx, my = v[FX] * x / z + v[CX], v[FY] * y / z + v[CY]
        if not (abs(mx) < FAR_PIXELS and abs(my) < FAR_PIXELS):
            continue
        j00, j02, j11, j12, _, _ = _jacobian(v, x, y, z, width, height)
        rot = _rotation(quats, i)[0]
        c00, c01, c11 = BLUR, ZERO, BLUR
        for k in range(3):
            m0, m1, m2 = rot[k] * scales[i, k], rot[3 + k] * scales[i, k], rot[6 + k] * scales[i, k]
            u2 = v[8] * m0 + v[9] * m1 + v[10] * m2
            a0 = j00 * (v[0] * m0 + v[1] * m1 + v[2] * m2) + j02 * u2
            a1 = j11 * (v[4] * m0 + v[5] * m1 + v[6] * m2) + j12 * u2
            c00, c01, c11 = c00 + a0 * a0, c01 + a0 * a1, c11 + a1 * a1
        det = c00 * c11 - c01 * c01
        reach = math.sqrt(TWO * math.log(opacity / MIN_ALPHA)) + f4(1e-3)
        rx, ry = min(reach * math.sqrt(c00), FAR_PIXELS), min(reach * math.sqrt(c11), FAR_PIXELS)
        x0, x1 = max(math.floor(mx - rx - HALF), 0), min(math.ceil(mx + rx - HALF) + 1, width)
        y0, y1 = max(math.floor(my - ry - HALF), band[0]), min(math.ceil(my + ry - HALF) + 1, band[1])
        if x1 <= x0 or y1 <= y0 or not det > ZERO:
            continue
        row, box = out[kept], rect[kept]
        row[MX], row[MY], row[OP], row[Z] = mx, my, opacity, z
        row[QA], row[QB], row[QC] = c11 / det, -c01 / det, c00 / det
        color = job[COLOR_START] + j
        row[RED], row[GREEN], row[BLUE] = colors[color, 0], colors[color, 1], colors[color, 2]
        box[0], box[1], box[2], box[3] = x0, x1, y0, y1
        index[kept] = i
        kept += 1
    return kept


@njit
def _depth_order(depth):
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


@njit
def _bin(rect, top, tiles_x, tiles_y):
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


@njit
def _prepare(means, scales, quats, opacities, colors, source, job, v, width, height, band):
    """Visible Gaussians of one item in depth order, and their tiles: splats, rect, index, offset, ids."""
    count = job[COUNT]
    splats, rect, index = np.empty((count, 10), f4), np.empty((count, 4), np.int32), np.empty(count, np.int64)
    kept = _project(means, scales, quats, opacities, colors, source, job, v, width, height, band, splats, rect, index)
    order = _depth_order(splats[:kept, Z].copy())
    splats, rect, index = splats[order], rect[order], index[order]
    tiles_x, tiles_y = (width + TILE_X - 1) // TILE_X, (band[1] - band[0] + TILE_Y - 1) // TILE_Y
    offset, ids = _bin(rect, band[0], tiles_x, tiles_y)
    return splats, rect, index, offset, ids, tiles_x, tiles_y


@njit(inline="always")
def _band_of(item, bands, height):
    """Rows of an item's band, a multiple of the tile height except for the last."""
    tiles = (height + TILE_Y - 1) // TILE_Y
    b = item % bands
    return (b * tiles // bands) * TILE_Y, min(((b + 1) * tiles // bands) * TILE_Y, height)


@njit(fastmath=FAST)
def _composite(splats, rect, ids, x0, y0, width, y_end, image, last):
    """Composites the splats `ids` over the tile at (x0, y0) into image [H,W,5] and last [H,W].

    The tile's state is one array, a line of fields per row of pixels: the compiler cannot tell that several arrays do
    not overlap, and then gives vectors up.
    """
    state = np.zeros((TILE_Y, FIELDS, TILE_X), f4)
    state[:, TRANS], state[:, LATEST] = ONE, -ONE
    rows, columns = min(TILE_Y, y_end - y0), min(TILE_X, width - x0)
    state[:rows, LIVE, :columns] = ONE
    for k in range(len(ids)):
        s = splats[ids[k]]
        mx, my = s[MX] - f4(x0) - HALF, s[MY] - f4(y0) - HALF
        ha, b, hc, opacity, z = HALF * s[QA], s[QB], HALF * s[QC], s[OP], s[Z]
        cr, cg, cb, rank = s[RED], s[GREEN], s[BLUE], f4(k)
        for y in range(max(rect[ids[k], 2] - y0, 0), min(rect[ids[k], 3] - y0, TILE_Y)):
            dy, line = f4(y) - my, state[y]
            bd, cd = b * dy, hc * dy * dy
            for x in range(TILE_X):
                dx = f4(x) - mx
                power = max(ha * dx * dx + bd * dx + cd, ZERO)
                a = min(opacity * _exp_neg(min(power, MAX_POWER)), MAX_ALPHA)
                a = a if (a >= MIN_ALPHA) & (power < MAX_POWER) else ZERO
                trans = line[TRANS, x]
                w = a * trans * line[LIVE, x]
                live = ONE if trans - w > MIN_TRANSMITTANCE else ZERO
                w *= live
                line[LIVE, x] *= live
                line[TRANS, x] = trans - w
                line[T_RED, x] += w * cr
                line[T_GREEN, x] += w * cg
                line[T_BLUE, x] += w * cb
                line[T_DEPTH, x] += w * z
                line[LATEST, x] = rank if w > ZERO else line[LATEST, x]
        if (k & 15) == 15 and state[:, LIVE].max() == ZERO:
            break
    for y in range(rows):
        for x in range(columns):
            out = image[y0 + y, x0 + x]
            for c in range(4):
                out[c] = state[y, T_RED + c, x]
            out[4] = state[y, TRANS, x]
            last[y0 + y, x0 + x] = np.int32(state[y, LATEST, x])


@njit(nogil=True, cache=True, fastmath=FAST)
def forward(means, scales, quats, opacities, colors, source, jobs, views, bands, image, last, first, stop):
    """Draws items first to stop (item = view * bands + band) of jobs [J,4], views [J,16] into image and last.

    image [J,H,W,5] holds RGB, sum of weight * z, transmittance; last [J,H,W], which `backward` needs, the rank in its
    tile's list of the last Gaussian that a pixel took, -1 for none. Floats are float32; source [N] and jobs int64.
    """
    height, width = image.shape[1], image.shape[2]
    for item in range(first, stop):
        view = item // bands
        band = _band_of(item, bands, height)
        splats, rect, _, offset, ids, tiles_x, tiles_y = _prepare(
            means, scales, quats, opacities, colors, source, jobs[view], views[view], width, height, band
        )
        for tile in range(tiles_x * tiles_y):
            x0, y0 = (tile % tiles_x) * TILE_X, band[0] + (tile // tiles_x) * TILE_Y
            tile_ids = ids[offset[tile] : offset[tile + 1]]
            _composite(splats, rect, tile_ids, x0, y0, width, band[1], image[view], last[view])


@njit(error_model="numpy", fastmath=FAST)
def _composite_backward(splats, rect, ids, x0, y0, width, y_end, image, last, d_image, d_splats):
    """Adds one tile's part of the gradient of the splats (columns as theirs) to d_splats [n,10].

    Walks back to front: BEHIND = sum over what lies behind of weight * <d_image, feature>, the transmittance that
    reached a splat is recovered by dividing by 1 - alpha. What a row of pixels adds is stored behind its fields and
    summed down the rows: the moments in y of d_power, the gradient of the power, and weight * d_image.
    """
    state = np.zeros((TILE_Y, FIELDS + SUMS, TILE_X), f4)
    flat, sums = state.reshape(TILE_Y, (FIELDS + SUMS) * TILE_X), np.empty(SUMS * TILE_X, f4)
    state[:, TRANS], state[:, LATEST] = ONE, -ONE
    deepest = -1
    for y in range(min(TILE_Y, y_end - y0)):
        for x in range(min(TILE_X, width - x0)):
            d = d_image[y0 + y, x0 + x]
            state[y, TRANS, x], state[y, LATEST, x] = image[y0 + y, x0 + x, 4], f4(last[y0 + y, x0 + x])
            for c in range(4):
                state[y, T_RED + c, x] = d[c]
            state[y, BEHIND, x] = d[4] * image[y0 + y, x0 + x, 4]
            deepest = max(deepest, last[y0 + y, x0 + x])
    for k in range(deepest, -1, -1):
        s, rank = splats[ids[k]], f4(k)
        mx, my = s[MX] - f4(x0) - HALF, s[MY] - f4(y0) - HALF
        qa, b, qc, opacity, z = s[QA], s[QB], s[QC], s[OP], s[Z]
        ha, hc, cr, cg, cb = HALF * qa, HALF * qc, s[RED], s[GREEN], s[BLUE]
        first, end = max(rect[ids[k], 2] - y0, 0), min(rect[ids[k], 3] - y0, TILE_Y)
        for y in range(first, end):
            dy, line = f4(y) - my, state[y]
            bd, cd = b * dy, hc * dy * dy
            for x in range(TILE_X):
                dx = f4(x) - mx
                power = max(ha * dx * dx + bd * dx + cd, ZERO)
                free = opacity * _exp_neg(min(power, MAX_POWER))
                a = min(free, MAX_ALPHA)
                a = a if (a >= MIN_ALPHA) & (power < MAX_POWER) & (rank <= line[LATEST, x]) else ZERO
                inverse = ONE / (ONE - a)
                reached = line[TRANS, x] * inverse
                line[TRANS, x] = reached
                w = a * reached
                dr, dg, db, dd = line[T_RED, x], line[T_GREEN, x], line[T_BLUE, x], line[T_DEPTH, x]
                value = dr * cr + dg * cg + db * cb + dd * z
                d_alpha = reached * value - line[BEHIND, x] * inverse
                line[BEHIND, x] += w * value
                d_power = -a * d_alpha if (a > ZERO) & (free <= MAX_ALPHA) else ZERO
                line[FIELDS, x] = d_power
                line[FIELDS + 1, x] = d_power * dy
                line[FIELDS + 2, x] = d_power * dy * dy
                line[FIELDS + 3, x] = w * dd
                line[FIELDS + 4, x] = w * dr
                line[FIELDS + 5, x] = w * dg
                line[FIELDS + 6, x] = w * db
        sums[:] = ZERO
        for y in range(first, end):
            for j in range(SUMS * TILE_X):
                sums[j] += flat[y, FIELDS * TILE_X + j]
        p, px, py, pxx, pxy, pyy = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
        for x in range(TILE_X):
            dx = f4(x) - mx
            p += sums[x]
            px += sums[x] * dx
            pxx += sums[x] * dx * dx
            py += sums[TILE_X + x]
            pxy += sums[TILE_X + x] * dx
            pyy += sums[2 * TILE_X + x]
        out = d_splats[ids[k]]
        out[MX] -= qa * px + b * py
        out[MY] -= b * px + qc * py
        out[QA] += HALF * pxx
        out[QB] += pxy
        out[QC] += HALF * pyy
        out[OP] -= p / opacity
        for c in range(4):
            out[Z + c] += sums[(3 + c) * TILE_X : (4 + c) * TILE_X].sum()


@njit(error_model="numpy", fastmath=FAST)
def _project_backward(means, scales, quats, i, v, width, height, splat, d, out):
    """Gradient row `out` [14] of Gaussian i from the gradient d [10] of its projection `splat` [10]."""
    # Inverse covariance Q to covariance: dC = -Q dQ Q, with the off-diagonal gradient split over both entries.
    qa, qb, qc, half = splat[QA], splat[QB], splat[QC], HALF * d[QB]
    p00, p01 = qa * d[QA] + qb * half, qa * half + qb * d[QC]
    p10, p11 = qb * d[QA] + qc * half, qb * half + qc * d[QC]
    d00, d01, d11 = -(p00 * qa + p01 * qb), -(p00 * qb + p01 * qc), -(p10 * qb + p11 * qc)
    # Covariance = A A^T with A = J W R S, column by column.
    x, y, z = _camera_point(v, means, i)
    iz = ONE / z
    rx, ry = x * iz, y * iz
    j00, j02, j11, j12, free_x, free_y = _jacobian(v, x, y, z, width, height)
    rot, qw, qx, qy, qz, n = _rotation(quats, i)
    dj00, dj02, dj11, dj12 = ZERO, ZERO, ZERO, ZERO
    gw, gx, gy, gz = ZERO, ZERO, ZERO, ZERO
    for k in range(3):
        s = scales[i, k]
        r0, r1, r2 = rot[k], rot[3 + k], rot[6 + k]
        u0 = (v[0] * r0 + v[1] * r1 + v[2] * r2) * s
        u1 = (v[4] * r0 + v[5] * r1 + v[6] * r2) * s
        u2 = (v[8] * r0 + v[9] * r1 + v[10] * r2) * s
        a0, a1 = j00 * u0 + j02 * u2, j11 * u1 + j12 * u2
        da0, da1 = TWO * (d00 * a0 + d01 * a1), TWO * (d01 * a0 + d11 * a1)
        dj00, dj02 = dj00 + da0 * u0, dj02 + da0 * u2
        dj11, dj12 = dj11 + da1 * u1, dj12 + da1 * u2
        du0, du1, du2 = j00 * da0, j11 * da1, j02 * da0 + j12 * da1
        n0 = v[0] * du0 + v[4] * du1 + v[8] * du2
        n1 = v[1] * du0 + v[5] * du1 + v[9] * du2
        n2 = v[2] * du0 + v[6] * du1 + v[10] * du2
        out[D_SCALE + k] = n0 * r0 + n1 * r1 + n2 * r2
        # Column k of R is e + 2 w (u x e) + 2 (u (u.e) - e (u.u)) for the quaternion (w, u) and unit vector e.
        n0, n1, n2 = TWO * s * n0, TWO * s * n1, TWO * s * n2
        ex, ey, ez = f4(k == 0), f4(k == 1), f4(k == 2)
        qe, ne, nq = ex * qx + ey * qy + ez * qz, ex * n0 + ey * n1 + ez * n2, n0 * qx + n1 * qy + n2 * qz
        gw += ex * (n1 * qz - n2 * qy) + ey * (n2 * qx - n0 * qz) + ez * (n0 * qy - n1 * qx)
        gx += qw * (ey * n2 - ez * n1) + n0 * qe + ex * nq - TWO * qx * ne
        gy += qw * (ez * n0 - ex * n2) + n1 * qe + ey * nq - TWO * qy * ne
        gz += qw * (ex * n1 - ey * n0) + n2 * qe + ez * nq - TWO * qz * ne
    along = gw * qw + gx * qx + gy * qy + gz * qz
    out[D_QUAT], out[D_QUAT + 1] = n * (gw - along * qw), n * (gx - along * qx)
    out[D_QUAT + 2], out[D_QUAT + 3] = n * (gy - along * qy), n * (gz - along * qz)
    # Camera point: through the screen mean, the depth and the Jacobian.
    dx, dy = d[MX] * v[FX] * iz, d[MY] * v[FY] * iz
    dz = d[Z] - (d[MX] * v[FX] * rx + d[MY] * v[FY] * ry) * iz
    dz -= (dj00 * j00 + dj11 * j11 + dj02 * j02 + dj12 * j12) * iz
    d_rx, d_ry = free_x * v[FX] * iz * iz * dj02, free_y * v[FY] * iz * iz * dj12
    dx, dy, dz = dx - d_rx, dy - d_ry, dz + d_rx * rx + d_ry * ry
    for c in range(3):
        out[D_MEAN + c] = v[c] * dx + v[4 + c] * dy + v[8 + c] * dz
        out[D_COLOR + c] = d[RED + c]
    out[D_OPACITY] = d[OP]


@njit(nogil=True, cache=True, fastmath=FAST)
def backward(
    means, scales, quats, opacities, colors, source, jobs, views, bands, image, last, first, stop, d_image, rows, parts
):
    """Gradient of `forward` item by item: the rows parts[rows[item] + j], zero at first, of its job's j-th Gaussian.

    d_image [J,H,W,5] is the gradient of image; rows [J * bands] int64; parts [R,14] by the columns D_*.
    """
    height, width = image.shape[1], image.shape[2]
    for item in range(first, stop):
        view = item // bands
        band = _band_of(item, bands, height)
        splats, rect, index, offset, ids, tiles_x, tiles_y = _prepare(
            means, scales, quats, opacities, colors, source, jobs[view], views[view], width, height, band
        )
        d_splats = np.zeros(splats.shape, f4)
        for tile in range(tiles_x * tiles_y):
            x0, y0 = (tile % tiles_x) * TILE_X, band[0] + (tile // tiles_x) * TILE_Y
            tile_ids = ids[offset[tile] : offset[tile + 1]]
            _composite_backward(
                splats, rect, tile_ids, x0, y0, width, band[1], image[view], last[view], d_image[view], d_splats
            )
        for k in range(len(splats)):
            row = rows[item] + index[k] - jobs[view, START]
            _project_backward(
                means, scales, quats, index[k], views[view], width, height, splats[k], d_splats[k], parts[row]
            )
