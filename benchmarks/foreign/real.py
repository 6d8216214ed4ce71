"""`python -m benchmarks.foreign.real FOLDER`: clips from real cameras against spoilt versions of themselves.

It fetches nothing: `clips.json` says which package or repository ships each clip, and under which name it is looked for
in FOLDER. Both versions are scored from a file encoded in the same way. Clips in which only the camera moves are what a
score of 3D consistency is for; the others are told apart from them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor
from torch.nn import functional

from benchmarks.foreign.clips import LIST, Window, cut, listed
from benchmarks.foreign.judge import METRICS, scored, shown, won
from benchmarks.foreign.spoil import KINDS, STRENGTHS, spoil
from benchmarks.parts import part
from benchmarks.results import RESULTS, save
from worldr1.evaluation.statistics import mean_of, paired_bootstrap
from worldr1.evaluation.video import write_video
from worldr1.reconstruction.backends import Backend, BackendName, load_backend

FPS = 16
SHOWN = ("rigidity", "recon")
Row = dict[str, Any]


def main(
    folder: tyro.conf.Positional[Path],
    clips: Path = LIST,
    out: Path = Path("runs/foreign-real"),
    results: Path = RESULTS,
    windows: int = 1,
    frames: int = 33,
    seconds: float = 5.0,
    short_side: int = 240,
    backend: BackendName = "stereo",
    seed: int = 7,
) -> None:
    """Score windows of clips as they are and spoilt in ten ways; goes on where it was interrupted.

    Args:
        folder: where the clips are.
        clips: the list of them, in JSON.
        out: folder for the videos.
        results: folder for the table and the numbers, by date.
        windows: of each clip, evenly spread over it.
        frames: of a window; a clip with fewer is taken whole.
        seconds: that a window covers, or the whole of a shorter clip.
        short_side: pixels on the short side at which clips are spoilt and encoded.
        backend: as of `worldr1 score`.
        seed: of the defects.
    """
    judge = load_backend(backend)
    chosen = listed(clips)
    missing = [clip.file for clip in chosen if not (folder / clip.file).exists()]
    if missing:
        sys.exit(f"{folder} lacks {', '.join(missing)}; {clips} says where they are from")
    parts = [part for clip in chosen for part in cut(clip, folder, windows, frames, seconds, short_side)]
    rows: list[Row] = []
    for number, window in enumerate(parts):
        other = like(_another(parts, number), window.video)
        base = out / re.sub(r"[^A-Za-z0-9]+", "-", window.name)
        setting = {"backend": backend, "seed": seed, "number": number, "seconds": seconds}
        setting |= {"windows": windows, "size": list(window.video.shape)}
        rows.append(part(base / f"{backend}.json", setting, partial(_row, base, window, other, judge, (seed, number))))
        sys.stdout.write(_line(rows[-1]) + "\n")
        sys.stdout.flush()
    found = {"backend": backend, "sources": _sources(clips), "summary": summary(rows), "rows": rows}
    path = save(results, f"foreign-real-{backend}", found, table)
    sys.stdout.write(f"{path.with_suffix('.md').read_text('utf-8')}\nwrote {path}\n")


def _row(base: Path, window: Window, other: Tensor, judge: Backend, seed: tuple[int, int]) -> Row:
    clip, video = window.clip, window.video
    row: Row = {"window": window.name, "clip": clip.name, "scene": clip.scene, "use": clip.use}
    row |= {"size": list(video.shape[2:]), "frames": len(video), "spoilt": {}}
    row["good"] = scored(write_video(base / "true.mp4", video, fps=FPS), judge)
    for kind in KINDS:
        for strength in STRENGTHS:
            spoilt = spoil(video, kind, strength, np.random.default_rng(seed), other)
            path = write_video(base / f"{kind}-{strength}.mp4", spoilt, fps=FPS)
            row["spoilt"][f"{kind} {strength}"] = scored(path, judge)
    return row


def _another(parts: Sequence[Window], number: int) -> Tensor:
    """The next window of another file; with one file only, its last window."""
    of = parts[number].clip.file
    following = [*parts[number + 1 :], *parts[:number]]
    return next((window.video for window in following if window.clip.file != of), parts[-1].video)


def like(other: Tensor, video: Tensor) -> Tensor:
    """Another video in the size and length of this one; its frames come again when it is shorter."""
    sized = functional.interpolate(other, size=tuple(video.shape[2:]), mode="bilinear", antialias=True)
    return sized[torch.arange(len(video)) % len(sized)]


def _sources(clips: Path) -> list[dict[str, str]]:
    return [{"clip": clip.name, "source": clip.source, "licence": clip.licence} for clip in listed(clips)]


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Shares of pairs ranked right by metric and by defect: of rigid clips that nothing was tuned on, of those that the
    scores were made with, and of clips in which things move."""
    groups = {
        "rigid, held out": [r for r in rows if r["scene"] == "rigid" and r["use"] == "held out"],
        "rigid, tuning": [r for r in rows if r["scene"] == "rigid" and r["use"] == "tuning"],
        "moving": [r for r in rows if r["scene"] == "moving"],
    }
    return {name: _shares(chosen) for name, chosen in groups.items() if chosen}


