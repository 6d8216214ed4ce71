"""Noise and splats on a CUDA device: `python -m benchmarks.gpu.run`, one call that builds, checks and times.

The splats are gsplat's, as `worldr1.splats.render` calls them, against the tiled PyTorch rasteriser on the same device;
noise is made on the CPU and sent over, against the public 16x-grid algorithm on the device. The first call of gsplat
compiles its kernels, which takes minutes and is not timed. `--cpu` runs the same rows without a device.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from rich.logging import RichHandler

from benchmarks import noise, splats
from benchmarks.gpu.device import MIB, describe_device, device_name
from benchmarks.measure import Place, Row, Setting
from benchmarks.results import write
from benchmarks.table import sentence

logger = logging.getLogger("benchmarks.gpu")
RESULTS = Path(__file__).parent / "results"
ONLY_ON_CPU = ("noise_frames", "noise_resolution", "splat_fit_clip", "splat_second_core")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.run", description=__doc__.splitlines()[0])
    parser.add_argument("--cpu", action="store_true", help="without a device: shows that all rows run")
    parser.add_argument("--tiny", action="store_true", help="small sizes, once: shows that all rows run, no figures")
    parser.add_argument("--runs", type=int, default=5, help="pairs of ours and peer per row (5)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (benchmarks/gpu/results)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)])
    logging.getLogger("worldr1").setLevel(logging.WARNING)
    missing = None if options.cpu else _missing()
    if missing:
        parser.exit(1, f"{missing}\n")
    place = Place() if options.cpu else cuda_place()
    setting = Setting(options.tiny, 1 if options.tiny else options.runs, place)
    made = []
    for name, work in rows(setting).items():
        logger.info("%s ...", name)
        made.append(work())
        logger.info("%s", sentence(made[-1]))
    machine = describe_device(place.device, absent="none (--cpu)")
    path = write(options.out, made, setting.quick, device_name(place.device), **machine)
    logger.info("wrote %s and %s", path, path.with_suffix(".md").name)


def rows(setting: Setting) -> dict[str, Callable[[], Row]]:
    """The rows that make sense on a device, not yet run."""
    every = {**noise.rows(setting), **splats.rows(setting)}
    return {name: work for name, work in every.items() if name not in ONLY_ON_CPU}


def cuda_place() -> Place:
    """The present CUDA device: its clock waits for it, its memory is what torch's allocator holds at most."""
    return Place("cuda", _cuda_clock, _cuda_peak)


def _cuda_clock() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def _cuda_peak(function: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    function()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / MIB


def _missing() -> str | None:
    """What keeps the rows from running on a device, in a sentence that names the mend; None when nothing does."""
    if not torch.cuda.is_available():
        return "No CUDA device: run this where one is, or with --cpu to see that the rows run."
    if find_spec("gsplat") is None:
        return "gsplat is not installed: pip install 'worldr1[cuda]'."
    return None


if __name__ == "__main__":
    main()
