"""Transport of white noise by the canonical law: every frame looks at the same white grid.

Each frame sees the grid through its own homography from the first frame, so errors do not add up along the clip.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import get_num_threads, njit, prange
from numpy.typing import NDArray

from worldr1.noise.streams import Array, noise_stream, normals

_REACH = 1.5
_SINGULAR = 1e-9


def transport_canonical(
    homographies: NDArray[np.float64], shape: tuple[int, int, int, int], seed: int, upscale: int = 8
) -> Array:
    """Noise of every frame, seen on one white grid over the union of all views.

    One point of each fine cell, drawn once, is mapped forward into each frame; the cell's noise is added to the latent
    cell in which the point lands, and the sums are divided by the root of the count. (Random points and not centres:
    a shift of all centres by 2.4 fine cells would act as one of 2.) A cell that nothing reaches gets fresh noise, as in
    a view more than one and a half frame sizes beside the first, or beyond its horizon. Frame 0 depends on the seed and
    the shape alone.

    Args:
        homographies: ``[T, 3, 3]`` from latent pixels of the first frame to latent pixels of each frame, with positive
            third component in front of the camera.
        shape: ``(C, T, H, W)``.
        seed: any integer.
        upscale: fine cells per latent cell and side.

    Returns:
        ``[C, T, H, W]`` float32.
    """
    channels, frames, height, width = shape
    rows, columns = height * upscale, width * upscale
    boxes = np.stack([_view_box(matrix, height, width, upscale) for matrix in homographies])
    top, left = min(int(boxes[:, 0].min()), 0), min(int(boxes[:, 2].min()), 0)
    size = max(int(boxes[:, 1].max()), rows) - top, max(int(boxes[:, 3].max()), columns) - left
    grid, points = _white_plane(seed, (top, left), size, (rows, columns, channels))
    to_latent = np.ascontiguousarray(homographies @ np.diag([1.0 / upscale, 1.0 / upscale, 1.0]))
    sums, count = np.zeros((frames, height, width, channels), np.float32), np.zeros((frames, height, width), np.int32)
    parts = min(get_num_threads(), frames)
    _gather_views(grid, points, top, left, to_latent, boxes, parts, sums, count)
    if not count.all():
        fresh = normals(seed, 2, sums.shape)
        sums[count == 0] = fresh[count == 0]
    return np.ascontiguousarray(sums.transpose(3, 0, 1, 2))


def _white_plane(
    seed: int, corner: tuple[int, int], size: tuple[int, int], view: tuple[int, int, int]
) -> tuple[Array, Array]:
    """Noise ``[*size, C]`` of the fine cells from ``corner`` on, and a random point ``[*size, 2]`` in each.

    The first view, ``(rows, columns, C)`` from (0, 0) on, and what lies above, below, left and right of it are drawn
    from streams of their own, in threads.
    """
    grid, points = np.empty((*size, view[2]), np.float32), np.empty((*size, 2), np.float32)
    top, left, bottom, right = -corner[0], -corner[1], view[0] - corner[0], view[1] - corner[1]
    areas = {
        0: grid[top:bottom, left:right],
        1: grid[:top],
        5: grid[bottom:],
        6: grid[top:bottom, :left],
        7: grid[top:bottom, right:],
    }

    def draw(stream: int) -> None:
        areas[stream][:] = normals(seed, stream, areas[stream].shape)

    with ThreadPoolExecutor(get_num_threads()) as workers:
        drawn = [workers.submit(draw, stream) for stream in areas]
        noise_stream(seed, 4).random(out=points, dtype=np.float32)
        for one in drawn:
            one.result()
    return grid, points


def _view_box(matrix: NDArray[np.float64], height: int, width: int, upscale: int) -> NDArray[np.int64]:
    """``[top, bottom, left, right)`` of the first frame's fine grid that a view covers, within reach."""
    rows, columns = height * upscale, width * upscale
    lowest = np.array([-_REACH * rows, -_REACH * columns]).astype(np.int64)
    highest = np.array([(1 + _REACH) * rows, (1 + _REACH) * columns]).astype(np.int64)
    if abs(np.linalg.det(matrix)) > _SINGULAR:
        corners = np.linalg.inv(matrix) @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]], float)
        if (corners[2] > _SINGULAR).all():
            places = (corners[:2] / corners[2] * upscale)[::-1]
            first = np.clip(np.floor(places.min(axis=1)) - 1, lowest, highest).astype(np.int64)
            last = np.clip(np.ceil(places.max(axis=1)) + 1, lowest, highest).astype(np.int64)
            lowest, highest = first, last
    return np.array([lowest[0], highest[0], lowest[1], highest[1]])


@njit(parallel=True, fastmath=True, cache=True)  # type: ignore[untyped-decorator]
def _gather_views(grid, points, top, left, to_latent, boxes, parts, out, count):  # type: ignore[no-untyped-def]
    """Noise ``out`` ``[T, H, W, C]``, zero at first, wherever the white ``grid`` reaches, and how many points did.

    As many frames as there are ``parts`` in parallel; a row of the grid is read once for all frames of a part.
    """
    frames, height, width, channels = out.shape
    for part in prange(parts):
        landed = np.empty(grid.shape[1], np.int32)
        for row in range(top, top + grid.shape[0]):
            for frame in range(part, frames, parts):
                if row < boxes[frame, 0] or row >= boxes[frame, 1]:
                    continue
                first, stop = boxes[frame, 2] - left, boxes[frame, 3] - left
                _land(to_latent[frame], points[row - top], row, left, first, stop, height, width, landed)
                sums, counts = out[frame].reshape(height * width, channels), count[frame].reshape(height * width)
                for column in range(first, stop):
                    cell = landed[column]
                    if cell >= 0:
                        counts[cell] += 1
                        for channel in range(channels):
                            sums[cell, channel] += grid[row - top, column, channel]
        for frame in range(part, frames, parts):
            for j in range(height):
                for i in range(width):
                    if count[frame, j, i] > 0:
                        scale = np.float32(1.0 / np.sqrt(count[frame, j, i]))
                        for channel in range(channels):
                            out[frame, j, i, channel] *= scale


@njit(fastmath=True, inline="always")  # type: ignore[untyped-decorator]
def _land(matrix, points, row, left, first, stop, height, width, landed):  # type: ignore[no-untyped-def]
    """The latent cell ``landed[first:stop]`` in which each point of a row of the grid lands, -1 for none."""
    for column in range(first, stop):
        u, v = left + column + np.float64(points[column, 0]), row + np.float64(points[column, 1])
        depth = matrix[2, 0] * u + matrix[2, 1] * v + matrix[2, 2]
        over = 1.0 / (depth if depth > 1e-6 else 1.0)
        x = (matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2]) * over
        y = (matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2]) * over
        inside = (depth > 1e-6) & (x >= 0.0) & (y >= 0.0) & (x < width) & (y < height)
        cell = np.int32(y if inside else 0.0) * width + np.int32(x if inside else 0.0)
        landed[column] = cell if inside else -1
