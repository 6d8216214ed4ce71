"""``worldr1 camera``: what a prompt asks of the camera."""

from __future__ import annotations

import math
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from worldr1.camera.formats import to_json
from worldr1.camera.io import write_trajectory
from worldr1.camera.plot import plot_trajectories
from worldr1.camera.trajectory import Trajectory

_ROWS = 9


def camera(
    prompt: str, frames: int = 81, json: bool = False, plot: Path | None = None, export: Path | None = None
) -> int:
    """Show what a prompt asks of the camera: its moves in order, and the pose of each frame.

    Args:
        prompt: text of the video, such as "camera orbit left, then push in. a red box".
        frames: number of video frames.
        json: print one JSON document with all poses, and nothing else, on standard output.
        plot: draw the path into this file (.png, .svg or .pdf).
        export: write the poses into this file: .json, .txt (RealEstate10K), or a folder without a suffix (COLMAP).

    Returns:
        0 when done, 1 when a file cannot be written, 2 on wrong usage.
    """
    errors = Console(stderr=True)
    try:
        trajectory = Trajectory.from_prompt(prompt, frames)
        if plot is not None:
            plot_trajectories({", then ".join(trajectory.moves) or "fixed": trajectory.c2w}, plot, trajectory.fov)
        if export is not None:
            write_trajectory(trajectory, export)
    except ValueError as error:
        errors.print(str(error), style="red", markup=False)
        return 2
    except OSError as error:
        errors.print(f"Cannot write: {error}.", style="red", markup=False)
        return 1
    if json:
        sys.stdout.write(to_json(trajectory, prompt) + "\n")
    else:
        _show(trajectory)
    for written in (plot, export):
        if written is not None:
            errors.print(f"Wrote {written}", markup=False)
    return 0


def _show(trajectory: Trajectory) -> None:
    console = Console()
    asked = ", then ".join(trajectory.moves) or "nothing: no camera words, so the camera stands still"
    console.print(f"The prompt asks for: {asked}", markup=False)
    table = Table(title=f"{trajectory.frames} frames, {trajectory.fov:g} degrees wide; lengths in scene depths")
    for name in ("frame", "right x", "down y", "forward z", "turned right, degrees"):
        table.add_column(name, justify="right")
    last = trajectory.frames - 1
    for frame in sorted({round(last * row / (_ROWS - 1)) for row in range(_ROWS)}):
        pose = trajectory.c2w[frame]
        turned = math.degrees(math.atan2(float(pose[0, 2]), float(pose[2, 2])))
        table.add_row(str(frame), *(f"{float(value):+.3f}" for value in pose[:3, 3]), f"{turned:+.1f}")
    console.print(table)
