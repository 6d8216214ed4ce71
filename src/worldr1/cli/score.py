"""`worldr1 score`: 3D consistency, camera and motion of any video file."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from worldr1.cli.main import DONE, FAILED, WRONG_USAGE
from worldr1.reconstruction.backends import BackendName

if TYPE_CHECKING:
    from torch import Tensor

    from worldr1.camera.trajectory import Trajectory
    from worldr1.data.video import SampledVideo
    from worldr1.evaluation.leaderboard import Entry
    from worldr1.reconstruction.backends import Backend
    from worldr1.scoring import VideoScores

_COLUMNS = (
    *("total", "recon", "psnr", "mvcs", "rigidity", "traj", "coverage"),
    *("camera_travel", "camera_turn", "motion", "smoothness", "sharpness"),
)
_FINE_FRAMES = 1025


@dataclass(frozen=True)
class _Row:
    """One file: either its scores, or the sentence that says why there are none."""

    path: Path
    error: str | None = None
    video: SampledVideo | None = None
    scores: VideoScores | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        return () if self.video is None or self.scores is None else (*self.video.notes, *self.scores.warnings)


def score(
    videos: tuple[Path, ...],
    camera: str | None = None,
    trajectory: Path | None = None,
    backend: BackendName = "stereo",
    weights: str | None = None,
    csv: Path | None = None,
    page: Path | None = None,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Score video files, without a GPU or weights. A file that cannot be scored is told; the others still are.

    Args:
        videos: files that FFmpeg reads, or folders of pictures.
        camera: what was asked of the camera, such as "orbit left, then push in".
        trajectory: or a file of poses, a pose for each frame: .json, RealEstate10K .txt, or a COLMAP folder.
        backend: what finds cameras: stereo, da3 (Depth Anything 3), or colmap (an independent judge).
        weights: of da3: a directory with config.json and model.safetensors, or a published name such as DA3-BASE.
        csv: also write one line for each video to this file.
        page: also write a leaderboard, one HTML page that can be sorted, to this file.
        as_json: print one JSON document, with curves for every frame, instead of a table.
    """
    from worldr1.camera.io import read_trajectory
    from worldr1.reconstruction.backends import load_backend

    wrong = _wrong_usage(videos, camera, trajectory, {"--csv": csv, "--page": page})
    if wrong is not None:
        _tell(wrong)
        return WRONG_USAGE
    try:
        poses = None if trajectory is None else read_trajectory(trajectory)
    except OSError as error:
        _tell(f"--trajectory {trajectory} cannot be read: {error.strerror or error}")
        return FAILED
    try:
        judge = load_backend(backend, weights)
    except ImportError as error:
        _tell(str(error))
        return FAILED
    rows = []
    for path in videos:
        row = _scored(path, camera, poses, judge)
        if row.error is not None:
            _tell(f"{path}: {row.error}")
        rows.append(row)
    if as_json:
        document = {"backend": backend, "videos": [_document(row) for row in rows]}
        sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
    else:
        _show([row for row in rows if row.error is None])
    if csv is not None:
        _write_csv(csv, rows)
    if page is not None:
        _write_page(page, rows, camera or (str(trajectory) if trajectory else None))
    return FAILED if any(row.error is not None for row in rows) else DONE


def _wrong_usage(
    videos: tuple[Path, ...], camera: str | None, trajectory: Path | None, written: dict[str, Path | None]
) -> str | None:
    from worldr1.camera.language import ALL_MOVES, parse_moves

    if not videos:
        return "name at least one video file"
    if camera is not None and trajectory is not None:
        return "give either --camera or --trajectory, not both"
    if camera is not None and not parse_moves(camera):
        return f"--camera '{camera}' names no camera move; the moves are {', '.join(ALL_MOVES)}"
    for option, path in written.items():
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            return f"{option} {path} cannot be written: it must name a file in a folder that exists"
    return None


def _scored(path: Path, camera: str | None, poses: Trajectory | None, judge: Backend) -> _Row:
    from worldr1.data.video import read_sampled
    from worldr1.scoring import score as score_video

    try:
        video = read_sampled(path, short_side=judge.short_side)
        scores = score_video(
            video.frames,
            camera=_asked(video, camera, poses),
            places=video.positions,
            reconstructor=judge.reconstructor,
        )
        return _Row(path, video=video, scores=scores)
    except (ValueError, OSError) as error:
        return _Row(path, error=" ".join(str(error).split()))


def _asked(video: SampledVideo, camera: str | None, poses: Trajectory | None) -> Trajectory | None:
    """The poses asked for at the frames that were read."""
    from worldr1.camera.trajectory import Trajectory

    if poses is not None:
        if poses.frames != video.total:
            raise ValueError(
                f"the camera has {poses.frames} poses and the video {video.total} frames; give one for each"
            )
        return Trajectory(_relative(poses, list(video.indices)), poses.moves, poses.fov)
    if camera is None:
        return None
    fine = Trajectory.from_prompt(camera, _FINE_FRAMES)
    return Trajectory(_relative(fine, [round(p * (_FINE_FRAMES - 1)) for p in video.positions]), fine.moves, fine.fov)


