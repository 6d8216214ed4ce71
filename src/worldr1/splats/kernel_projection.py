"""Projection of Gaussians to the screen, and its gradient, for the splat kernel (EWA splatting)."""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

import math

import numpy as np
from numba import njit

from worldr1.splats.kernel_layout import (
    BLUE,
    BLUR,
    COLOR_START,
    COUNT,
    CX,
    CY,
    D_COLOR,
    D_MEAN,
    D_OPACITY,
    D_QUAT,
    D_SCALE,
    EXCLUDE,
    FAINTER,
    FAR_PIXELS,
    FAST,
    FX,
    FY,
    GREEN,
    HALF,
    LANES,
    MIN_ALPHA,
    MX,
    MY,
    NEAR,
    OP,
    P_00,
    P_01,
    P_11,
    P_FIELDS,
    P_MEAN,
    P_QUAT,
    P_SCALE,
    P_X,
    P_Y,
    P_Z,
    PART_X,
    PART_Y,
    QA,
    QB,
    QC,
    RED,
    START,
    TWO,
    ZERO,
    Z,
    f4,
)


@njit(inline="always", fastmath=FAST)
def _rotation(w, x, y, z):
    """Rotation matrix of a quaternion by rows, then the unit quaternion and 1/length."""
    n = 1.0 / math.sqrt(max(w * w + x * x + y * y + z * z, 1e-24))
    w, x, y, z = w * n, x * n, y * n, z * n
    first = (1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y))
    second = (2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x))
    third = (2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y))
    return first + second + third, w, x, y, z, n


@njit(inline="always", fastmath=FAST)
def _camera_point(v, x, y, z):
    return (
        v[0] * x + v[1] * y + v[2] * z + v[3],
        v[4] * x + v[5] * y + v[6] * z + v[7],
        v[8] * x + v[9] * y + v[10] * z + v[11],
    )


@njit(inline="always", fastmath=FAST)
def _limits(v, width, height):
    """Least and most x/z, then y/z, for which the projection is linearised: 15% of the image beyond its borders, as
    gsplat does."""
    x, y = 0.15 * width, 0.15 * height
    return (-v[CX] - x) / v[FX], (width + x - v[CX]) / v[FX], (-v[CY] - y) / v[FY], (height + y - v[CY]) / v[FY]


@njit(inline="always", fastmath=FAST)
def _jacobian(fx, fy, limits, x, y, z):
    """d(screen)/d(camera point) as j00, j02, j11, j12."""
    iz = 1.0 / z
    rx, ry = x * iz, y * iz
    tx, ty = min(max(rx, limits[0]), limits[1]), min(max(ry, limits[2]), limits[3])
    return fx * iz, -fx * tx * iz, fy * iz, -fy * ty * iz


@njit(inline="always", error_model="numpy", fastmath=FAST)
def _project_some(means, scales, quats, first, number, v, width, height, some):
    """Screen centres, depths and screen covariances, in `some` [P_FIELDS], of up to LANES Gaussians from `first` on.

    The second loop has no branches and meets one array only, so that it vectorises. It counts in float64, because a
    centre 800 pixels away has float32 digits of 6e-5.
    """
    for j in range(number):
        for c in range(3):
            some[P_MEAN + c * LANES + j], some[P_SCALE + c * LANES + j] = means[first + j, c], scales[first + j, c]
        for c in range(4):
            some[P_QUAT + c * LANES + j] = quats[first + j, c]
    limits, fx, fy, cx, cy = _limits(v, width, height), v[FX], v[FY], v[CX], v[CY]
    for j in range(number):
        x, y, z = _camera_point(v, some[P_MEAN + j], some[P_MEAN + LANES + j], some[P_MEAN + 2 * LANES + j])
        j00, j02, j11, j12 = _jacobian(fx, fy, limits, x, y, z)
        a0, a1, a2 = j00 * v[0] + j02 * v[8], j00 * v[1] + j02 * v[9], j00 * v[2] + j02 * v[10]
        b0, b1, b2 = j11 * v[4] + j12 * v[8], j11 * v[5] + j12 * v[9], j11 * v[6] + j12 * v[10]
        q0, q1 = some[P_QUAT + j], some[P_QUAT + LANES + j]
        r, _, _, _, _, _ = _rotation(q0, q1, some[P_QUAT + 2 * LANES + j], some[P_QUAT + 3 * LANES + j])
        s0, s1, s2 = some[P_SCALE + j], some[P_SCALE + LANES + j], some[P_SCALE + 2 * LANES + j]
        u0, w0 = (a0 * r[0] + a1 * r[3] + a2 * r[6]) * s0, (b0 * r[0] + b1 * r[3] + b2 * r[6]) * s0
        u1, w1 = (a0 * r[1] + a1 * r[4] + a2 * r[7]) * s1, (b0 * r[1] + b1 * r[4] + b2 * r[7]) * s1
        u2, w2 = (a0 * r[2] + a1 * r[5] + a2 * r[8]) * s2, (b0 * r[2] + b1 * r[5] + b2 * r[8]) * s2
        some[P_X + j], some[P_Y + j], some[P_Z + j] = j00 * x + cx, j11 * y + cy, z
        some[P_00 + j] = BLUR + u0 * u0 + u1 * u1 + u2 * u2
        some[P_01 + j] = u0 * w0 + u1 * w1 + u2 * w2
        some[P_11 + j] = BLUR + w0 * w0 + w1 * w1 + w2 * w2


