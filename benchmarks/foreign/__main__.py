"""`python -m benchmarks.foreign`: film rooms with VTK, spoil them, score all, and write a table."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

from benchmarks.foreign.judge import METRICS, Scored, scored, shown, won
from benchmarks.foreign.scene import SPOILS, Film, Room, sample_room
from benchmarks.parts import part
from benchmarks.results import RESULTS, save
from worldr1.camera.language import ALL_MOVES
from worldr1.camera.trajectory import Trajectory
from worldr1.evaluation.video import write_video
from worldr1.reconstruction.backends import Backend, BackendName, load_backend

FPS = 16
_MOVING = [move for move in ALL_MOVES if move.split()[0] in ("push", "move", "orbit", "pull", "crane")]
Row = dict[str, Any]


def main(
    out: Path = Path("runs/foreign"),
    results: Path = RESULTS,
    clips: int = 32,
    leave_out: tuple[int, ...] = (),
    frames: int = 33,
    height: int = 480,
    width: int = 832,
    backend: BackendName = "stereo",
    weights: str | None = None,
    seed: int = 7,
) -> None:
    """Film and score pairs of a consistent video and a spoilt version of it; goes on where it was interrupted.

    Args:
        out: folder for the videos.
        results: folder for the table and the numbers, by date.
        clips: number of pairs.
        leave_out: numbers of pairs to leave out, such as one in which the renderer hangs; the others stay as they are.
        frames: of each video, at 16 a second; at most the 33 that a score uses.
        height, width: of the pictures, even.
        backend, weights: as of `worldr1 score`.
        seed: of rooms, cameras and fields of view.
    """
    rng = np.random.default_rng(seed)
    judge = load_backend(backend, weights)
    setting = {"backend": backend, "weights": weights, "size": [height, width], "frames": frames, "seed": seed}
    rows: list[Row] = []
    for number in range(clips):
        camera = Trajectory.from_moves(
            tuple(rng.choice(_MOVING, size=1 + number % 2, replace=False)), frames, float(rng.uniform(52, 76))
        )
        kind, room = SPOILS[number % len(SPOILS)], sample_room(rng)
        if number in leave_out:
            continue
        shoot = partial(_pair, out, number, room, camera, kind, (height, width), judge)
        rows.append(part(out / f"{number:02d}-{backend}.json", setting, shoot))
        sys.stdout.write(_line(rows[-1]) + "\n")
        sys.stdout.flush()
    found = summary(rows, frames) | setting
    path = save(results, f"foreign-{backend}-{height}p", {"summary": found, "rows": rows}, table)
    sys.stdout.write(f"{path.with_suffix('.md').read_text('utf-8')}\nwrote {path}\n")


def _pair(
    out: Path, number: int, room: Room, camera: Trajectory, kind: str, size: tuple[int, int], judge: Backend
) -> Row:
    row: Row = {"clip": number, "moves": ", ".join(camera.moves), "fov": camera.fov, "spoilt": kind}
    for name, spoil in (("good", None), ("bad", kind)):
        path = write_video(out / f"{number:02d}-{spoil or 'true'}.mp4", film(room, camera, spoil, size), fps=FPS)
        row[name] = scored(path, judge, camera)
    return row


def film(room: Room, camera: Trajectory, spoilt: str | None, size: tuple[int, int]) -> Tensor:
    """The room along the camera [T, 3, H, W] in [0, 1], spoilt more or less from frame to frame."""
    stage = Film(room, *size, camera.fov)
    last = camera.frames - 1
    shots = [stage.shoot(pose, spoilt, k / last) for k, pose in enumerate(camera.c2w.double().numpy())]
    stage.close()
    return torch.from_numpy(np.stack(shots)).permute(0, 3, 1, 2).float() / 255


def summary(rows: Sequence[Row], frames: int) -> dict[str, Any]:
    """Share of pairs ranked right by each metric (a pair with a missing score counts as wrong), medians, cost."""
    good: list[Scored] = [row["good"] for row in rows]

    def median(name: str, factor: float) -> float:
        values = [g[name] * factor for g in good if g.get(name) is not None]
        return float(np.median(values)) if values else float("nan")

    def share(metric: str, chosen: Sequence[Row]) -> float:
        return float(np.mean([won(row["good"], row["bad"], metric) for row in chosen]))

    kinds = {kind: [row for row in rows if row["spoilt"] == kind] for kind in SPOILS}
    return {
        "pairs": len(rows),
        "ranked_right": {metric: share(metric, rows) for metric in METRICS},
        "ranked_right_by_kind": {
            metric: {kind: share(metric, chosen) for kind, chosen in kinds.items() if chosen} for metric in METRICS
        },
        "rot_err_degrees_a_frame": median("rot_err", np.degrees(1.0) / frames),
        "trans_err_a_frame": median("trans_err", 1.0 / frames),
        "seconds_a_second_of_video": median("seconds", FPS / frames),
        "cpu_seconds_a_second_of_video": median("cpu_seconds", FPS / frames),
    }


def _line(row: Row) -> str:
    good, bad = row["good"], row["bad"]
    numbers = " ".join(f"{m} {shown(good.get(m))} {shown(bad.get(m))}" for m in METRICS)
    return (
        f"{row['clip']:2d} {row['spoilt']:5} {row['moves']:24} {numbers} RotErr {shown(good.get('rot_err'))} "
        f"TransErr {shown(good.get('trans_err'))} {good['seconds']:.1f} s {good.get('error', '')}"
    )


def table(content: Mapping[str, Any]) -> str:
    """Machine, pairs and their summary in Markdown; RotErr and TransErr are sums over the frames of the true video."""
    result, machine = content["summary"], ", ".join(f"{name} {value}" for name, value in content["machine"].items())
    heads = ["clip", "moves", "spoilt", *(f"{m}, true / spoilt" for m in METRICS), "RotErr", "TransErr", "seconds"]
    lines = [
        f"# Score of rooms filmed by VTK, {content['date'][:10]}, commit {content['commit']}\n",
        f"{machine}. Backend {result['backend']}, {result['frames']} frames.\n",
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
    ]
    for row in content["rows"]:
        good, bad = row["good"], row["bad"]
        pairs = [f"{shown(good.get(m))} / {shown(bad.get(m))}" for m in METRICS]
        errors = [shown(good.get(name)) for name in ("rot_err", "trans_err", "seconds")]
        lines.append("| " + " | ".join([str(row["clip"]), row["moves"], row["spoilt"], *pairs, *errors]) + " |")
    told = ", ".join(f"{m} {share:.1%}" for m, share in result["ranked_right"].items())
    by_kind = {
        metric: ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items())
        for metric, shares in result["ranked_right_by_kind"].items()
    }
    lines += [
        "",
        f"Of {result['pairs']} pairs ranked right: {told}; by recon: {by_kind['recon']}; by "
        f"rigidity: {by_kind['rigidity']}. Median of the true videos: RotErr "
        f"{result['rot_err_degrees_a_frame']:.3f} degrees and TransErr {result['trans_err_a_frame']:.4f} scene depths "
        f"a frame. Scoring takes {result['seconds_a_second_of_video']:.2f} s "
        f"({result['cpu_seconds_a_second_of_video']:.2f} s of processor time) for a second of "
        f"{result['size'][1]}x{result['size'][0]} video.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tyro.cli(main)