def _shares(rows: Sequence[Row]) -> dict[str, Any]:
    metrics = (*METRICS, "smoothness")
    defects = list(rows[0]["spoilt"])
    clips = sorted({row["clip"] for row in rows})

    def right(metric: str, row: Row, names: Sequence[str]) -> list[bool]:
        return [won(row["good"], row["spoilt"][name], metric) for name in names]

    def share(metric: str, names: Sequence[str]) -> float:
        return float(np.mean([right(metric, row, names) for row in rows]))

    def interval(metric: str) -> list[float]:
        by_clip = [np.mean([right(metric, r, defects) for r in rows if r["clip"] == clip]) for clip in clips]
        found = paired_bootstrap([np.array(by_clip)], mean_of)
        return [found.low, found.high]

    return {
        "clips": len(clips),
        "windows": len(rows),
        "pairs": len(rows) * len(defects),
        "ranked_right": {metric: share(metric, defects) for metric in metrics},
        "interval_over_clips": {metric: interval(metric) for metric in metrics},
        "by_defect": {name: {metric: share(metric, [name]) for metric in metrics} for name in defects},
    }


def _line(row: Row) -> str:
    good = row["good"]
    lost = [name for name, bad in row["spoilt"].items() if not won(good, bad, "rigidity")]
    told = "; ".join(good.get("warnings", [good.get("error", "")]))
    return f"{row['window']:28} rigidity {shown(good.get('rigidity'))} lost {', '.join(lost) or 'none'} {told}"


def table(content: Mapping[str, Any]) -> str:
    """Machine, shares by defect and all windows in Markdown; intervals are 95%, by bootstrap over clips."""
    machine = ", ".join(f"{name} {value}" for name, value in content["machine"].items())
    lines = [
        f"# Score of clips from real cameras, {content['date'][:10]}, commit {content['commit']}\n",
        f"{machine}. Backend {content['backend']}.",
    ]
    for name, group in content["summary"].items():
        metrics = list(group["ranked_right"])
        lines += [
            f"\n## {name}: {group['windows']} windows of {group['clips']} clips\n",
            "| spoilt | " + " | ".join(metrics) + " |",
            "|" + "---|" * (len(metrics) + 1),
        ]
        for defect, share in group["by_defect"].items():
            lines.append(f"| {defect} | " + " | ".join(f"{share[m]:.0%}" for m in metrics) + " |")
        total = (f"{group['ranked_right'][m]:.1%} ({_interval(group['interval_over_clips'][m])})" for m in metrics)
        lines.append(f"| all {group['pairs']} pairs | " + " | ".join(total) + " |")
    defects = list(content["rows"][0]["spoilt"])
    for metric in SHOWN:
        lines += [
            f"\n## {metric} of every window\n",
            "| window | scene | true | " + " | ".join(defects) + " |",
            "|" + "---|" * (len(defects) + 3),
        ]
        for row in content["rows"]:
            values = [shown(row["good"].get(metric)), *(shown(row["spoilt"][name].get(metric)) for name in defects)]
            lines.append(f"| {row['window']} | {row['scene']}, {row['use']} | " + " | ".join(values) + " |")
    lines += ["\n## Warnings of the true windows\n", "| window | warnings |", "|---|---|"]
    lines += [
        f"| {row['window']} | {'; '.join(row['good'].get('warnings', [row['good'].get('error', '')]))} |"
        for row in content["rows"]
    ]
    lines += ["\n## Sources\n", "| clip | from | licence |", "|---|---|---|"]
    lines += [f"| {one['clip']} | {one['source']} | {one['licence']} |" for one in content["sources"]]
    return "\n".join(lines) + "\n"


def _interval(ends: Sequence[float]) -> str:
    return f"{ends[0]:.0%} to {ends[1]:.0%}"


if __name__ == "__main__":
    tyro.cli(main)
