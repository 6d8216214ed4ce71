"""Projection of Gaussians to the screen, and its gradient, for the splat kernel (EWA splatting)."""

# mypy: disallow-untyped-defs=False

from __future__ import annotations

import math

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
    FAR_PIXELS,
    FAST,
    FX,
    FY,
    GREEN,
    HALF,
    MIN_ALPHA,
    MX,
    MY,
    NEAR,
    ONE,
    OP,
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


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def project(means, scales, quats, opacities, colors, source, job, v, width, height, band, out, rect, index):
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


@njit(forceinline=True, error_model="numpy", fastmath=FAST)
def project_backward(means, scales, quats, i, v, width, height, splat, d, out):
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
