"""`python -m benchmarks.foreign`: film rooms with VTK, spoil them, score all, and write a table."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import tyro

from benchmarks.foreign.scene import SPOILS, Film, sample_room
from worldr1.camera.language import ALL_MOVES
from worldr1.camera.trajectory import Trajectory
from worldr1.data.video import read_sampled
from worldr1.evaluation.video import write_video
from worldr1.reconstruction.backends import Backend, BackendName, load_backend
from worldr1.scoring import VideoScores, score

FPS = 16
METRICS = ("recon", "psnr", "mvcs")
_MOVING = [move for move in ALL_MOVES if move.split()[0] in ("push", "move", "orbit", "pull", "crane")]


def main(
    out: Path = Path("runs/foreign"),
    clips: int = 32,
    frames: int = 33,
    height: int = 480,
    width: int = 832,
    backend: BackendName = "stereo",
    weights: str | None = None,
    seed: int = 7,
) -> None:
    """Film and score pairs of a consistent video and a spoilt version of it.

    Args:
        out: folder for the videos, results.json and results.md.
        clips: number of pairs.
        frames: of each video, at 16 a second.
        height, width: of the pictures, even.
        backend, weights: as of `worldr1 score`.
        seed: of rooms, cameras and fields of view.
    """
    rng = np.random.default_rng(seed)
    judge = load_backend(backend, weights)
    rows = []
    for number in range(clips):
        camera = Trajectory.from_moves(
            tuple(rng.choice(_MOVING, size=1 + number % 2, replace=False)), frames, float(rng.uniform(52, 76))
        )
        kind, room = SPOILS[number % len(SPOILS)], sample_room(rng)
        film = Film(room, height, width, camera.fov)
        row: dict[str, object] = {"clip": number, "moves": ", ".join(camera.moves), "fov": camera.fov, "spoilt": kind}
        for name, spoil in (("good", None), ("bad", kind)):
            poses = enumerate(camera.c2w.double().numpy())
            shots = [film.shoot(pose, spoil, k / (frames - 1)) for k, pose in poses]
            video = torch.from_numpy(np.stack(shots)).permute(0, 3, 1, 2).float() / 255
            path = write_video(out / f"{number:02d}-{spoil or 'true'}.mp4", video, fps=FPS)
            row[name] = _scored(path, camera, judge)
        film.close()
        rows.append(row)
        sys.stdout.write(_line(row) + "\n")
        sys.stdout.flush()
    result = summary(rows, frames) | {"backend": backend, "size": [height, width], "frames": frames, "seed": seed}
    (out / "results.json").write_text(json.dumps({"summary": result, "rows": rows}, indent=1) + "\n", "utf-8")
    text = table(rows, result)
    (out / "results.md").write_text(text, "utf-8")
    sys.stdout.write(text)


def _scored(path: Path, camera: Trajectory, judge: Backend) -> dict[str, object]:
    """Numbers of one file, or why there are none; and the seconds that reading and scoring took."""
    began = time.perf_counter()
    try:
        video = read_sampled(path, short_side=judge.short_side)
        found: VideoScores = score(
            video.frames, camera if video.total == len(video.frames) else None, reconstructor=judge.reconstructor
        )
    except ValueError as error:
        return {"error": str(error), "seconds": time.perf_counter() - began}
    return {**found.numbers, "warnings": list(found.warnings), "seconds": time.perf_counter() - began}


def summary(rows: list[dict], frames: int) -> dict[str, object]:
    """Share of pairs ranked right by each metric (a pair with a missing score counts as wrong), medians, cost."""
    good = [row["good"] for row in rows]

    def median(name: str, factor: float) -> float:
        values = [g[name] * factor for g in good if g.get(name) is not None]
        return float(np.median(values)) if values else float("nan")

    return {
        "pairs": len(rows),
        "ranked_right": {m: float(np.mean([_won(row, m) for row in rows])) for m in METRICS},
        "ranked_right_by_kind": {
            kind: float(np.mean([_won(row, "recon") for row in rows if row["spoilt"] == kind]))
            for kind in SPOILS
            if any(row["spoilt"] == kind for row in rows)
        },
        "rot_err_degrees_a_frame": median("rot_err", np.degrees(1.0) / frames),
        "trans_err_a_frame": median("trans_err", 1.0 / frames),
        "seconds_a_second_of_video": median("seconds", FPS / frames),
    }


def _won(row: dict, metric: str) -> bool:
    a, b = row["good"].get(metric), row["bad"].get(metric)
    return a is not None and (b is None or a > b)


def _line(row: dict) -> str:
    good, bad = row["good"], row["bad"]
    numbers = " ".join(f"{m} {_shown(good.get(m))} {_shown(bad.get(m))}" for m in METRICS)
    return (
        f"{row['clip']:2d} {row['spoilt']:5} {row['moves']:24} {numbers} RotErr {_shown(good.get('rot_err'))} "
        f"TransErr {_shown(good.get('trans_err'))} {good['seconds']:.1f} s {good.get('error', '')}"
    )


def _shown(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "-"


def table(rows: list[dict], result: dict) -> str:
    """The pairs and their summary in Markdown."""
    heads = ["clip", "moves", "spoilt", *(f"{m}, true / spoilt" for m in METRICS), "RotErr", "TransErr", "seconds"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        good, bad = row["good"], row["bad"]
        pairs = [f"{_shown(good.get(m))} / {_shown(bad.get(m))}" for m in METRICS]
        errors = [_shown(good.get(name)) for name in ("rot_err", "trans_err", "seconds")]
        lines.append("| " + " | ".join([str(row["clip"]), row["moves"], row["spoilt"], *pairs, *errors]) + " |")
    told = ", ".join(f"{m} {share:.1%}" for m, share in result["ranked_right"].items())
    lines += [
        "",
        f"Of {result['pairs']} pairs ranked right: {told}. Median of the true videos: RotErr "
        f"{result['rot_err_degrees_a_frame']:.3f} degrees and TransErr {result['trans_err_a_frame']:.4f} scene depths "
        f"a frame. Scoring takes {result['seconds_a_second_of_video']:.2f} s for a second of "
        f"{result['size'][1]}x{result['size'][0]} video.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tyro.cli(main)
