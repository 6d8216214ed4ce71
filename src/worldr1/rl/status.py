"""What a run directory tells about its run, without writing to it: state, progress, rewards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from worldr1.recipes import Recipe, load_recipe
from worldr1.rl.checkpoint import checkpoint_header, list_checkpoints
from worldr1.rl.metrics import read_metrics
from worldr1.rl.run import RunDirectory, holder, is_held

State = Literal["running", "finished", "stopped", "broken"]
_NEVER = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class RunStatus:
    """One line of `worldr1 runs`; None is what a run does not tell, or not yet.

    Attributes:
        directory: the run directory.
        state: "running" while a process holds its lock; "finished" when its weights are written after the last step,
            or after `schedule.max_minutes`; "stopped" between the two; "broken" when it cannot go on as it lies.
        reason: why it is broken.
        process: the one that holds the lock.
        recipe: its name.
        steps: updates in the metrics.
        total_steps: of the recipe.
        resumes_at: step of the newest checkpoint that has its form; `--resume` also compares checksums.
        phase: of the last update, "main" or "dynamic".
        reward: mean total reward of the last update's videos.
        held_out: mean total reward of the last evaluation while training.
        gap_closed: share of the gap to ground truth, once `worldr1 evaluate` has told it.
        hacked: whether that evaluation found a guard outside its band.
        written: when metrics were last written, or else the directory.
    """

    directory: Path
    state: State
    reason: str | None = None
    process: int | None = None
    recipe: str | None = None
    steps: int = 0
    total_steps: int | None = None
    resumes_at: int | None = None
    phase: str | None = None
    reward: float | None = None
    held_out: float | None = None
    gap_closed: float | None = None
    hacked: bool | None = None
    written: datetime | None = None


def list_runs(folder: Path) -> list[RunStatus]:
    """The status of each directory in a folder, the last written last; of the folder itself if it holds a run.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no directory {folder}; name the one that holds the runs")
    if RunDirectory(folder).recipe.is_file():
        return [run_status(folder)]
    found = [run_status(path) for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(found, key=lambda run: (run.written or _NEVER, run.directory))


def run_status(root: Path) -> RunStatus:
    """The status of one directory, whatever lies in it."""
    run = RunDirectory(root)
    written = None
    try:
        written = datetime.fromtimestamp((run.metrics if run.metrics.exists() else root).stat().st_mtime).astimezone()
        held = is_held(run)
        if held and not run.recipe.exists():
            return RunStatus(root, "running", process=holder(run), written=written)
        if not run.recipe.is_file():
            return RunStatus(root, "broken", "no recipe.yaml: no run, or one that never began", written=written)
        return _status(run, load_recipe(run.recipe), held, written)
    except (ValueError, OSError) as error:
        return RunStatus(root, "broken", " ".join(str(error).split()), written=written)


def _status(run: RunDirectory, recipe: Recipe, held: bool, written: datetime) -> RunStatus:
    records = read_metrics(run.metrics) if run.metrics.exists() else []
    last, asked = _last(records, "train"), _last(records, "evaluation")
    resumes_at, values = _resumes_at(run.checkpoints)
    schedule = recipe.schedule
    over = schedule.max_minutes is not None and values.get("minutes", 0.0) >= schedule.max_minutes
    saved = (run.lora if recipe.model.adapter == "lora" else run.pipeline).is_dir()
    judged = _judged(run.evaluation)
    return RunStatus(
        run.root,
        "running" if held else "finished" if saved and (over or resumes_at >= schedule.total_steps) else "stopped",
        process=holder(run) if held else None,
        recipe=recipe.name,
        steps=int(_number(last, "step", run.metrics) or 0) + 1 if last else 0,
        total_steps=schedule.total_steps,
        resumes_at=resumes_at,
        phase=str(last["phase"]) if "phase" in last else None,
        reward=_number(last, "reward/total", run.metrics),
        held_out=_number(asked, "reward/total", run.metrics),
        gap_closed=_number(judged, "gap_closed", run.evaluation),
        hacked=bool(judged["hacked"]) if "hacked" in judged else None,
        written=written,
    )


def _resumes_at(folder: Path) -> tuple[int, dict[str, Any]]:
    """Step and values of the newest checkpoint that has its form. Raises as `checkpoint_header` if none has."""
    newest_first = list_checkpoints(folder)[::-1]
    for path in newest_first:
        with suppress(ValueError, OSError):
            return checkpoint_header(path)
    return checkpoint_header(newest_first[0]) if newest_first else (0, {})


def _last(records: Sequence[Mapping[str, Any]], kind: str) -> Mapping[str, Any]:
    return next((record for record in reversed(records) if record.get("kind") == kind), {})


def _judged(path: Path) -> Mapping[str, Any]:
    """What evaluation.json holds; empty where there is none."""
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not a JSON object")
    return content


def _number(record: Mapping[str, Any], name: str, where: Path) -> float | None:
    value = record.get(name)
    if value is not None and not isinstance(value, (int, float)):
        raise ValueError(f"{where}: {name} is {value!r}, not a number")
    return value