def _relative(trajectory: Trajectory, chosen: list[int]) -> Tensor:
    """Poses [N, 4, 4] of the chosen frames, relative to the first of them."""
    from worldr1.camera.se3 import relative_to_first

    return relative_to_first(trajectory.c2w[chosen].double()).float()


def _tell(sentence: str) -> None:
    sys.stderr.write(f"worldr1: {' '.join(sentence.split())}\n")


def _document(row: _Row) -> dict[str, object]:
    if row.video is None or row.scores is None:
        return {"video": str(row.path), "error": row.error}
    times = [None if time != time else round(time, 6) for time in row.video.times]
    used = {"used": list(row.video.indices), "times": times, "of": row.video.total}
    size = {"height": row.video.size[0], "width": row.video.size[1], "scored_at": list(_scored_at(row.video))}
    scores = {**row.scores.to_dict(), "warnings": list(row.warnings)}
    return {"video": str(row.path), "error": None, **scores, "frames": used, "size": size}


def _write_csv(path: Path, rows: list[_Row]) -> None:
    """One line for each video; what is missing is left empty."""
    import csv
    import io

    from worldr1.data.atomic import write_text

    text = io.StringIO()
    numbers = next((row.scores.numbers for row in rows if row.scores is not None), {})
    head = ["video", "error", *numbers, "frames_used", "frames_total", "warnings"]
    writer = csv.DictWriter(text, head, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        line: dict[str, object] = {
            "video": str(row.path),
            "error": row.error or "",
            "warnings": "; ".join(row.warnings),
        }
        if row.video is not None and row.scores is not None:
            line |= {name: "" if value is None else value for name, value in row.scores.numbers.items()}
            line |= {"frames_used": len(row.video.indices), "frames_total": row.video.total}
        writer.writerow(line)
    write_text(path, text.getvalue())


def _write_page(path: Path, rows: list[_Row], asked: str | None) -> None:
    from worldr1.data.atomic import write_text
    from worldr1.evaluation.leaderboard import leaderboard_page

    entries = [_entry(row.path, row.video, row.scores, row.warnings) for row in rows if row.video and row.scores]
    unscored = {str(row.path): row.error for row in rows if row.error is not None}
    write_text(path, leaderboard_page(entries, unscored, asked))


def _entry(path: Path, video: SampledVideo, scores: VideoScores, warnings: tuple[str, ...]) -> Entry:
    from worldr1.evaluation.leaderboard import Entry
    from worldr1.notebook import png

    height, width = _scored_at(video)
    return Entry(
        name=str(path),
        numbers=scores.numbers,
        kind=f"{len(video.indices)} frames of {width}x{height}",
        warnings=warnings,
        curve=scores.curves.psnr,
        picture=png(video.frames[len(video.frames) // 2]),
    )


def _scored_at(video: SampledVideo) -> tuple[int, int]:
    from worldr1.scoring import picture_size

    height, width = video.frames.shape[2:]
    return picture_size((height, width))


def _paragraph(names: list[str], cells: list[str], width: int) -> list[str]:
    """Names and values side by side, as many in a line as fit."""
    told = [f"{name} {cell}" for name, cell in zip(names, cells, strict=True) if cell]
    longest = max(map(len, told)) + 2
    in_line = max(1, (width - 2) // longest)
    lines = [told[start : start + in_line] for start in range(0, len(told), in_line)]
    return ["  " + "".join(f"{entry:{longest}}" for entry in line).rstrip() for line in lines]


def _show(rows: list[_Row]) -> None:
    """One table, or where the window is too narrow for it a paragraph for each video; no number is ever cut."""
    from rich.console import Console
    from rich.markup import escape
    from rich.measure import Measurement
    from rich.table import Table

    if not rows:
        return
    console = Console(soft_wrap=True)
    table = Table("video", box=None, pad_edge=False)
    names = [name.replace("_", " ") for name in ("frames", *_COLUMNS)]
    for name in names:
        table.add_column(name, justify="right")
    paragraphs: list[str] = []
    for row in rows:
        if row.video is None or row.scores is None:
            continue
        values = [row.scores.numbers[name] for name in _COLUMNS]
        frames = f"{len(row.video.indices)}/{row.video.total}"
        cells = [frames, *("" if v is None else f"{v:.3f}" for v in values)]
        table.add_row(escape(str(row.path)), *cells)
        paragraphs += [str(row.path), *_paragraph(names, cells, console.width)]
    if Measurement.get(console, console.options.update(max_width=10_000), table).maximum <= console.width:
        console.print(table)
    else:
        console.print("\n".join(paragraphs), markup=False, highlight=False)
    for row in rows:
        for warning in row.warnings:
            console.print(f"{row.path}: {warning}", markup=False, highlight=False)
