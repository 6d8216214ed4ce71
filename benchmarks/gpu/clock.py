"""Seconds and peak memory of stages, and what stays in memory meanwhile."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

logger = logging.getLogger("benchmarks.gpu")
GIB = float(2**30)
T = TypeVar("T")


@dataclass(frozen=True)
class Stage:
    """One row of the table.

    Attributes:
        name: of the stage.
        work: what it did.
        seconds: all of it; None where the device's memory was not enough.
        peak_gib: that torch held at most, what stays included; None on the CPU.
        resident_gib: weights that stayed in memory, by model.
    """

    name: str
    work: str
    seconds: float | None
    peak_gib: float | None
    resident_gib: dict[str, float]


class Clock:
    """Times stages on a device, which it waits for, and keeps count of what is in its memory."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.stages: list[Stage] = []
        self._residents: dict[str, float] = {}

    def arrive(self, name: str, module: nn.Module) -> None:
        """From now on `module` is in memory; weights that lie elsewhere than on the device do not count."""
        held = [*module.parameters(), *module.buffers()]
        self._residents[name] = sum(tensor.nbytes for tensor in held if tensor.device.type == self.device) / GIB

    def leave(self, name: str) -> None:
        """It is no longer."""
        del self._residents[name]

    @contextmanager
    def stage(self, name: str, work: str) -> Iterator[None]:
        """What runs inside is a row of this name."""
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        began = self.now()
        try:
            yield
        except torch.OutOfMemoryError:
            self._add(Stage(name, work, None, self._peak(), self._present()))
            raise
        self._add(Stage(name, work, self.now() - began, self._peak(), self._present()))

    def missed(self, name: str, work: str) -> None:
        """A row for a stage that the device's memory was not enough for."""
        self._add(Stage(name, work, None, None, self._present()))

    def now(self) -> float:
        """Seconds, after all work of the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def seconds(self, name: str) -> float | None:
        """Of the stage of this name; None where there is none, or never enough memory for it."""
        return next((stage.seconds for stage in self.stages if stage.name == name and stage.seconds is not None), None)

    def _present(self) -> dict[str, float]:
        return {name: size for name, size in self._residents.items() if size}

    def _peak(self) -> float | None:
        return torch.cuda.max_memory_allocated() / GIB if self.device == "cuda" else None

    def _add(self, stage: Stage) -> None:
        self.stages.append(stage)
        took = "out of memory" if stage.seconds is None else f"{stage.seconds:.3g} s"
        logger.info("%s (%s): %s", stage.name, stage.work, took)


def if_it_fits(work: Callable[[], T]) -> T | None:
    """What `work` returns, or None when the device's memory is not enough; what it held is then free again."""
    try:
        return work()
    except torch.OutOfMemoryError as error:
        logger.warning("%s", str(error).split(". ", 1)[0])
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def matrix_rate(device: str, side: int, repeats: int = 10) -> float:
    """Operations a second of a bfloat16 product of square matrices, the best of `repeats`."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    clock, times = Clock(device), []
    for _ in range(repeats + 1):
        began = clock.now()
        torch.matmul(a, b)
        times.append(clock.now() - began)
    return 2.0 * side**3 / min(times[1:])
