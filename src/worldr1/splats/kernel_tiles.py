"""What the splat kernel does with one tile: compositing front to back, and its gradient back to front."""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

import numpy as np
from numba import njit

from worldr1.splats.kernel_layout import (
    BEHIND,
    BLUE,
    FAST,
    FIELDS,
    GREEN,
    HALF,
    LATEST,
    MAX_ALPHA,
    MAX_POWER,
    MIN_ALPHA,
    MIN_TRANSMITTANCE,
    MX,
    MY,
    ONE,
    OP,
    PART_X,
    PART_Y,
    QA,
    QB,
    QC,
    RED,
    ROW_SUMS,
    SUMS,
    T_BLUE,
    T_DEPTH,
    T_GREEN,
    T_RED,
    TILE_X,
    TILE_Y,
    TRANS,
    ZERO,
    Z,
    f4,
)


@njit(inline="always", fastmath=FAST)
def _exp_neg(s):
    """exp(-s) for s in [0,8]: the polynomial that comes closest to exp(-s/8), squared thrice; relative error 2e-6."""
    y = s * f4(1 / 8)
    p = f4(0.04117682636) - y * (f4(0.007614024089) - y * f4(0.000835845931))
    p = f4(0.9999999759) - y * (f4(0.999997903) - y * (f4(0.4999690148) - y * (f4(0.1664902859) - y * p)))
    p *= p
    p *= p
    return p * p


@njit(forceinline=True, fastmath=FAST)
def composite(splats, rect, ids, x0, y0, width, y_end, image, last):
    """Composites the splats `ids` over the tile at (x0, y0) into image [H,W,5] and last [H,W].

    The tile's state is one array, a line of fields per row of pixels: the compiler cannot tell that several arrays do
    not overlap, and then gives vectors up. The transmittance of a pixel that takes no more is negative.
    """
    state = np.zeros((TILE_Y, FIELDS, TILE_X), f4)
    rows, columns = min(TILE_Y, y_end - y0), min(TILE_X, width - x0)
    state[:, TRANS], state[:, LATEST] = -ONE, -ONE
    state[:rows, TRANS, :columns] = ONE
    for k in range(len(ids)):
        s = splats[ids[k]]
        mx, my = (s[MX] - f4(x0)) + (s[PART_X] - HALF), (s[MY] - f4(y0)) + (s[PART_Y] - HALF)
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
                w = a * max(trans, ZERO)
                left = trans - w
                closes = (trans > ZERO) & (left <= MIN_TRANSMITTANCE)
                w = ZERO if closes else w
                line[TRANS, x] = -trans if closes else left
                line[T_RED, x] += w * cr
                line[T_GREEN, x] += w * cg
                line[T_BLUE, x] += w * cb
                line[T_DEPTH, x] += w * z
                line[LATEST, x] = rank if w > ZERO else line[LATEST, x]
        if (k & 15) == 15 and state[:, TRANS].max() < ZERO:
            break
    for y in range(rows):
        for x in range(columns):
            out = image[y0 + y, x0 + x]
            for c in range(4):
                out[c] = state[y, T_RED + c, x]
            out[4] = abs(state[y, TRANS, x])
            last[y0 + y, x0 + x] = np.int32(state[y, LATEST, x])


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def composite_backward(splats, rect, ids, x0, y0, width, y_end, image, last, d_image, d_splats):
    """Adds one tile's part of the gradient of the splats (columns as theirs) to d_splats [n,10].

    Walks back to front: BEHIND = sum over what lies behind of weight * <d_image, feature>, the transmittance that
    reached a splat is recovered by dividing by 1 - alpha. What a row of pixels adds is stored behind its fields and
    summed down the rows: the moments in y of d_power, the gradient of the power, and weight * d_image.
    """
    state = np.zeros((TILE_Y, ROW_SUMS + SUMS, TILE_X), f4)
    flat, sums = state.reshape(TILE_Y, (ROW_SUMS + SUMS) * TILE_X), np.empty(SUMS * TILE_X, f4)
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
        mx, my = (s[MX] - f4(x0)) + (s[PART_X] - HALF), (s[MY] - f4(y0)) + (s[PART_Y] - HALF)
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
                line[ROW_SUMS, x] = d_power
                line[ROW_SUMS + 1, x] = d_power * dy
                line[ROW_SUMS + 2, x] = d_power * dy * dy
                line[ROW_SUMS + 3, x] = w * dd
                line[ROW_SUMS + 4, x] = w * dr
                line[ROW_SUMS + 5, x] = w * dg
                line[ROW_SUMS + 6, x] = w * db
        sums[:] = ZERO
        for y in range(first, end):
            for j in range(SUMS * TILE_X):
                sums[j] += flat[y, ROW_SUMS * TILE_X + j]
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
