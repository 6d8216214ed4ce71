"""Projection of Gaussians to the screen, and its gradient, for the splat kernel (EWA splatting)."""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

import math

import numpy as np
from numba import njit

from worldr1.splats.kernel_layout import (
    B_DMX,
    B_DMY,
    B_DOP,
    B_DQA,
    B_DQB,
    B_DQC,
    B_DZ,
    B_FIELDS,
    B_OPACITY,
    B_QA,
    B_QB,
    B_QC,
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
    ZERO,
    Z,
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


@njit(inline="always", fastmath=FAST)
def _pull_back_axis(v, jacobian, d_cov, r, s, unit, e):
    """What one axis of a Gaussian, the column r of its rotation with scale s, adds to the gradients: that of the scale,
    those of the Jacobian, those of the unit quaternion. e is the axis before the rotation."""
    j00, j02, j11, j12 = jacobian
    qw, qx, qy, qz = unit
    w0 = v[0] * r[0] + v[1] * r[1] + v[2] * r[2]
    w1 = v[4] * r[0] + v[5] * r[1] + v[6] * r[2]
    w2 = v[8] * r[0] + v[9] * r[1] + v[10] * r[2]
    u0, u1, u2 = w0 * s, w1 * s, w2 * s
    a0, a1 = j00 * u0 + j02 * u2, j11 * u1 + j12 * u2
    da0, da1 = 2.0 * (d_cov[0] * a0 + d_cov[1] * a1), 2.0 * (d_cov[1] * a0 + d_cov[2] * a1)
    du0, du1, du2 = j00 * da0, j11 * da1, j02 * da0 + j12 * da1
    t = 2.0 * s
    n0 = t * (v[0] * du0 + v[4] * du1 + v[8] * du2)
    n1 = t * (v[1] * du0 + v[5] * du1 + v[9] * du2)
    n2 = t * (v[2] * du0 + v[6] * du1 + v[10] * du2)
    # The column is e + 2 w (u x e) + 2 (u (u.e) - e (u.u)) for the quaternion (w, u) and unit vector e.
    qe, ne, nq = e[0] * qx + e[1] * qy + e[2] * qz, e[0] * n0 + e[1] * n1 + e[2] * n2, n0 * qx + n1 * qy + n2 * qz
    gw = e[0] * (n1 * qz - n2 * qy) + e[1] * (n2 * qx - n0 * qz) + e[2] * (n0 * qy - n1 * qx)
    gx = qw * (e[1] * n2 - e[2] * n1) + n0 * qe + e[0] * nq - 2.0 * qx * ne
    gy = qw * (e[2] * n0 - e[0] * n2) + n1 * qe + e[1] * nq - 2.0 * qy * ne
    gz = qw * (e[0] * n1 - e[1] * n0) + n2 * qe + e[2] * nq - 2.0 * qz * ne
    return w0 * du0 + w1 * du1 + w2 * du2, (da0 * u0, da0 * u2, da1 * u1, da1 * u2), (gw, gx, gy, gz)


@njit(inline="always", error_model="numpy", fastmath=FAST)
def _pull_back_some(v, width, height, number, some):
    """Gradients of up to LANES Gaussians, in `some` [B_FIELDS] in the places of their means, scales, quaternions and
    opacities. No branches and one array, so that it vectorises, like `_project_some`."""
    limits, fx, fy, fainter = _limits(v, width, height), v[FX], v[FY], v[FAINTER] > 0.0
    for j in range(number):
        # Inverse covariance Q to covariance: dC = -Q dQ Q, with the off-diagonal gradient split over both entries.
        qa, qb, qc = some[B_QA + j], some[B_QB + j], some[B_QC + j]
        da, half, dc = some[B_DQA + j], 0.5 * some[B_DQB + j], some[B_DQC + j]
        p00, p01, p10, p11 = qa * da + qb * half, qa * half + qb * dc, qb * da + qc * half, qb * half + qc * dc
        d00, d01, d11 = -(p00 * qa + p01 * qb), -(p00 * qb + p01 * qc), -(p10 * qb + p11 * qc)
        # Antialiased: d share / dC = share / 2 (S^-1 - Q) with the sharp covariance S = C - BLUR.
        det = qa * qc - qb * qb
        c00, c01, c11 = qc / det, -qb / det, qa / det
        sharp = (c00 - BLUR) * (c11 - BLUR) - c01 * c01
        share = math.sqrt(max(sharp, 0.0) * det) if fainter else 1.0
        d_opacity = share * some[B_DOP + j]
        change = 0.5 * d_opacity * some[B_OPACITY + j] if fainter else 0.0
        over = 1.0 / max(sharp, 1e-30) if fainter else 0.0
        d00 += change * ((c11 - BLUR) * over - qa)
        d01 += change * (-c01 * over - qb)
        d11 += change * ((c00 - BLUR) * over - qc)
        # Covariance = A A^T with A = J W R S, column by column.
        x, y, z = _camera_point(v, some[P_MEAN + j], some[P_MEAN + LANES + j], some[P_MEAN + 2 * LANES + j])
        iz = 1.0 / z
        rx, ry = x * iz, y * iz
        j00, j02, j11, j12 = _jacobian(fx, fy, limits, x, y, z)
        q0, q1 = some[P_QUAT + j], some[P_QUAT + LANES + j]
        rot, qw, qx, qy, qz, n = _rotation(q0, q1, some[P_QUAT + 2 * LANES + j], some[P_QUAT + 3 * LANES + j])
        jacobian, d_cov, unit = (j00, j02, j11, j12), (d00, d01, d11), (qw, qx, qy, qz)
        s0, s1, s2 = some[P_SCALE + j], some[P_SCALE + LANES + j], some[P_SCALE + 2 * LANES + j]
        ds0, dj0, g0 = _pull_back_axis(v, jacobian, d_cov, (rot[0], rot[3], rot[6]), s0, unit, (1.0, 0.0, 0.0))
        ds1, dj1, g1 = _pull_back_axis(v, jacobian, d_cov, (rot[1], rot[4], rot[7]), s1, unit, (0.0, 1.0, 0.0))
        ds2, dj2, g2 = _pull_back_axis(v, jacobian, d_cov, (rot[2], rot[5], rot[8]), s2, unit, (0.0, 0.0, 1.0))
        some[P_SCALE + j], some[P_SCALE + LANES + j], some[P_SCALE + 2 * LANES + j] = ds0, ds1, ds2
        dj00, dj02 = dj0[0] + dj1[0] + dj2[0], dj0[1] + dj1[1] + dj2[1]
        dj11, dj12 = dj0[2] + dj1[2] + dj2[2], dj0[3] + dj1[3] + dj2[3]
        gw, gx, gy, gz = g0[0] + g1[0] + g2[0], g0[1] + g1[1] + g2[1], g0[2] + g1[2] + g2[2], g0[3] + g1[3] + g2[3]
        along = gw * qw + gx * qx + gy * qy + gz * qz
        some[P_QUAT + j], some[P_QUAT + LANES + j] = n * (gw - along * qw), n * (gx - along * qx)
        some[P_QUAT + 2 * LANES + j], some[P_QUAT + 3 * LANES + j] = n * (gy - along * qy), n * (gz - along * qz)
        # Camera point: through the screen mean, the depth and the Jacobian.
        dx, dy = some[B_DMX + j] * fx * iz, some[B_DMY + j] * fy * iz
        dz = some[B_DZ + j] - dx * rx - dy * ry
        dz -= (dj00 * j00 + dj11 * j11 + dj02 * j02 + dj12 * j12) * iz
        d_rx = fx * iz * iz * dj02 if (rx >= limits[0]) & (rx <= limits[1]) else 0.0
        d_ry = fy * iz * iz * dj12 if (ry >= limits[2]) & (ry <= limits[3]) else 0.0
        dx, dy, dz = dx - d_rx, dy - d_ry, dz + d_rx * rx + d_ry * ry
        some[P_MEAN + j] = v[0] * dx + v[4] * dy + v[8] * dz
        some[P_MEAN + LANES + j] = v[1] * dx + v[5] * dy + v[9] * dz
        some[P_MEAN + 2 * LANES + j] = v[2] * dx + v[6] * dy + v[10] * dz
        some[B_OPACITY + j] = d_opacity


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def project_backward(scene, index, v, width, height, splats, d_splats, first, out):
    """Gradient of `project`: out[index[k] + first], 14 columns D_*, from that of splats[k], d_splats[k] [n,SPLAT]."""
    means, scales, quats, opacities = scene[:4]
    some = np.empty(B_FIELDS)
    for start in range(0, len(splats), LANES):
        number = min(LANES, len(splats) - start)
        for j in range(number):
            i, s, d = index[start + j], splats[start + j], d_splats[start + j]
            for c in range(3):
                some[P_MEAN + c * LANES + j], some[P_SCALE + c * LANES + j] = means[i, c], scales[i, c]
                some[B_QA + c * LANES + j], some[B_DQA + c * LANES + j] = s[QA + c], d[QA + c]
            for c in range(4):
                some[P_QUAT + c * LANES + j] = quats[i, c]
            some[B_OPACITY + j], some[B_DOP + j], some[B_DZ + j] = opacities[i], d[OP], d[Z]
            some[B_DMX + j], some[B_DMY + j] = d[MX], d[MY]
        _pull_back_some(v, width, height, number, some)
        for j in range(number):
            row, d = out[index[start + j] + first], d_splats[start + j]
            for c in range(3):
                row[D_MEAN + c], row[D_SCALE + c] = some[P_MEAN + c * LANES + j], some[P_SCALE + c * LANES + j]
                row[D_COLOR + c] = d[RED + c]
            for c in range(4):
                row[D_QUAT + c] = some[P_QUAT + c * LANES + j]
            row[D_OPACITY] = some[B_OPACITY + j]
