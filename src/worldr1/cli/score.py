"""`worldr1 score`: 3D consistency, camera and motion of any video file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from worldr1.camera.trajectory import Trajectory

_COLUMNS = ("total", "recon", "psnr", "traj", "camera_travel", "camera_turn", "motion", "sharpness")


def score(
    videos: tuple[Path, ...],
    camera: str | None = None,
    trajectory: Path | None = None,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Score video files, without a GPU or weights.

    Args:
        videos: files that FFmpeg reads.
        camera: what was asked of the camera, such as "orbit left, then push in".
        trajectory: or a file of poses, a pose for each frame: .json, RealEstate10K .txt, or a COLMAP folder.
        as_json: print one JSON document instead of a table.
    """
    from worldr1.evaluation.video import read_video
    from worldr1.scoring import score as score_video

    if not videos:
        raise ValueError("name at least one video file")
    if camera is not None and trajectory is not None:
        raise ValueError("give either --camera or --trajectory, not both")
    rows: list[dict[str, object]] = []
    for path in videos:
        if not path.is_file():
            raise FileNotFoundError(f"no video file {path}")
        video = read_video(path)
        scores = score_video(video, camera=_asked(camera, trajectory, len(video)))
        rows.append({"video": str(path), **scores.to_dict()})
    if as_json:
        sys.stdout.write(json.dumps({"videos": rows}, indent=2) + "\n")
    else:
        _show(rows)
    return 0


def _asked(camera: str | None, file: Path | None, frames: int) -> Trajectory | None:
    from worldr1.camera.io import read_trajectory
    from worldr1.camera.language import MOVES
    from worldr1.camera.trajectory import Trajectory

    if file is not None:
        return read_trajectory(file)
    if camera is None:
        return None
    asked = Trajectory.from_prompt(camera, frames)
    if not asked.moves:
        raise ValueError(f"--camera '{camera}' names no camera move; the moves are {', '.join(MOVES)}")
    return asked


def _show(rows: list[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("video", box=None, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        values = [row[name] for name in _COLUMNS]
        table.add_row(str(row["video"]), *("" if value is None else f"{value:.3f}" for value in values))
    Console().print(table)
