"""Seconds, ratios, memory and growth of functions, and the rows that hold them."""

from __future__ import annotations

import ctypes
import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")
_SHORT = 0.02
_REST = 0.01
_PAIRS_OF_SHORT = 15
_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: of the row.
        ours, peer: median seconds; peer is None where there is nothing to compare with.
        ratio: median of peer / ours over the pairs, None without a peer.
        runs: number of pairs.
        peak_mb, peer_peak_mb: memory taken beyond that at the start, MiB; None where it cannot be told.
        exponent: of time against size, for scaling rows; for these `ours` is the time at the largest size.
        agreement: what was compared in the same run, by name.
        agrees: whether it lies within its bounds; None where nothing was compared.
        note: what `ours` and `peer` are.
    """

    name: str
    ours: float
    peer: float | None
    ratio: float | None
    runs: int
    note: str
    peak_mb: float | None = None
    peer_peak_mb: float | None = None
    exponent: float | None = None
    agreement: Mapping[str, float] = field(default_factory=dict)
    agrees: bool | None = None


@dataclass(frozen=True)
class Pairs:
    """Medians of interleaved runs and of their ratios, and peak memory."""

    ours: float
    peer: float
    ratio: float
    runs: int
    peak_mb: float | None
    peer_peak_mb: float | None


def seconds() -> float:
    """The clock of all rows: this process's CPU time on one thread, which a busy machine disturbs least, else wall."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def clock_name() -> str:
    """What `seconds` counts."""
    return "CPU seconds of the process" if torch.get_num_threads() == 1 else "wall-clock seconds"


def timed(function: Callable[[], T], clock: Callable[[], float] = seconds) -> tuple[float, T]:
    """Seconds and result of one call."""
    began = clock()
    result = function()
    return clock() - began, result


def paired(
    ours: Callable[[], object],
    peer: Callable[[], object],
    runs: int,
    ours_seconds: Callable[[float], float] = lambda spent: spent,
    peer_seconds: Callable[[float], float] = lambda spent: spent,
    place: Place | None = None,
) -> Pairs:
    """Ours and the peer in turn, `runs` times, after one call of ours to compile and warm up.

    Before each run the process rests for 10 ms, longer than the idle threads that the other leaves behind stay awake.

    Args:
        ours, peer: the work; whatever is short is repeated within a run until it takes 20 ms, after one call that fills
            the caches again and does not count.
        runs: number of pairs; 1 stays 1, more are at least 15 where both take less than a tenth of a second, as shared
            machines are slow for half a second now and then.
        ours_seconds, peer_seconds: from the time of the call to the time of the whole work, where only part is called.
        place: where both run, this process's CPU when not given.
    """
    place = place or Place()
    ours()
    first, peak_mb = timed(lambda: place.peak(ours), place.clock)
    peer_first, peer_peak_mb = timed(lambda: place.peak(peer), place.clock)
    first, peer_first = _warm(ours, first, place.clock), _warm(peer, peer_first, place.clock)
    repeats, peer_repeats = _repeats(first), _repeats(peer_first)
    if runs > 1 and max(first, peer_first) < 0.1:
        runs = max(runs, _PAIRS_OF_SHORT)
    spent = []
    for _ in range(runs):
        mine = ours_seconds(_mean_time(ours, repeats, place.clock))
        theirs = peer_seconds(_mean_time(peer, peer_repeats, place.clock))
        spent.append((mine, theirs))
    return Pairs(
        ours=statistics.median(mine for mine, _ in spent),
        peer=statistics.median(theirs for _, theirs in spent),
        ratio=statistics.median(theirs / mine for mine, theirs in spent),
        runs=runs,
        peak_mb=peak_mb,
        peer_peak_mb=peer_peak_mb,
    )


def median_time(function: Callable[[], object], runs: int, clock: Callable[[], float] = seconds) -> float:
    """Median seconds of `runs` calls after one that compiles and warms up."""
    function()
    repeats = _repeats(_warm(function, timed(function, clock)[0], clock))
    return statistics.median(_mean_time(function, repeats, clock) for _ in range(runs))


def scaling_row(
    name: str,
    sizes: Sequence[float],
    make: Callable[[float], Callable[[], object]],
    runs: int,
    note: str,
    clock: Callable[[], float] = seconds,
) -> Row:
    """Time against size: `make(size)` gives the work. `ours` is that of the last size.

    The exponent is the slope of log time against log size by least squares.
    """
    times = [median_time(make(size), runs, clock) for size in sizes]
    table = {f"s at {size:g}": spent for size, spent in zip(sizes, times, strict=True)}
    return Row(name, times[-1], None, None, runs, note, exponent=exponent(sizes, times), agreement=table)


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Slope of log time against log size by least squares."""
    return statistics.linear_regression([math.log(s) for s in sizes], [math.log(t) for t in times]).slope


def peak_memory(function: Callable[[], object]) -> float | None:
    """MiB of resident memory that one call needs beyond what is resident before it; None without Linux and glibc.

    Freed memory is given back first; else what a call takes from it would not count.
    """
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        _CLEAR.write_text("5")
        before = _resident("VmRSS")
    except (AttributeError, OSError):
        return None
    function()
    return max(0.0, _resident("VmHWM") - before)


def _resident(name: str) -> float:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise OSError(f"{_STATUS} does not tell {name}")


def _repeats(spent: float) -> int:
    """Calls of so many seconds that make a run long enough for the clock."""
    return max(1, math.ceil(_SHORT / max(spent, 1e-6)))


def _warm(function: Callable[[], object], first: float, clock: Callable[[], float]) -> float:
    """Seconds of a call whose first took `first` with what was done beside it; timed again where that is under 1 s."""
    return min(timed(function, clock)[0] for _ in range(3)) if first < 1.0 else first


def _mean_time(function: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    time.sleep(_REST)
    if repeats > 1:
        function()
    began = clock()
    for _ in range(repeats):
        function()
    return (clock() - began) / repeats


@dataclass(frozen=True)
class Place:
    """Where the work of a row runs.

    Attributes:
        device: torch's name of it.
        clock: seconds; of a device that works by itself, after waiting for it.
        peak: MiB that one call takes there, None where it cannot be told.
    """

    device: str = "cpu"
    clock: Callable[[], float] = seconds
    peak: Callable[[Callable[[], object]], float | None] = peak_memory


@dataclass(frozen=True)
class Setting:
    """quick: small sizes, to see that everything runs; runs: pairs per row; place: where they run."""

    quick: bool = False
    runs: int = 3
    place: Place = field(default_factory=Place)
