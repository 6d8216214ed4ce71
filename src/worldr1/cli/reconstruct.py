"""`worldr1 reconstruct`: cameras and splats of a video, for other programs."""

from __future__ import annotations

import json
import logging
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from worldr1.cli.main import DONE

if TYPE_CHECKING:
    from worldr1.data.video import SampledVideo

logger = logging.getLogger(__name__)

_USUAL_FPS = 16.0


def reconstruct(
    video: Path,
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))] = Path("scene"),
    format: Literal["ply", "colmap", "re10k", "rerun", "all"] = "all",
    frames: int = 33,
    fov: float = 64.0,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Rebuild the scene of a video, without a GPU or weights, and write it for other programs.

    Args:
        video: a file that FFmpeg reads, or a folder of pictures.
        out: the folder to write: scene.ply, sparse/0 and images (COLMAP), re10k.txt.
        format: ply for splat viewers, colmap, re10k, all of these; or rerun: scene.rrd for the Rerun viewer.
        frames: at most so many, evenly spread over the video.
        fov: horizontal field of view of the camera, degrees; it is not estimated.
        as_json: print one JSON document, and nothing else, on standard output.
    """
    from worldr1.camera.trajectory import Trajectory
    from worldr1.data.video import read_sampled
    from worldr1.evaluation.observability import geometry_warnings
    from worldr1.reconstruction.export import FORMATS, export
    from worldr1.reconstruction.summary import summarise
    from worldr1.scoring import reconstruct as rebuild

    if frames < 3:
        raise ValueError(f"--frames is {frames}; a scene needs at least 3")
    try:
        sampled = read_sampled(video, frames)
        scene = rebuild(sampled.frames, Trajectory.from_moves((), len(sampled.frames), fov))
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{video}: {error}") from error
    formats = FORMATS if format == "all" else (format,)
    try:
        written = export(scene, out, formats, sampled.frames, _rate(sampled))
    except ImportError as error:
        raise ValueError(str(error)) from error
    # Coverage and agreement are scores, which are not taken here: both count as good.
    warnings = [*sampled.notes, *geometry_warnings(sampled.frames, scene, coverage=1.0, agreement=math.nan)]
    summary = summarise(scene).to_dict()
    for warning in warnings:
        logger.warning("%s: %s", video, warning)
    if as_json:
        document = {"video": str(video), **summary, "warnings": warnings, "written": [str(path) for path in written]}
        sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
        return DONE
    for name, value in summary.items():
        told = f"{value:.3f}" if isinstance(value, float) else value
        sys.stdout.write(f"{name.replace('_', ' '):<14} {told}\n")
    for path in written:
        sys.stdout.write(f"wrote {path}\n")
    return DONE


def _rate(sampled: SampledVideo) -> float:
    """Frames used per second of the video; 16 where the file does not tell."""
    length = sampled.times[-1] - sampled.times[0]
    return (len(sampled.times) - 1) / length if length > 0 else _USUAL_FPS
