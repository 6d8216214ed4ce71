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

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import TypeVar

import numpy as np
from numba import get_num_threads, njit, prange
from numpy.typing import NDArray

Array = NDArray[np.float32]
T = TypeVar("T")
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
    size = max(int(boxes[:, 1].max()), rows) - top, max(int(boxes[:, 3].max()), columns) - left
    grid, points = _white_plane(seed, (top, left), size, (rows, columns, channels))
    to_latent = np.ascontiguousarray(homographies @ np.diag([1.0 / upscale, 1.0 / upscale, 1.0]))
    sums, count = np.zeros((frames, height, width, channels), np.float32), np.zeros((frames, height, width), np.int32)
    parts = min(get_num_threads(), frames)
    _gather_views(grid, points, top, left, to_latent, boxes, parts, sums, count)
    if not count.all():
        fresh = _normals(seed, 2, sums.shape)
        sums[count == 0] = fresh[count == 0]
    return np.ascontiguousarray(sums.transpose(3, 0, 1, 2))


def transport_sequential(
    flows: Iterable[Array], shape: tuple[int, int, int, int], seed: int, upscale: int = 8, steps: int = 1
) -> Array:
    """Noise moved from frame to frame along a flow.

    A fine cell moves to the cell in which its centre lands. Cells that land together merge: the weighted sum of their
    noise, divided by the root of the summed squared weights. A cell where none lands takes part of the cell from which
    the flow there comes: ``k`` parts of a cell with noise ``n`` are ``n / sqrt(k) + f_j - mean(f)`` with fresh ``f``,
    which are independent N(0, 1) again, each with a ``k``-th of the weight. Where the flow comes from outside, noise is
    fresh, with next to no weight. Cells are whole, so flow under half a fine cell does not move.

    Noise that only moves is not copied: cells hold the places of their noise, and a step touches the noise of cells
    that merge or split alone.

    Args:
        flows: ``(T - 1) steps`` flows ``[2, H*upscale, W*upscale]`` (x, y) in fine cells from each moment to the next,
            nan where nothing is known.
        shape: ``(C, T, H, W)``.
        seed: any integer; frame 0 depends on it and on the shape alone.
        upscale: fine cells per latent cell and side.
        steps: flows from one frame to the next, such as 4 where the video has four frames for each one here.

    Returns:
        ``[C, T, H, W]`` float32.

    Raises:
        ValueError: when the number or the shape of the flows does not fit.
    """
    channels, frames, height, width = shape
    rows, columns = height * upscale, width * upscale
    cells, wanted = rows * columns, (frames - 1) * steps
    noise = np.empty((2 * cells, channels), np.float32)
    noise_stream(seed, 0).standard_normal(out=noise[:cells], dtype=np.float32)
    places, other_places = np.arange(cells, dtype=np.int32), np.empty(cells, np.int32)
    weight, other_weight = np.ones(cells, np.float32), np.empty(cells, np.float32)
    free, free_count = np.empty(2 * cells, np.int32), cells
    free[:cells] = np.arange(2 * cells - 1, cells - 1, -1)
    scale = np.float32(1.0)
    out = np.empty((channels, frames, height, width), np.float32)
    _pool(noise, places, upscale, out[:, 0])
    done = 0
    linked = _ahead(_linked(flows, rows, columns))
    for links, unknown, draws in _ahead(_drawn(linked, noise_stream(seed, 1), channels)):
        if done == wanted:
            raise ValueError(f"More than {wanted} flows were given for {frames} frames.")
        weights = (weight, other_weight, scale, np.float32(_FRESH_WEIGHT))
        free_count, total = _move(noise, places, other_places, weights, free, free_count, links, draws, unknown)
        places, other_places, weight, other_weight = other_places, places, other_weight, weight
        scale = np.float32(cells / total)
        done += 1
        if done % steps == 0:
            _pool(noise, places, upscale, out[:, done // steps])
    if done < wanted:
        raise ValueError(f"{done} flows were given for {frames} frames; {wanted} are needed.")
    return out


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
        areas[stream][:] = _normals(seed, stream, areas[stream].shape)

    with ThreadPoolExecutor(get_num_threads()) as workers:
        drawn = [workers.submit(draw, stream) for stream in areas]
        noise_stream(seed, 4).random(out=points, dtype=np.float32)
        for one in drawn:
            one.result()
    return grid, points


def _normals(seed: int, stream: int, shape: tuple[int, ...]) -> Array:
    return noise_stream(seed, stream).standard_normal(shape, dtype=np.float32)


Links = tuple[NDArray[np.int32], ...]


def _linked(flows: Iterable[Array], rows: int, columns: int) -> Iterator[tuple[Links, int, int]]:
    """Who goes where by each flow, the number of unknown sources, and how many draws the step needs.

    None of it depends on the noise. Links stay as they are until two others were asked for.
    """
    buffers = [tuple(np.empty(rows * columns, np.int32) for _ in range(5)) for _ in range(3)]
    for flow, links in zip(flows, cycle(buffers), strict=False):
        _check_flow(flow, rows, columns)
        yield links, *_link(np.ascontiguousarray(flow, np.float32), *links)


def _drawn(
    linked: Iterator[tuple[Links, int, int]], fresh: np.random.Generator, channels: int
) -> Iterator[tuple[Links, int, Array]]:
    """The same with the draws themselves."""
    for links, unknown, needed in linked:
        yield links, unknown, fresh.standard_normal((needed, channels), dtype=np.float32)


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The items, each made in a thread of its own while the one before is used, where there is more than one thread."""
    if get_num_threads() == 1:
        yield from items
        return
    with ThreadPoolExecutor(1) as worker:
        following = worker.submit(next, items, None)
        while (item := following.result()) is not None:
            following = worker.submit(next, items, None)
            yield item


def _check_flow(flow: Array, rows: int, columns: int) -> None:
    if flow.shape != (2, rows, columns):
        raise ValueError(f"A flow has shape {flow.shape}; it must be [2, H, W] = {[2, rows, columns]} in fine cells.")


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


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def _pool(noise, places, upscale, out):  # type: ignore[no-untyped-def]
    """Latents ``out`` ``[C, H, W]`` of the fine noise at ``places`` ``[H*upscale * W*upscale]``."""
    channels, height, width = out.shape
    columns = width * upscale
    for row in prange(height):
        sums = np.zeros((width, channels), np.float32)
        for fine in range(row * upscale, (row + 1) * upscale):
            for column in range(columns):
                place, cell = places[fine * columns + column], column // upscale
                for channel in range(channels):
                    sums[cell, channel] += noise[place, channel]
        for channel in range(channels):
            for column in range(width):
                out[channel, row, column] = sums[column, channel] / np.float32(upscale)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _link(flow, target, landed, next_landed, parts, next_part):  # type: ignore[no-untyped-def]
    """Who goes where: per cell its target, per target the chain of cells that land on it, per cell the chain of bare
    targets that split it (-2 for a bare target whose source is unknown). Returns the number of these, and how many
    draws are needed: one for each of these, then one for each part of a split cell, in order."""
    rows, columns = flow.shape[1:]
    landed[:] = -1
    parts[:] = -1
    for row in range(rows):
        for column in range(columns):
            cell = row * columns + column
            x, y = column + np.float32(0.5) + flow[0, row, column], row + np.float32(0.5) + flow[1, row, column]
            target[cell] = -1
            if x >= 0 and y >= 0 and x < columns and y < rows:
                place = int(y) * columns + int(x)
                target[cell] = place
                next_landed[cell] = landed[place]
                landed[place] = cell
    unknown, shared = 0, 0
    for row in range(rows):
        for column in range(columns):
            cell = row * columns + column
            if landed[cell] >= 0:
                continue
            x, y = column + np.float32(0.5) - flow[0, row, column], row + np.float32(0.5) - flow[1, row, column]
            if x >= 0 and y >= 0 and x < columns and y < rows:
                source = int(y) * columns + int(x)
                shared += 2 if parts[source] < 0 and target[source] >= 0 else 1
                next_part[cell] = parts[source]
                parts[source] = cell
            else:
                next_part[cell] = -2
                unknown += 1
    return unknown, unknown + shared


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _move(noise, places, moved_places, weights, free, free_count, links, draws, unknown):  # type: ignore[no-untyped-def]
    """Places and weights of the next frame, and its noise ``[2 N, C]`` in place.

    ``free[:free_count]`` are the rows of ``noise`` that no cell holds. A weight is read as ``scale * weight +
    fresh_weight``. Returns the new free_count and the sum of the new weights."""
    free_count = _split(noise, places, moved_places, weights, free, free_count, links, draws, unknown)
    _, landed, next_landed, _, next_part = links
    weight, moved_weight, _, fresh_weight = weights
    cells, channels = len(places), noise.shape[1]
    mean = np.empty(channels, np.float32)
    draw, all_weight = 0, 0.0
    for cell in range(cells):
        source = landed[cell]
        if source >= 0:
            moved_places[cell] = places[source]
            if next_landed[source] < 0:
                moved_weight[cell] = weight[source]
            else:
                free_count, moved_weight[cell] = _merge(
                    noise, places, weight, next_landed, source, free, free_count, mean
                )
        elif next_part[cell] == -2:
            free_count -= 1
            place = free[free_count]
            for channel in range(channels):
                noise[place, channel] = draws[draw, channel]
            moved_places[cell] = place
            moved_weight[cell] = fresh_weight
            draw += 1
        all_weight += moved_weight[cell]
    return free_count, all_weight


@njit(cache=True)  # type: ignore[untyped-decorator]
def _split(noise, places, moved_places, weights, free, free_count, links, draws, first):  # type: ignore[no-untyped-def]
    """Noise, places and weights of the parts of all cells that are split, whose draws begin at ``first``.

    Reads all weights as ``_move`` says, and frees the places of cells that leave the picture. Returns the new
    free_count."""
    target, _, _, parts, next_part = links
    weight, moved_weight, scale, fresh_weight = weights
    cells, channels = len(places), noise.shape[1]
    mean = np.empty(channels, np.float32)
    for cell in range(cells):
        weight[cell] = scale * weight[cell] + fresh_weight
        part, place = parts[cell], places[cell]
        if part < 0:
            if target[cell] < 0:
                free[free_count] = place
                free_count += 1
            continue
        stays = 1 if target[cell] >= 0 else 0
        members = stays
        while part >= 0:
            members += 1
            part = next_part[part]
        root = np.float32(1.0 / np.sqrt(members))
        share = weight[cell] / np.float32(members)
        for channel in range(channels):
            total = np.float32(0.0)
            for member in range(members):
                total += draws[first + member, channel]
            mean[channel] = noise[place, channel] * root - total / np.float32(members)
        if stays == 1:
            for channel in range(channels):
                noise[place, channel] = mean[channel] + draws[first, channel]
            weight[cell] = share
        else:
            free[free_count] = place
            free_count += 1
        part = parts[cell]
        member = stays
        while part >= 0:
            free_count -= 1
            place = free[free_count]
            for channel in range(channels):
                noise[place, channel] = mean[channel] + draws[first + member, channel]
            moved_places[part] = place
            moved_weight[part] = share
            member += 1
            part = next_part[part]
        first += members
    return free_count


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _merge(noise, places, weight, next_landed, source, free, free_count, mean):  # type: ignore[no-untyped-def]
    """Merges the chain of cells from ``source`` into its noise and frees the others' places; new free_count, weight."""
    channels = noise.shape[1]
    kept = places[source]
    total, squared = weight[source], weight[source] * weight[source]
    for channel in range(channels):
        mean[channel] = weight[source] * noise[kept, channel]
    source = next_landed[source]
    while source >= 0:
        total += weight[source]
        squared += weight[source] * weight[source]
        for channel in range(channels):
            mean[channel] += weight[source] * noise[places[source], channel]
        free[free_count] = places[source]
        free_count += 1
        source = next_landed[source]
    root = np.float32(1.0 / np.sqrt(squared))
    for channel in range(channels):
        noise[kept, channel] = mean[channel] * root
    return free_count, total