@njit(inline="always", error_model="numpy", fastmath=FAST)
def _share(v, c00, c01, c11, det):
    """What is left of the opacity under a screen covariance that the blur has widened: 1, or as its area has grown."""
    sharp = (c00 - BLUR) * (c11 - BLUR) - c01 * c01
    return math.sqrt(max(sharp, 0.0) / det) if v[FAINTER] > 0.0 else 1.0


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def project(scene, job, v, width, height, band, out, rect, index):
    """Projects the Gaussians of one job; keeps those that can reach rows band[0] to band[1]. Returns their number.

    out [n,SPLAT] by the columns of a projected Gaussian; rect [n,4] pixels x0, x1, y0, y1; index [n] row in `means`.
    """
    means, scales, quats, opacities, reach, colors, source = scene
    kept, some = 0, np.empty(P_FIELDS)
    for start in range(0, job[COUNT], LANES):
        number = min(LANES, job[COUNT] - start)
        _project_some(means, scales, quats, job[START] + start, number, v, width, height, some)
        for j in range(number):
            i = job[START] + start + j
            mx, my = some[P_X + j], some[P_Y + j]
            if not (reach[i] > ZERO and some[P_Z + j] > NEAR and abs(mx) < FAR_PIXELS and abs(my) < FAR_PIXELS):
                continue
            if job[EXCLUDE] >= 0 and source[i] == job[EXCLUDE]:
                continue
            c00, c01, c11 = some[P_00 + j], some[P_01 + j], some[P_11 + j]
            rx, ry = min(reach[i] * math.sqrt(c00), FAR_PIXELS), min(reach[i] * math.sqrt(c11), FAR_PIXELS)
            x0, x1 = max(math.floor(mx - rx - 0.5), 0), min(math.ceil(mx + rx - 0.5) + 1, width)
            y0, y1 = max(math.floor(my - ry - 0.5), band[0]), min(math.ceil(my + ry - 0.5) + 1, band[1])
            det = c00 * c11 - c01 * c01
            opacity = opacities[i] * _share(v, c00, c01, c11, det)
            if x1 <= x0 or y1 <= y0 or not det > 0.0 or opacity < MIN_ALPHA:
                continue
            row, box, color = out[kept], rect[kept], job[COLOR_START] + start + j
            row[MX], row[MY] = math.floor(mx), math.floor(my)
            row[PART_X], row[PART_Y] = mx - math.floor(mx), my - math.floor(my)
            row[OP], row[Z] = opacity, some[P_Z + j]
            row[QA], row[QB], row[QC] = c11 / det, -c01 / det, c00 / det
            row[RED], row[GREEN], row[BLUE] = colors[color, 0], colors[color, 1], colors[color, 2]
            box[0], box[1], box[2], box[3] = x0, x1, y0, y1
            index[kept] = i
            kept += 1
    return kept


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def project_backward(scene, i, v, width, height, splat, d, out):
    """Gradient row `out` [14] of Gaussian i from the gradient d [SPLAT] of its projection `splat` [SPLAT]."""
    means, scales, quats, opacities = scene[:4]
    # Inverse covariance Q to covariance: dC = -Q dQ Q, with the off-diagonal gradient split over both entries.
    qa, qb, qc, half = splat[QA], splat[QB], splat[QC], HALF * d[QB]
    p00, p01 = qa * d[QA] + qb * half, qa * half + qb * d[QC]
    p10, p11 = qb * d[QA] + qc * half, qb * half + qc * d[QC]
    d00, d01, d11 = -(p00 * qa + p01 * qb), -(p00 * qb + p01 * qc), -(p10 * qb + p11 * qc)
    share, det = 1.0, np.float64(qa) * qc - np.float64(qb) * qb
    if v[FAINTER] > 0.0:
        c00, c01, c11 = qc / det, -qb / det, qa / det
        share = _share(v, c00, c01, c11, 1.0 / det)
        # d share / dC = share / 2 (S^-1 - Q) with the sharp covariance S = C - BLUR.
        sharp, change = (c00 - BLUR) * (c11 - BLUR) - c01 * c01, HALF * share * d[OP] * opacities[i]
        d00 += change * ((c11 - BLUR) / sharp - qa)
        d01 += change * (-c01 / sharp - qb)
        d11 += change * ((c00 - BLUR) / sharp - qc)
    # Covariance = A A^T with A = J W R S, column by column.
    x, y, z = _camera_point(v, means[i, 0], means[i, 1], means[i, 2])
    iz = 1.0 / z
    rx, ry = x * iz, y * iz
    limits = _limits(v, width, height)
    j00, j02, j11, j12 = _jacobian(v[FX], v[FY], limits, x, y, z)
    free_x, free_y = f4(limits[0] <= rx <= limits[1]), f4(limits[2] <= ry <= limits[3])
    rot, qw, qx, qy, qz, n = _rotation(
        np.float64(quats[i, 0]), np.float64(quats[i, 1]), np.float64(quats[i, 2]), np.float64(quats[i, 3])
    )
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
    out[D_OPACITY] = share * d[OP]
