"""What was measured, as a table in Markdown and as the sentences below it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

WANTED = 0.45
"""Share of the card's matrix rate that the transformer's forward shall reach."""
NEEDED = ("forward", "rollout", "update")
"""The stages without which there is no result."""
_OF_A_STEP = {"rollout", "decode", "reconstruction", "update"}
_HEAD = ("stage", "of", "seconds", "peak GiB", "in memory, GiB")


def forward_share(flops: float, seconds: float, rate: float) -> dict[str, float | bool]:
    """Model FLOP utilisation of one evaluation: its work over what the card's matrix product does in its time.

    Args:
        flops: of the evaluation, a multiply and an add being two.
        seconds: that it took.
        rate: operations a second of a large bfloat16 matrix product on the same device.
    """
    share = flops / seconds / rate
    return {
        "tflop": flops / 1e12,
        "seconds": seconds,
        "matrix_tflops": rate / 1e12,
        "share": share,
        "wanted": WANTED,
        "reached": share >= WANTED,
    }


def markdown(content: Mapping[str, Any]) -> str:
    """Machine, commit, one line per stage, and the verdicts."""
    machine = ", ".join(f"{name} {value}" for name, value in content["machine"].items())
    clip = content["clip"]
    size = "tiny random configurations of the same classes" if content["tiny"] else "full size, random weights"
    lines = [
        f"# {content['recipe']}, {size}: {content['date'][:10]}, commit {content['commit']}\n",
        *(["Tiny sizes (--tiny): shows that everything runs, no figures to quote.\n"] if content["tiny"] else []),
        f"{machine}.\n",
        f"{content['videos']} videos of {clip['frames']} frames, {clip['width']}x{clip['height']}; transformer "
        f"{content['parameters']['transformer']:,} parameters, {content['parameters']['trained']:,} of them trained.\n",
        _line(_HEAD),
        _line(["---"] * len(_HEAD)),
        *(_line(_cells(stage)) for stage in content["stages"]),
        "",
        *(f"{sentence}\n" for sentence in sentences(content)),
    ]
    return "\n".join(lines)


def sentences(content: Mapping[str, Any]) -> list[str]:
    """Utilisation with its verdict, peak memory, a step's time, and what is missing."""
    said = []
    forward = content["forward"]
    if forward is not None:
        verdict = "reached" if forward["reached"] else "NOT reached"
        said.append(
            f"MFU of the transformer's forward: {forward['share']:.1%} ({forward['tflop']:.4g} TFLOP in "
            f"{forward['seconds']:.3g} s, of {forward['matrix_tflops']:.4g} TFLOP/s measured): the wanted "
            f"{forward['wanted']:.0%} is {'not judged at this size' if content['tiny'] else verdict}."
        )
    peaks = [(stage["peak_gib"], stage["name"]) for stage in content["stages"] if stage["peak_gib"] is not None]
    if peaks:
        highest, name = max(peaks)
        said.append(
            f"Highest peak: {highest:.1f} GiB in '{name}'; torch reserved {content['reserved_gib']:.1f} GiB at most."
        )
    if content["seconds_per_step"] is not None:
        said.append(
            f"A training step of {content['videos_per_step']} videos would take "
            f"{content['seconds_per_step']:.4g} s at these rates."
        )
    absent = [name for name, values in content["scores"].items() if not all(math.isfinite(v) for v in values)]
    if absent:
        said.append(f"Scores missing, as they may be of random models: {', '.join(absent)}.")
    failed = [stage["name"] for stage in content["stages"] if stage["seconds"] is None]
    if failed:
        said.append(f"Out of memory: {', '.join(failed)}.")
    return said


def seconds_per_step(stages: Sequence[Mapping[str, Any]], videos: int, per_step: int) -> float | None:
    """Seconds of a step of `per_step` videos by its stages; None where one is missing or did not fit."""
    spent = {stage["name"]: stage["seconds"] for stage in stages}
    parts = [name for name in spent if name in _OF_A_STEP or name.startswith("reward")]
    if not spent.keys() >= _OF_A_STEP or any(stage["seconds"] is None for stage in stages):
        return None
    return sum(spent[name] for name in parts) * per_step / videos


def _cells(stage: Mapping[str, Any]) -> list[str]:
    resident = stage["resident_gib"]
    return [
        stage["name"],
        stage["work"],
        "out of memory" if stage["seconds"] is None else f"{stage['seconds']:.3g}",
        "" if stage["peak_gib"] is None else f"{stage['peak_gib']:.1f}",
        ", ".join(f"{name} {size:.2g}" for name, size in resident.items()),
    ]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
