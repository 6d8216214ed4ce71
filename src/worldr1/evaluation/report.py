"""The report: one HTML file that needs nothing beside it and no network.

Reads from the run directory what is there: recipe.yaml and metrics.jsonl (training), samples/step-*/ and
samples/prompts.json (clips kept while training), evaluation.json, cameras.json and samples/evaluation/ (`worldr1
evaluate`), modes.png (the base's two modes, see `distribution.modes`). What is missing is left out of the page.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldr1.data.atomic import write_text
from worldr1.evaluation.sections import Clip, assemble_page

MEDIA = {".mp4": "video/mp4", ".webm": "video/webm", ".png": "image/png"}


@dataclass(frozen=True)
class RunRecord:
    """What a run directory holds, read and ready to be shown; empty where a file is missing."""

    name: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    training: Sequence[Mapping[str, Any]] = ()
    held_out: Sequence[Mapping[str, Any]] = ()
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    cameras: Sequence[Mapping[str, Any]] = ()
    clips: Sequence[Clip] = ()
    modes_picture: str = ""


def write_report(run_dir: Path) -> Path:
    """Write `report.html` into a run directory.

    Returns:
        Its path.

    Raises:
        FileNotFoundError: if the directory holds neither metrics.jsonl nor evaluation.json.
        ValueError: if one of the files is damaged; the sentence names it.
    """
    target = run_dir / "report.html"
    write_text(target, assemble_page(read_run(run_dir)))
    return target


def read_run(run_dir: Path) -> RunRecord:
    """Read all that a report shows; raises as `write_report`."""
    from worldr1.rl.metrics import read_metrics

    metrics = run_dir / "metrics.jsonl"
    evaluation: dict[str, Any] = _json(run_dir / "evaluation.json", {})
    require_run(run_dir)
    picture = run_dir / "modes.png"
    return RunRecord(
        name=run_dir.resolve().name,
        recipe=_recipe(run_dir / "recipe.yaml"),
        training=read_metrics(metrics, "train") if metrics.is_file() else (),
        held_out=read_metrics(metrics, "evaluation") if metrics.is_file() else (),
        evaluation=evaluation,
        cameras=_json(run_dir / "cameras.json", []),
        clips=_evaluated_clips(run_dir, evaluation) or _training_clips(run_dir),
        modes_picture=data_uri(picture) if picture.is_file() else "",
    )


def require_run(run_dir: Path) -> None:
    """Raises FileNotFoundError if a directory holds nothing that a report could show."""
    if not any((run_dir / name).is_file() for name in ("metrics.jsonl", "evaluation.json")):
        raise FileNotFoundError(f"{run_dir} holds no run: neither metrics.jsonl nor evaluation.json is in it")


def data_uri(path: Path) -> str:
    """A file as a data: address.

    Raises:
        ValueError: if its suffix is none that a browser shows.
    """
    if path.suffix not in MEDIA:
        raise ValueError(f"{path} cannot be shown in a page; known kinds: {', '.join(MEDIA)}")
    return f"data:{MEDIA[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _evaluated_clips(run_dir: Path, evaluation: Mapping[str, Any]) -> list[Clip]:
    rows = {row["index"]: row for row in evaluation.get("videos", [])}
    clips = []
    for entry in evaluation.get("clips", []):
        files = {side: run_dir / entry[side] for side in ("base", "trained", "ground_truth") if side in entry}
        if not all(path.is_file() for path in files.values()):
            continue
        row = rows.get(entry["index"], {})
        psnr = {side: row.get(side, {}).get("psnr") for side in files}
        clips.append(
            Clip(
                prompt=entry["prompt"],
                index=entry["index"],
                sides={side: data_uri(path) for side, path in files.items()},
                psnr={side: value for side, value in psnr.items() if value is not None},
            )
        )
    return clips


def _training_clips(run_dir: Path) -> list[Clip]:
    """First against last of the clips kept while training, when there is no evaluation."""
    steps = sorted((run_dir / "samples").glob("step-*"))
    prompts: list[str] = _json(run_dir / "samples" / "prompts.json", [])
    if len(steps) < 2:
        return []
    clips = []
    for index, prompt in enumerate(prompts):
        pair = [next(iter(sorted(step.glob(f"{index:02d}.*"))), None) for step in (steps[0], steps[-1])]
        if pair[0] is not None and pair[1] is not None:
            clips.append(Clip(prompt, index, {"base": data_uri(pair[0]), "trained": data_uri(pair[1])}, {}))
    return clips


def _recipe(path: Path) -> dict[str, Any]:
    import yaml

    return dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}


def _json(path: Path, missing: Any) -> Any:
    if not path.is_file():
        return missing
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
