"""Constants and columns of the splat kernel's arrays. The conventions are gsplat's.

EWA projection, 0.3 px^2 added to the screen covariance, alpha below 1/255 skipped and clamped at 0.99, a pixel closed
before its transmittance falls to 1e-4.
"""

from __future__ import annotations

import numpy as np

f4 = np.float32
ZERO, HALF, ONE, TWO = f4(0), f4(0.5), f4(1), f4(2)
TILE_X, TILE_Y = 8, 16
NEAR = 0.01
BLUR = 0.3
MAX_ALPHA = f4(0.99)
MIN_ALPHA = f4(1 / 255)
MIN_TRANSMITTANCE = f4(1e-4)
MAX_POWER = f4(8)
FAR_PIXELS = 1e6
# Floating-point freedoms that let loops vectorise; not "nnan" or "ninf", so that comparisons still catch bad values.
FAST = {"reassoc", "contract", "arcp", "nsz", "afn"}

# Columns of a projected Gaussian: whole and broken part of its centre in pixels, inverse screen covariance, ...
MX, MY, PART_X, PART_Y, QA, QB, QC, OP, Z, RED, GREEN, BLUE, SPLAT = range(13)
# Gaussians that are projected together, and where in one array each field of theirs begins: mean, scale, quaternion;
# then, in their places, screen centre, depth and screen covariance.
LANES = 64
P_MEAN, P_SCALE, P_QUAT, P_FIELDS = 0, 3 * LANES, 6 * LANES, 10 * LANES
P_X, P_Y, P_Z, P_00, P_01, P_11 = range(0, 6 * LANES, LANES)
# What the gradient needs behind mean, scale and quaternion: opacity, inverse covariance, and gradients of the splat.
B_OPACITY, B_QA, B_QB, B_QC, B_DMX, B_DMY, B_DQA, B_DQB, B_DQC, B_DOP, B_DZ, B_FIELDS = range(
    P_FIELDS, P_FIELDS + 12 * LANES, LANES
)
# Columns of a view: world-to-camera rotation and translation by rows (0..11), then fx, fy, cx, cy, and 1 where small
# Gaussians get fainter as the blur widens them (antialiased), else 0.
FX, FY, CX, CY, FAINTER = range(12, 17)
# Columns of a gradient row: means, scales, quats, opacity, colour.
D_MEAN, D_SCALE, D_QUAT, D_OPACITY, D_COLOR, D_COUNT = 0, 3, 6, 10, 11, 14
# Fields of a row of pixels while a tile is composited.
TRANS, LATEST, T_RED, T_GREEN, T_BLUE, T_DEPTH, FIELDS = range(7)
BEHIND, ROW_SUMS, SUMS = FIELDS, FIELDS + 1, 7
# Columns of a job: first Gaussian, number of Gaussians, first colour row, source to leave out (-1: none).
START, COUNT, COLOR_START, EXCLUDE = range(4)
