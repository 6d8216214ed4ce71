"""Coloured blobs in images: which pixels lie on a colour's shading line, and the largest connected piece of them."""

from __future__ import annotations

import numba as nb
import numpy as np
import numpy.typing as npt

DARKEST, BRIGHTEST = 0.38, 1.12  # of a colour's full brightness; shading and texture of objects stay inside
BLOB_FIELDS = 5  # area, first row, last row, first column, last column


def on_shading_line(images: npt.NDArray[np.float32], color: npt.ArrayLike, tolerance: float) -> npt.NDArray[np.bool_]:
    """Pixels that are the colour under some brightness: within `tolerance` of the line through black and the colour.

    Args:
        images: [N,3,H,W] in [0,1].
        color: RGB at full brightness.
        tolerance: distance from the line relative to the brightness (the tangent of the angle).

    Returns:
        [N,H,W].
    """
    line = np.asarray(color, dtype=np.float32)
    length2 = float(line @ line)
    brightness = np.einsum("nchw,c->nhw", images, line) / length2
    distance2 = np.maximum((images**2).sum(1) - brightness**2 * length2, 0)
    inside = (brightness > DARKEST) & (brightness < BRIGHTEST)
    return np.asarray(inside & (distance2 < (tolerance**2 * length2) * brightness**2))


@nb.njit(cache=True)
def largest_blobs(masks, labels):  # type: ignore[no-untyped-def]
    """Largest 4-connected piece of each mask that does not touch the upper border (where sky and ceiling are).

    Args:
        masks: bool [N,H,W].
        labels: int32 [N,H,W], filled with 1 on the largest piece and 0 elsewhere.

    Returns:
        int32 [N, BLOB_FIELDS]; all zero where there is no such piece.
    """
    n, height, width = masks.shape
    out = np.zeros((n, BLOB_FIELDS), np.int32)
    stack = np.empty((height * width, 2), np.int32)
    seen = np.empty((height, width), np.int32)
    for k in range(n):
        seen[:] = 0
        best_label = 0
        label = 0
        for i in range(height):
            for j in range(width):
                if not masks[k, i, j] or seen[i, j] != 0:
                    continue
                label += 1
                size = 1
                stack[0, 0] = i
                stack[0, 1] = j
                seen[i, j] = label
                area = 0
                first_row, last_row, first_col, last_col = i, i, j, j
                while size > 0:
                    size -= 1
                    a = stack[size, 0]
                    b = stack[size, 1]
                    area += 1
                    first_row, last_row = min(first_row, a), max(last_row, a)
                    first_col, last_col = min(first_col, b), max(last_col, b)
                    for move in range(4):
                        c = a + (move == 0) - (move == 1)
                        d = b + (move == 2) - (move == 3)
                        if 0 <= c < height and 0 <= d < width and masks[k, c, d] and seen[c, d] == 0:
                            seen[c, d] = label
                            stack[size, 0] = c
                            stack[size, 1] = d
                            size += 1
                if first_row > 0 and area > out[k, 0]:
                    best_label = label
                    out[k, 0] = area
                    out[k, 1] = first_row
                    out[k, 2] = last_row
                    out[k, 3] = first_col
                    out[k, 4] = last_col
        for i in range(height):
            for j in range(width):
                labels[k, i, j] = 1 if best_label != 0 and seen[i, j] == best_label else 0
    return out
