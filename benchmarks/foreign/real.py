"""`python -m benchmarks.foreign.real CLIPS...`: clips from real cameras against spoilt versions of themselves.

It fetches nothing: name files or folders of pictures, such as packages ship them. Both versions are scored from a file
encoded in the same way. Where `worldr1 score` warns of the clip as it is, nothing can be expected of its geometry; such
windows are told apart from the others.
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

from benchmarks.foreign.judge import METRICS, scored, shown, won
from benchmarks.foreign.spoil import KINDS, STRENGTHS, spoil
from benchmarks.parts import part
from benchmarks.results import RESULTS, save
from worldr1.data.video import read_sampled
from worldr1.evaluation.video import write_video
from worldr1.reconstruction.backends import Backend, BackendName, load_backend

MOST_READ = 900
FPS = 16
Row = dict[str, Any]


def main(
    clips: tyro.conf.Positional[tuple[Path, ...]],
    out: Path = Path("runs/foreign-real"),
    results: Path = RESULTS,
    windows: int = 2,
    frames: int = 33,
    short_side: int = 240,
    backend: BackendName = "stereo",
    seed: int = 7,
) -> None:
    """Score windows of clips as they are and spoilt in ten ways; goes on where it was interrupted.

    Args:
        clips: video files, or folders of pictures.
        out: folder for the videos.
        results: folder for the table and the numbers, by date.
        windows: of each clip, evenly spread over it.
        frames: of a window, which covers a quarter of its clip where that is more; a clip with fewer is taken whole.
        short_side: pixels on the short side at which clips are spoilt and encoded.
        backend: as of `worldr1 score`.
        seed: of the defects.
    """
    judge = load_backend(backend)
    parts = [part for clip in clips for part in cut(clip, windows, frames, short_side)]
    rows: list[Row] = []
    for number, (name, video) in enumerate(parts):
        other = like(_another(parts, number), video)
        setting = {"backend": backend, "seed": seed, "number": number, "windows": windows, "size": list(video.shape)}
        base = out / re.sub(r"[^A-Za-z0-9]+", "-", name)
        row = part(base / f"{backend}.json", setting, partial(_window, base, name, video, other, judge, (seed, number)))
        rows.append(row)
        sys.stdout.write(_line(row) + "\n")
        sys.stdout.flush()
    path = save(results, f"foreign-real-{backend}", {"backend": backend, "summary": summary(rows), "rows": rows}, table)
    sys.stdout.write(f"{path.with_suffix('.md').read_text('utf-8')}\nwrote {path}\n")


def _window(base: Path, name: str, video: Tensor, other: Tensor, judge: Backend, seed: tuple[int, int]) -> Row:
    row: Row = {"window": name, "size": list(video.shape[2:]), "frames": len(video), "spoilt": {}}
    row["good"] = scored(write_video(base / "true.mp4", video, fps=FPS), judge)
    for kind in KINDS:
        for strength in STRENGTHS:
            spoilt = spoil(video, kind, strength, np.random.default_rng(seed), other)
            path = write_video(base / f"{kind}-{strength}.mp4", spoilt, fps=FPS)
            row["spoilt"][f"{kind} {strength}"] = scored(path, judge)
    return row


def cut(path: Path, windows: int, frames: int, short_side: int) -> list[tuple[str, Tensor]]:
    """Windows of a clip as (name:first frame, [T, 3, H, W] in [0, 1]), of even size, as H.264 needs it."""
    video = read_sampled(path, MOST_READ, short_side).frames
    video = video[:: max(1, len(video) // (4 * frames))]
    video = video[:, :, : video.shape[2] // 2 * 2, : video.shape[3] // 2 * 2]
    length = min(frames, len(video))
    count = max(1, min(windows, len(video) // length))
    starts = (
        [round(k) for k in np.linspace(0, len(video) - length, count)] if count > 1 else [(len(video) - length) // 2]
    )
    return [(f"{path.stem}:{start}", video[start : start + length]) for start in starts]


def _another(parts: Sequence[tuple[str, Tensor]], number: int) -> Tensor:
    """The next window of another clip; with one clip only, its last window."""
    of = parts[number][0].rsplit(":", 1)[0]
    following = [*parts[number + 1 :], *parts[:number]]
    return next((video for name, video in following if name.rsplit(":", 1)[0] != of), parts[-1][1])


def like(other: Tensor, video: Tensor) -> Tensor:
    """Another video in the size and length of this one; its frames come again when it is shorter."""
    sized = functional.interpolate(other, size=tuple(video.shape[2:]), mode="bilinear", antialias=True)
    return sized[torch.arange(len(video)) % len(sized)]


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Shares of pairs ranked right, of the windows without and with a warning, by metric and by defect."""
    groups = {"judgeable": [r for r in rows if _judgeable(r)], "warned": [r for r in rows if not _judgeable(r)]}
    return {name: _shares(chosen) for name, chosen in groups.items() if chosen}


def _shares(rows: Sequence[Row]) -> dict[str, Any]:
    def share(metric: str, *defects: str) -> float:
        pairs = [(r["good"], bad) for r in rows for name, bad in r["spoilt"].items() if name in defects or not defects]
        return float(np.mean([won(good, bad, metric) for good, bad in pairs]))

    metrics = (*METRICS, "smoothness")
    return {
        "windows": len(rows),
        "pairs": sum(len(row["spoilt"]) for row in rows),
        "ranked_right": {metric: share(metric) for metric in metrics},
        "by_defect": {name: {metric: share(metric, name) for metric in metrics} for name in rows[0]["spoilt"]},
    }


def _judgeable(row: Row) -> bool:
    return row["good"].get("warnings") == []


def _line(row: Row) -> str:
    good = row["good"]
    lost = [name for name, bad in row["spoilt"].items() if not won(good, bad, "recon")]
    told = "; ".join(good.get("warnings", [good.get("error", "")]))
    return f"{row['window']:28} recon {shown(good.get('recon'))} lost {', '.join(lost) or 'none'} {told}"


def table(content: Mapping[str, Any]) -> str:
    """Machine, shares by defect and all windows in Markdown."""
    machine = ", ".join(f"{name} {value}" for name, value in content["machine"].items())
    lines = [
        f"# Score of clips from real cameras, {content['date'][:10]}, commit {content['commit']}\n",
        f"{machine}. Backend {content['backend']}.",
    ]
    for name, group in content["summary"].items():
        metrics = list(group["ranked_right"])
        lines += [
            f"\n## {group['windows']} windows {'without' if name == 'judgeable' else 'with'} a warning\n",
            "| spoilt | " + " | ".join(metrics) + " |",
            "|" + "---|" * (len(metrics) + 1),
        ]
        shares = {**group["by_defect"], f"all {group['pairs']} pairs": group["ranked_right"]}
        lines += [f"| {row} | " + " | ".join(f"{of[m]:.0%}" for m in metrics) + " |" for row, of in shares.items()]
    defects = list(content["rows"][0]["spoilt"])
    lines += [
        "\n## recon of every window\n",
        "| window | true | " + " | ".join(defects) + " | warnings |",
        "|" + "---|" * (len(defects) + 3),
    ]
    for row in content["rows"]:
        told = "; ".join(row["good"].get("warnings", [row["good"].get("error", "")]))
        values = [shown(row["good"].get("recon")), *(shown(row["spoilt"][name].get("recon")) for name in defects)]
        lines.append(f"| {row['window']} | " + " | ".join(values) + f" | {told} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tyro.cli(main)
