"""All CPU benchmarks in one call: `python -m benchmarks.run`, or `make bench`.

Writes a table in Markdown and `<date>-<cpu>.json` with all rows, the machine, the versions and the commit.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import numba
import torch
from rich.logging import RichHandler

from benchmarks import noise, perceptual, reward, rollout, splats, to_half
from benchmarks.machine import cpu_name
from benchmarks.measure import Row, Setting
from benchmarks.results import RESULTS, write
from benchmarks.table import sentence

logger = logging.getLogger("benchmarks")


def main() -> None:
    """The command line."""
    options = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)])
    logging.getLogger("worldr1").setLevel(logging.WARNING)
    if options.realtime:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    torch.set_num_threads(options.threads)
    numba.set_num_threads(options.threads)
    setting = Setting(options.quick, 1 if options.quick else options.runs)
    made = []
    for name, work in _chosen(options.only, setting).items():
        logger.info("%s ...", name)
        made.append(work())
        logger.info("%s", sentence(made[-1]))
    scheduling = "real-time" if options.realtime else "fair"
    path = write(options.out, made, setting.quick, cpu_name(), scheduling=scheduling)
    logger.info("wrote %s and %s", path, path.with_suffix(".md").name)


def _arguments() -> argparse.Namespace:
    cores = min(torch.get_num_threads(), numba.get_num_threads())
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="NAME", help="rows whose name begins so; * stands for anything")
    parser.add_argument("--quick", action="store_true", help="small sizes, once: shows that all rows run, no figures")
    parser.add_argument("--runs", type=int, default=5, help="pairs of ours and peer per row (5)")
    parser.add_argument("--threads", type=int, default=cores, help=f"threads ({cores}); 1 counts CPU time, not wall")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="real-time scheduling (root, Linux): other programs wait, and threads get a core of their own at once "
        "where a virtual machine packs them onto one",
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (benchmarks/results)")
    return parser.parse_args()


def _chosen(only: str | None, setting: Setting) -> dict[str, Callable[[], Row]]:
    """The rows that were asked for, in order.

    Raises ValueError when no row has such a name.
    """
    every: dict[str, Callable[[], Row]] = {}
    for room in (noise, splats, reward, perceptual, rollout, to_half):
        every.update(room.rows(setting))
    if only is None:
        return every
    pattern = re.compile(re.escape(only).replace(r"\*", ".*"))
    found = {name: work for name, work in every.items() if pattern.match(name)}
    if not found:
        raise ValueError(f"--only {only} names no row; the rows are {', '.join(every)}")
    return found


if __name__ == "__main__":
    main()
