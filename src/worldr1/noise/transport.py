"""Gaussian-preserving transport of white noise, by two laws.

Both start from white noise on a grid that is ``upscale`` times finer than the latents. A latent cell is the sum of the
fine cells in it divided by the root of their number, hence N(0, 1), and cells of one frame share no fine cell, hence
are independent. The laws differ in how frames depend on one another.

* ``transport_canonical``: every frame looks at the *same* fine grid through its own homography from the first frame.
  Errors do not add up along the clip.
* ``transport_sequential``: each frame is moved on from the one before along an arbitrary flow, splitting and merging
  cells (the law of *How I Warped Your Noise*, ICLR 2024, and *Go-with-the-Flow*, arXiv 2501.08331).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

Array = NDArray[np.float32]
_REACH = 1.5
_SINGULAR = 1e-9
_FRESH_WEIGHT = 1e-5


def noise_stream(seed: int, stream: int) -> np.random.Generator:
    """Independent generators of one seed: the same seed and stream always give the same numbers."""
    return np.random.default_rng([seed & 0xFFFFFFFFFFFFFFFF, stream])


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
    bottom, right = max(int(boxes[:, 1].max()), rows), max(int(boxes[:, 3].max()), columns)
    grid = noise_stream(seed, 1).standard_normal((bottom - top, right - left, channels), dtype=np.float32)
    inner = noise_stream(seed, 0).standard_normal((rows, columns, channels), dtype=np.float32)
    grid[-top : rows - top, -left : columns - left] = inner
    fresh = noise_stream(seed, 2).standard_normal((frames, height, width, channels), dtype=np.float32)
    points = noise_stream(seed, 4).random((*grid.shape[:2], 2), dtype=np.float32)
    to_latent = homographies @ np.diag([1.0 / upscale, 1.0 / upscale, 1.0])
    _gather_views(grid, points, top, left, np.ascontiguousarray(to_latent), boxes, fresh)
    return np.ascontiguousarray(fresh.transpose(3, 0, 1, 2))


def transport_sequential(
    flows: Iterable[Array], shape: tuple[int, int, int, int], seed: int, upscale: int = 8
) -> Array:
    """Noise moved from frame to frame along a flow.

    A fine cell moves to the cell in which its centre lands. Cells that land together merge: the weighted sum of their
    noise, divided by the root of the summed squared weights. A cell where none lands takes part of the cell from which
    the flow there comes: ``k`` parts of a cell with noise ``n`` are ``n / sqrt(k) + f_j - mean(f)`` with fresh ``f``,
    which are independent N(0, 1) again, each with a ``k``-th of the weight. Where the flow comes from outside, noise is
    fresh, with next to no weight. Cells are whole, so flow under half a fine cell does not move.

    Args:
        flows: ``T - 1`` flows ``[2, H*upscale, W*upscale]`` (x, y) in fine cells from each frame to the next, nan where
            nothing is known.
        shape: ``(C, T, H, W)``.
        seed: any integer; frame 0 depends on it and on the shape alone.
        upscale: fine cells per latent cell and side.

    Returns:
        ``[C, T, H, W]`` float32.

    Raises:
        ValueError: when the number or the shape of the flows does not fit.
    """
    channels, frames, height, width = shape
    rows, columns = height * upscale, width * upscale
    noise = noise_stream(seed, 0).standard_normal((rows * columns, channels), dtype=np.float32)
    weight = np.ones(rows * columns, np.float32)
    fresh = noise_stream(seed, 1)
    out = np.empty((channels, frames, height, width), np.float32)
    out[:, 0] = _pool(noise, height, width, upscale)
    done = 1
    for flow in flows:
        if flow.shape != (2, rows, columns):
            raise ValueError(
                f"A flow has shape {flow.shape}; it must be [2, H, W] = {[2, rows, columns]} in fine cells."
            )
        if done == frames:
            raise ValueError(f"More than {frames - 1} flows were given for {frames} frames.")
        links, needed = _link(np.ascontiguousarray(flow, np.float32))
        draws = fresh.standard_normal((needed, channels), dtype=np.float32)
        noise, weight = _move(noise, weight, links, draws, np.float32(_FRESH_WEIGHT))
        weight = weight / weight.mean() + np.float32(_FRESH_WEIGHT)
        out[:, done] = _pool(noise, height, width, upscale)
        done += 1
    if done < frames:
        raise ValueError(f"{done - 1} flows were given for {frames} frames; {frames - 1} are needed.")
    return out


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


def _pool(noise: Array, height: int, width: int, upscale: int) -> Array:
    """Latents ``[C, H, W]`` of fine noise ``[H*upscale * W*upscale, C]``."""
    cells = noise.reshape(height, upscale, width, upscale, -1)
    return np.asarray(cells.sum(axis=(1, 3)).transpose(2, 0, 1) / np.float32(upscale))


@njit(parallel=True, fastmath=True, cache=True)  # type: ignore[untyped-decorator]
def _gather_views(grid, points, top, left, to_latent, boxes, out):  # type: ignore[no-untyped-def]
    """Overwrite the fresh noise ``out`` ``[T, H, W, C]`` wherever the white ``grid`` reaches; frames in parallel."""
    frames, height, width, channels = out.shape
    for frame in prange(frames):
        matrix = to_latent[frame]
        sums = np.zeros((height, width, channels), np.float32)
        count = np.zeros((height, width), np.int64)
        for row in range(boxes[frame, 0], boxes[frame, 1]):
            for column in range(boxes[frame, 2], boxes[frame, 3]):
                u = column + points[row - top, column - left, 0]
                v = row + points[row - top, column - left, 1]
                depth = matrix[2, 0] * u + matrix[2, 1] * v + matrix[2, 2]
                if depth <= 1e-6:
                    continue
                x = (matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2]) / depth
                y = (matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2]) / depth
                if x < 0.0 or y < 0.0 or x >= width or y >= height:
                    continue
                j, i = int(y), int(x)
                count[j, i] += 1
                for channel in range(channels):
                    sums[j, i, channel] += grid[row - top, column - left, channel]
        for j in range(height):
            for i in range(width):
                if count[j, i] > 0:
                    scale = np.float32(1.0 / np.sqrt(count[j, i]))
                    for channel in range(channels):
                        out[frame, j, i, channel] = sums[j, i, channel] * scale


@njit(cache=True)  # type: ignore[untyped-decorator]
def _link(flow):  # type: ignore[no-untyped-def]
    """Who goes where: per cell its target, per target the chain of cells that land on it, per cell the chain of bare
    targets that split it, the place of its draws, and how many draws are needed."""
    rows, columns = flow.shape[1:]
    cells = rows * columns
    target = np.full(cells, -1, np.int64)
    landed = np.full(cells, -1, np.int64)
    next_landed = np.full(cells, -1, np.int64)
    parts = np.full(cells, -1, np.int64)
    next_part = np.full(cells, -1, np.int64)
    first_draw = np.full(cells, -1, np.int64)
    for cell in range(cells):
        row, column = cell // columns, cell % columns
        x, y = np.floor(column + 0.5 + flow[0, row, column]), np.floor(row + 0.5 + flow[1, row, column])
        if x >= 0 and y >= 0 and x < columns and y < rows:
            place = int(y) * columns + int(x)
            target[cell] = place
            next_landed[cell] = landed[place]
            landed[place] = cell
    draws = 0
    for cell in range(cells):
        if landed[cell] >= 0:
            continue
        row, column = cell // columns, cell % columns
        x, y = np.floor(column + 0.5 - flow[0, row, column]), np.floor(row + 0.5 - flow[1, row, column])
        if x >= 0 and y >= 0 and x < columns and y < rows:
            source = int(y) * columns + int(x)
            next_part[cell] = parts[source]
            parts[source] = cell
        else:
            first_draw[cell] = -2 - draws
            draws += 1
    splits = np.full(cells, -1, np.int64)
    for cell in range(cells):
        if parts[cell] < 0:
            continue
        members = 1 if target[cell] >= 0 else 0
        part = parts[cell]
        while part >= 0:
            members += 1
            part = next_part[part]
        splits[cell] = draws
        draws += members
    return (target, landed, next_landed, parts, next_part, first_draw, splits), draws


@njit(cache=True)  # type: ignore[untyped-decorator]
def _move(noise, weight, links, draws, fresh_weight):  # type: ignore[no-untyped-def]
    """Noise ``[N, C]`` and weight ``[N]`` of the next frame. The arguments' noise and weight are used up."""
    target, landed, next_landed, parts, next_part, first_draw, splits = links
    cells, channels = noise.shape
    moved = np.empty_like(noise)
    moved_weight = np.empty_like(weight)
    mean = np.empty(channels, np.float32)
    for cell in range(cells):
        if parts[cell] < 0:
            continue
        stays = 1 if target[cell] >= 0 else 0
        members = stays
        part = parts[cell]
        while part >= 0:
            members += 1
            part = next_part[part]
        first = splits[cell]
        root = np.float32(1.0 / np.sqrt(members))
        share = weight[cell] / np.float32(members)
        for channel in range(channels):
            total = np.float32(0.0)
            for member in range(members):
                total += draws[first + member, channel]
            mean[channel] = noise[cell, channel] * root - total / np.float32(members)
        part = parts[cell]
        member = stays
        while part >= 0:
            for channel in range(channels):
                moved[part, channel] = mean[channel] + draws[first + member, channel]
            moved_weight[part] = share
            member += 1
            part = next_part[part]
        if stays == 1:
            for channel in range(channels):
                noise[cell, channel] = mean[channel] + draws[first, channel]
            weight[cell] = share
    for cell in range(cells):
        source = landed[cell]
        if source >= 0 and next_landed[source] < 0:
            moved[cell] = noise[source]
            moved_weight[cell] = weight[source]
        elif source >= 0:
            total_weight = np.float32(0.0)
            squared = np.float32(0.0)
            for channel in range(channels):
                moved[cell, channel] = np.float32(0.0)
            while source >= 0:
                total_weight += weight[source]
                squared += weight[source] * weight[source]
                for channel in range(channels):
                    moved[cell, channel] += weight[source] * noise[source, channel]
                source = next_landed[source]
            scale = np.float32(1.0 / np.sqrt(squared))
            for channel in range(channels):
                moved[cell, channel] *= scale
            moved_weight[cell] = total_weight
        elif first_draw[cell] <= -2:
            for channel in range(channels):
                moved[cell, channel] = draws[-2 - first_draw[cell], channel]
            moved_weight[cell] = fresh_weight
    return moved, moved_weight
