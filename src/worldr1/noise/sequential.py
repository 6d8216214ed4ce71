"""Transport of white noise by the sequential law: each frame is moved on from the one before along a flow.

The law of *How I Warped Your Noise* (ICLR 2024) and *Go-with-the-Flow* (arXiv 2501.08331), for arbitrary flow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import TypeVar

import numpy as np
from numba import get_num_threads
from numpy.typing import NDArray

from worldr1.noise.sequential_kernel import link, move, pool
from worldr1.noise.streams import Array, noise_stream

T = TypeVar("T")
Links = tuple[NDArray[np.int32], ...]
_FRESH_WEIGHT = 1e-5


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
    pool(noise, places, upscale, out[:, 0])
    done = 0
    linked = _ahead(_linked(flows, rows, columns))
    for links, unknown, draws in _ahead(_drawn(linked, noise_stream(seed, 1), channels)):
        if done == wanted:
            raise ValueError(f"More than {wanted} flows were given for {frames} frames.")
        weights = (weight, other_weight, scale, np.float32(_FRESH_WEIGHT))
        free_count, total = move(noise, places, other_places, weights, free, free_count, links, draws, unknown)
        places, other_places, weight, other_weight = other_places, places, other_weight, weight
        scale = np.float32(cells / total)
        done += 1
        if done % steps == 0:
            pool(noise, places, upscale, out[:, done // steps])
    if done < wanted:
        raise ValueError(f"{done} flows were given for {frames} frames; {wanted} are needed.")
    return out


def _linked(flows: Iterable[Array], rows: int, columns: int) -> Iterator[tuple[Links, int, int]]:
    """Who goes where by each flow, the number of unknown sources, and how many draws the step needs.

    None of it depends on the noise. Links stay as they are until two others were asked for.
    """
    buffers = [tuple(np.empty(rows * columns, np.int32) for _ in range(5)) for _ in range(3)]
    for flow, links in zip(flows, cycle(buffers), strict=False):
        _check_flow(flow, rows, columns)
        yield links, *link(np.ascontiguousarray(flow, np.float32), *links)


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
