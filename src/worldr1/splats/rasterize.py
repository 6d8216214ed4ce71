"""The numba kernel as one differentiable PyTorch function over many small scenes and their views."""

from __future__ import annotations

from _thread import start_new_thread
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock, Semaphore
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from worldr1.splats import kernel
from worldr1.splats.kernel_layout import COUNT, D_COLOR, D_COUNT, MIN_ALPHA, TILE_Y

PIXELS_PER_BAND = 16384
CHUNKS_PER_THREAD = 4


@dataclass(frozen=True)
class Jobs:
    """What to draw: one row per view.

    first, count [J]: rows of the Gaussians of the view's scene; color_first [J]: its first row of colours (views of
    one scene share rows when colours do not depend on the view); exclude [J]: source to leave out, -1 for none;
    w2c [J,4,4]; intrinsics [J,3,3]; height and width in pixels, and whether to antialias, the same for all views.
    """

    first: NDArray[np.int64]
    count: NDArray[np.int64]
    color_first: NDArray[np.int64]
    exclude: NDArray[np.int64]
    w2c: Tensor
    intrinsics: Tensor
    height: int
    width: int
    antialiased: bool = False

    def table(self) -> NDArray[np.int64]:
        """Rows as the kernel wants them, [J,4] int64."""
        return np.stack([self.first, self.count, self.color_first, self.exclude], 1).astype(np.int64)

    def views(self) -> NDArray[np.float64]:
        """Views as the kernel wants them, [J,17] float64: three rows of w2c, then fx, fy, cx, cy, antialiased."""
        w2c, lens = self.w2c.detach().double().numpy(), self.intrinsics.detach().double().numpy()
        rows = np.full((len(w2c), 17), float(self.antialiased))
        rows[:, :12] = w2c[:, :3].reshape(-1, 12)
        rows[:, 12:14], rows[:, 14:16] = lens[:, (0, 1), (0, 1)], lens[:, :2, 2]
        return rows


def _reach(opacities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Standard deviations from its centre at which each Gaussian falls below the least alpha, [M]; 0 if it is below."""
    seen = opacities >= MIN_ALPHA
    return np.where(seen, np.sqrt(2 * np.log(np.where(seen, opacities, MIN_ALPHA) / MIN_ALPHA)) + np.float32(1e-3), 0)


def _array(value: Tensor) -> NDArray[np.float32]:
    return value.detach().to(torch.float32).contiguous().numpy()


def _bands(jobs: Jobs) -> int:
    """Bands per view: one, unless there are fewer views than threads and the pictures are large."""
    spare = torch.get_num_threads() // max(1, len(jobs.first))
    rows_of_tiles = -(-jobs.height // TILE_Y)
    return max(1, min(spare, rows_of_tiles, jobs.height * jobs.width // PIXELS_PER_BAND))


def _run(function: Callable[[int, int], None], items: int) -> None:
    """Calls function(first, stop) over all items: in this thread and, where there are more, in threads beside it.

    A thread takes the next piece when it has done one. Nobody waits for a thread that has not begun: after a PyTorch
    operation OpenMP's threads spin for milliseconds, longer than a small picture takes, and keep a new one from a core.
    """
    threads = min(torch.get_num_threads(), items)
    pieces = min(items, CHUNKS_PER_THREAD * threads) if threads > 1 else 1
    todo = pairwise([items * k // pieces for k in range(pieces + 1)])
    lock, done, failed = Lock(), Semaphore(0), []

    def work() -> None:
        while True:
            with lock:
                piece = next(todo, None)
            if piece is None:
                return
            try:
                function(*piece)
            except BaseException as error:
                failed.append(error)
            finally:
                done.release()

    for _ in range(threads - 1):
        start_new_thread(work, ())
    work()
    for _ in range(pieces):
        done.acquire()
    if failed:
        raise failed[0]


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        scales: Tensor,
        quats: Tensor,
        opacities: Tensor,
        colors: Tensor,
        source: NDArray[np.int64],
        jobs: Jobs,
    ) -> Tensor:
        drawn = tuple(_array(value) for value in (means, scales, quats, opacities))
        image = np.empty((len(jobs.first), jobs.height, jobs.width, 5), np.float32)
        last = np.empty(image.shape[:3], np.int32)
        bands = _bands(jobs)
        scene = (*drawn, _reach(drawn[3]), _array(colors), source)
        request = (scene, jobs.table(), jobs.views(), bands, image, last)
        draw: Callable[..., None] = kernel.forward
        _run(lambda first, stop: draw(*request, first, stop), len(image) * bands)
        ctx.request = request
        return torch.from_numpy(image)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_image: Tensor) -> tuple[Tensor | None, ...]:
        (means, *_, colors, _), table, bands = ctx.request[0], ctx.request[1], ctx.request[3]
        counts = np.repeat(table[:, COUNT], bands)
        rows = np.cumsum(counts) - counts
        parts = np.zeros((int(counts.sum()), D_COUNT), np.float32)
        pull_back: Callable[..., None] = kernel.backward
        extra = (_array(d_image), rows, parts)
        _run(lambda first, stop: pull_back(*ctx.request, first, stop, *extra), len(counts))
        d_scene, d_color = np.zeros((len(means), D_COLOR), np.float32), np.zeros_like(colors)
        for row, (first, count, color_first, _) in zip(rows, np.repeat(table, bands, 0), strict=True):
            d_scene[first : first + count] += parts[row : row + count, :D_COLOR]
            d_color[color_first : color_first + count] += parts[row : row + count, D_COLOR:]
        d_means, d_scales, d_quats, d_opacities = torch.from_numpy(d_scene).split([3, 3, 4, 1], 1)
        return d_means, d_scales, d_quats, d_opacities[:, 0], torch.from_numpy(d_color), None, None


def rasterize(
    means: Tensor,
    scales: Tensor,
    quats: Tensor,
    opacities: Tensor,
    colors: Tensor,
    source: Tensor | None,
    jobs: Jobs,
) -> Tensor:
    """Pictures [J,H,W,5] float32 (red, green, blue, sum of weight * depth, transmittance) of all jobs, in one call.

    Gaussians of all scenes one after another: means [M,3], scales [M,3], quats [M,4], opacities [M]; colors [R,3]
    RGB rows as `jobs.color_first` says; source [M] or None. Gradients reach the five float tensors, not the cameras.
    """
    which = np.full(len(means), -1, np.int64) if source is None else source.detach().to(torch.int64).numpy()
    floats = [value.to(torch.float32) for value in (means, scales, quats, opacities, colors)]
    image: Tensor = _Rasterize.apply(*floats, np.ascontiguousarray(which), jobs)
    return image
