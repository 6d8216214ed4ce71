"""Ray tracer of the tiny world: planes, boxes, spheres and cylinders with band-limited textures, one numba kernel.

All state arrives per frame, so that the kernel knows nothing of time, scenes or defects.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

SKY_DEPTH = 12.0
CLOUD_Y = -0.9
CEILING_Y = -0.70
OBJECT_FIELDS = 13  # present, shape, x, y, z, half, half height, half depth, yaw, texture offset, r, g, b
STAGE_FIELDS = 24
# stage: 0 pattern, 1 open air, 2 wall z, 3 wall x, 4-6 floor tone a, 7-9 floor tone b, 10-12 wall tone a, 13-15 wall
# tone b, 16-17 floor offset x z, 18 wall offset, 19 wave phase, 20 bend amplitude (image widths), 21 bend frequency,
# 22 bend phase, 23 clip fraction


@nb.njit(fastmath=True, inline="always")
def _soft(x: float, gain: float) -> float:
    """A square wave with soft edges in [0, 1]."""
    v = math.sin(x) * gain
    return 0.5 + 0.5 * min(1.0, max(-1.0, v))


@nb.njit(fastmath=True)
def _pattern(kind: int, u: float, w: float) -> float:
    """Texture value in [0, 1]; a slow aperiodic wave breaks the period so that places can be told apart."""
    slow = 0.5 + 0.25 * math.sin(2.3 * u + 1.1 * w + 0.4) + 0.25 * math.sin(1.7 * w - 0.9 * u + 2.0)
    if kind == 0:
        a = _soft(u * math.pi / 0.30, 2.5)
        b = _soft(w * math.pi / 0.30, 2.5)
        fine = a * b + (1 - a) * (1 - b)
    elif kind == 1:
        fine = _soft((u + 0.3 * w) * math.pi / 0.22, 1.8)
    elif kind == 2:
        fine = max(_soft(u * math.pi / 0.24 + 0.7, 2.0), _soft(w * math.pi / 0.24, 2.0))
    else:
        fine = _soft(u * math.pi / 0.22, 1.6) * _soft(w * math.pi / 0.22, 1.6)
    return 0.72 * fine + 0.28 * slow


@nb.njit(fastmath=True)
def _hit_object(obj: np.ndarray, ox: float, oy: float, oz: float, dx: float, dy: float, dz: float):  # type: ignore[no-untyped-def]
    """Nearest positive hit of a ray: (distance or -1, local point x y z in half sizes, face normal axis)."""
    ca = math.cos(obj[8])
    sa = math.sin(obj[8])
    ax = ox - obj[2]
    ay = oy - obj[3]
    az = oz - obj[4]
    px = (ca * ax + sa * az) / obj[5]
    py = ay / obj[6]
    pz = (-sa * ax + ca * az) / obj[7]
    ex = (ca * dx + sa * dz) / obj[5]
    ey = dy / obj[6]
    ez = (-sa * dx + ca * dz) / obj[7]
    shape = int(obj[1])
    hit = -1.0
    axis = 2
    if shape == 1:
        a = ex * ex + ey * ey + ez * ez
        b = px * ex + py * ey + pz * ez
        c = px * px + py * py + pz * pz - 1
        disc = b * b - a * c
        if disc > 0:
            k = (-b - math.sqrt(disc)) / a
            if k > 0:
                hit = k
    else:
        near = -1e9
        far = 1e9
        if abs(ey) < 1e-9:
            ey = 1e-9
        ta = (-1 - py) / ey
        tb = (1 - py) / ey
        near = min(ta, tb)
        far = max(ta, tb)
        axis = 1
        if shape == 0:
            if abs(ex) < 1e-9:
                ex = 1e-9
            if abs(ez) < 1e-9:
                ez = 1e-9
            ta = (-1 - px) / ex
            tb = (1 - px) / ex
            if min(ta, tb) > near:
                near = min(ta, tb)
                axis = 0
            far = min(far, max(ta, tb))
            ta = (-1 - pz) / ez
            tb = (1 - pz) / ez
            if min(ta, tb) > near:
                near = min(ta, tb)
                axis = 2
            far = min(far, max(ta, tb))
        else:
            a = ex * ex + ez * ez
            b = px * ex + pz * ez
            disc = b * b - a * (px * px + pz * pz - 1)
            if disc <= 0:
                far = -1e9
            else:
                root = math.sqrt(disc)
                if (-b - root) / a > near:
                    near = (-b - root) / a
                    axis = 2
                far = min(far, (-b + root) / a)
        if near < far and near > 0:
            hit = near
    return hit, px + hit * ex, py + hit * ey, pz + hit * ez, axis


@nb.njit(fastmath=True)
def _shade_object(obj: np.ndarray, px: float, py: float, pz: float, axis: int):  # type: ignore[no-untyped-def]
    """Brightness of a surface point: fixed light from above left, and soft bands of texture."""
    shape = int(obj[1])
    if shape == 0:
        light = 0.72
        if axis == 1:
            light = 1.0
        elif axis == 2:
            light = 0.88
        u = pz if axis == 0 else px
        band = _soft((u + obj[9]) * 2.6 + 0.5, 1.5)
    else:
        light = 0.80 - 0.25 * py if shape == 1 else (1.0 if axis == 1 else 0.80 - 0.15 * px)
        band = _soft((math.atan2(px, -pz) + obj[9]) * 2.0, 1.5)
        if shape == 2 and axis == 1:
            band = 1.0
    return light * (0.68 + 0.32 * band)


@nb.njit(fastmath=True)
def _trace(stage, objects, floor_y, cam, back, u, v, fx, fy, cx, cy, color):  # type: ignore[no-untyped-def]
    """Trace one ray; writes the RGB value and returns (depth, object index + 1 or 0)."""
    dx = (u - cx) / fx
    dy = (v - cy) / fy
    best = 1e9
    wx = back[0, 0] * dx + back[0, 1] * dy + back[0, 2]
    wy = back[1, 0] * dx + back[1, 1] * dy + back[1, 2]
    wz = back[2, 0] * dx + back[2, 1] * dy + back[2, 2]
    ox = back[0, 3]
    oy = back[1, 3]
    oz = back[2, 3]
    kind = int(stage[0])
    open_air = stage[1] > 0.5
    if wy > 1e-6:
        best = (floor_y - oy) / wy
        x = ox + best * wx
        z = oz + best * wz
        shadow = 1.0
        for o in range(objects.shape[0]):
            if objects[o, 0] > 0.5:
                r2 = ((x - objects[o, 2]) ** 2 + (z - objects[o, 4]) ** 2) / (objects[o, 5] * objects[o, 5] * 1.7)
                shadow -= 0.45 * math.exp(-r2)
        wave = 0.10 * math.sin(5.0 * x + stage[19]) if stage[19] != 0.0 else 0.0
        a = _pattern(kind, x + stage[16] + wave, z + stage[17] + stage[19] * 0.08)
        fade = math.exp(-0.35 * max(0.0, best - 1.0)) if open_air else 1.0 / (1.0 + 0.10 * best * best)
        for c in range(3):
            tone = stage[4 + c] * a + stage[7 + c] * (1 - a)
            if open_air:
                tone = tone * fade + stage[13 + c] * (1 - fade)
            else:
                tone *= fade
            color[c] = tone * max(0.3, shadow)
    elif open_air:
        best = (CLOUD_Y - oy) / (wy - 1e-9)
        x = ox + best * wx + stage[18]
        z = oz + best * wz + 0.5 * stage[18]
        a = _soft(2.4 * x + 0.8 * math.sin(1.6 * z), 1.4) * _soft(2.1 * z + 0.9 * math.sin(1.3 * x), 1.4)
        fade = math.exp(-0.30 * max(0.0, best - 1.5))
        for c in range(3):
            tone = stage[10 + c] * (1 - a) + 0.96 * a
            color[c] = tone * fade + stage[13 + c] * (1 - fade)
    else:
        best = (CEILING_Y - oy) / (wy - 1e-9)
        for c in range(3):
            color[c] = 0.80 / (1.0 + 0.06 * best * best)
    if open_air and best > SKY_DEPTH:
        best = SKY_DEPTH
        for c in range(3):
            color[c] = stage[13 + c]
    if not open_air:
        if wz > 1e-6 and (stage[2] - oz) / wz < best:
            best = (stage[2] - oz) / wz
            a = _pattern(kind, 0.75 * (ox + best * wx + stage[18]), 0.75 * (oy + best * wy))
            for c in range(3):
                color[c] = stage[10 + c] * a + stage[13 + c] * (1 - a)
        if abs(wx) > 1e-6:
            k = ((stage[3] if wx > 0 else -stage[3]) - ox) / wx
            if 0 < k < best:
                best = k
                a = _pattern(kind, 0.75 * (oz + k * wz + stage[18]) + 0.4, 0.75 * (oy + k * wy))
                for c in range(3):
                    color[c] = 0.82 * (stage[10 + c] * a + stage[13 + c] * (1 - a))
    wx = cam[0, 0] * dx + cam[0, 1] * dy + cam[0, 2]
    wy = cam[1, 0] * dx + cam[1, 1] * dy + cam[1, 2]
    wz = cam[2, 0] * dx + cam[2, 1] * dy + cam[2, 2]
    which = 0
    for o in range(objects.shape[0]):
        if objects[o, 0] > 0.5:
            hit, px, py, pz, axis = _hit_object(objects[o], cam[0, 3], cam[1, 3], cam[2, 3], wx, wy, wz)
            if 0 < hit < best:
                best = hit
                which = o + 1
                light = _shade_object(objects[o], px, py, pz, axis)
                for c in range(3):
                    color[c] = objects[o, 10 + c] * light
    return best, which


@nb.njit(parallel=True, fastmath=True, cache=True)
def trace_frames(stage, objects, floor_y, cameras, backgrounds, intrinsics, samples, image, depth, mask):  # type: ignore[no-untyped-def]
    """Render F frames into `image` [F,3,H,W], `depth` [F,H,W] along z and `mask` [F,H,W] (object number or 0).

    Args:
        stage: [F, STAGE_FIELDS]; objects: [F, K, OBJECT_FIELDS]; cameras, backgrounds: c2w [F,4,4] for objects and for
            everything else; intrinsics: [3,3] in pixels; samples: n for n x n rays a pixel.
    """
    frames, _, height, width = image.shape
    for f in nb.prange(frames):
        color = np.zeros(3)
        fx = intrinsics[0, 0]
        fy = intrinsics[1, 1]
        bend = stage[f, 20] * min(1.0, 4.0 * stage[f, 23]) * width
        turn = 2.0 * math.pi * stage[f, 21]
        for i in range(height):
            for j in range(width):
                r = 0.0
                g = 0.0
                b = 0.0
                total = 0.0
                votes = 0
                for si in range(samples):
                    for sj in range(samples):
                        v = i + (si + 0.5) / samples
                        u = j + (sj + 0.5) / samples
                        if bend != 0.0:
                            du = bend * math.sin(turn * v / height + stage[f, 22] + 8.0 * stage[f, 23])
                            dv = bend * math.cos(turn * u / width + 1.7 * stage[f, 22] + 7.0 * stage[f, 23])
                            u += du
                            v += dv
                        best, which = _trace(
                            stage[f],
                            objects[f],
                            floor_y,
                            cameras[f],
                            backgrounds[f],
                            u,
                            v,
                            fx,
                            fy,
                            intrinsics[0, 2],
                            intrinsics[1, 2],
                            color,
                        )
                        r += color[0]
                        g += color[1]
                        b += color[2]
                        total += best
                        if which > votes:
                            votes = which
                k = 1.0 / (samples * samples)
                image[f, 0, i, j] = min(1.0, r * k)
                image[f, 1, i, j] = min(1.0, g * k)
                image[f, 2, i, j] = min(1.0, b * k)
                depth[f, i, j] = total * k
                mask[f, i, j] = votes
