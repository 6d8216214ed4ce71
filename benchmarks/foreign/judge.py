"""Score one file, and say which of two is the better one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldr1.camera.trajectory import Trajectory
from worldr1.data.video import read_sampled
from worldr1.reconstruction.backends import Backend
from worldr1.scoring import score

METRICS = ("rigidity", "recon", "psnr", "mvcs")
Scored = dict[str, Any]


def scored(path: Path, judge: Backend, camera: Trajectory | None = None) -> Scored:
    """Numbers of one file, or why there are none; and the seconds that reading and scoring took.

    Args:
        path: of the video.
        judge: finds the cameras.
        camera: that was asked for, as many poses as the file has frames.
    """
    began, worked = time.perf_counter(), time.process_time()
    try:
        video = read_sampled(path, short_side=judge.short_side)
        found = score(video.frames, camera, reconstructor=judge.reconstructor)
    except ValueError as error:
        numbers: Scored = {"error": str(error)}
    else:
        numbers = {**found.numbers, "warnings": list(found.warnings)}
    return {**numbers, "seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - worked}


def won(good: Mapping[str, Any], bad: Mapping[str, Any], metric: str) -> bool:
    """Whether the good video has the higher value; without one it has lost, against none it has won."""
    a, b = good.get(metric), bad.get(metric)
    return a is not None and (b is None or a > b)


def shown(value: object) -> str:
    """A number for a table, "-" where there is none."""
    return f"{value:.3f}" if isinstance(value, float) else "-"
