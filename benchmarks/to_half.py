"""Row of how soon the tiny world has learnt: seconds of `worldr1 train tiny` until half of the gap is closed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import Row, Setting, timed
from benchmarks.rollout import naive_stages
from worldr1.recipes.files import load_recipe
from worldr1.rl.run import RunDirectory

SCHEDULE = {"schedule.total-steps": 24, "schedule.main-steps": 10, "schedule.dynamic-steps": 2}
HALF = 0.5
_SMALL = {"preserve.samples": 4, "schedule.groups": 1, "schedule.group-size": 2, "evaluation.prompts": 2}


def rows(setting: Setting) -> dict[str, Callable[[], Row]]:
    """The row by name, not yet run."""
    return {"seconds_to_half_of_the_gap": partial(_to_half, setting)}


def _to_half(setting: Setting) -> Row:
    """From the start of the command to its end, installation and evaluation not included."""
    changed = {**SCHEDULE, "schedule.total-steps": 1, **_SMALL} if setting.quick else SCHEDULE
    chosen = [text for name, value in changed.items() for text in (f"--{name}", str(value))]
    extent = ("--prompts", "2", "--dynamic", "2") if setting.quick else ("--prompts", "128", "--dynamic", "64")
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        spent, _ = timed(lambda: _worldr1("train", "tiny", "--run", str(run), *chosen), clock=time.perf_counter)
        found: dict[str, Any] = json.loads(_worldr1("evaluate", str(run), "--json", "--fitted", "0", *extent))
        recipe = load_recipe(RunDirectory(run).recipe)
    steps = recipe.schedule.total_steps
    videos = steps * recipe.schedule.groups * recipe.schedule.group_size
    naive = _naive_video(setting.quick) * videos
    low, high = found["ci95"]["gap_closed"]
    measured = {
        "gap closed": found["gap_closed"],
        "at least": low,
        "at most": high,
        "dynamic degree": found["guards"]["dynamic_degree"]["ratio"],
        "camera motion": found["guards"]["camera_motion"]["ratio"],
    }
    return Row(
        "seconds_to_half_of_the_gap",
        *(spent, naive, naive / spent, 1),
        f"worldr1 train tiny, {steps} steps, {videos} videos, from start to end of the command; the peer is the naive "
        "loop's time for as many videos, from the time of its stages: that it learns as much from each is assumed",
        agreement={name: float(value) for name, value in measured.items() if value is not None},
        agrees=None if setting.quick else found["gap_closed"] >= HALF,
    )


def _worldr1(*arguments: str) -> str:
    """Standard output of a command of this package.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    threads = str(torch.get_num_threads())
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
    command: Sequence[str] = (sys.executable, "-m", "worldr1.cli.main", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"worldr1 {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def _naive_video(quick: bool) -> float:
    stages = naive_stages(quick)
    for work in stages.values():
        work()
    return sum(share * timed(work)[0] for share, work in stages.items())
