"""ablation.json as tables: rows are variants, cells the paper's value and ours, each with its effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worldr1.ablation.document import NOT_RUN
from worldr1.ablation.effects import MEASURES, Measure

_PAPER_TITLES = {"psnr": "PSNR, dB", "ssim": "SSIM", "lpips": "LPIPS", "vbench": "VBench"}
_PAPER_DIGITS = {"psnr": 2, "ssim": 3, "lpips": 3, "vbench": 2}


@dataclass(frozen=True)
class Table:
    """Heads and rows of text; the first column is the variant's title."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def consistency_table(document: Mapping[str, Any]) -> Table:
    """What the paper measures on re-rendering, beside ours: PSNR of both evaluators, SSIM and LPIPS of the second."""
    return _table(
        "3D consistency, the paper's beside ours", document, ("psnr", "fitted_psnr", "fitted_ssim", "fitted_lpips")
    )


def other_table(document: Mapping[str, Any]) -> Table:
    """The rest: R_gen beside the paper's VBench, the reward's parts, and what must not suffer."""
    names = ("general", "recon", "traj", "meta", "dynamic_degree", "camera_motion", "objects")
    return _table("Quality, reward and motion", document, names)


def short_table(document: Mapping[str, Any]) -> Table:
    """What fits a terminal: PSNR, R_gen and dynamic degree."""
    return _table("Effect of each variant", document, ("psnr", "general", "dynamic_degree"))


def to_markdown(document: Mapping[str, Any]) -> str:
    """The page ablation.md."""
    seeds, extent = document["seeds"], document["extent"]
    lines = [
        f"# Ablation of {document['recipe']}",
        "",
        f"{document['steps']} training steps, seeds {', '.join(map(str, seeds))}; evaluated on {extent['prompts']} "
        f"static and {extent['dynamic']} dynamic held-out prompts ({extent['fitted']} by fitted splats too).",
        "",
    ]
    for table in (consistency_table(document), other_table(document)):
        lines += [f"## {table.title}", "", _row(table.heads), _row(["---"] * len(table.heads))]
        lines += [_row(row) for row in table.rows]
        lines.append("")
    lines += _explanation(document)
    missing = [
        f"- {variant['title']}, seed {run['seed']}: {run['error']}"
        for variant in document["variants"]
        for run in variant["runs"]
        if run["error"] is not None
    ]
    if missing:
        lines += ["", "## Missing runs", "", *missing]
    return "\n".join(lines) + "\n"


def _explanation(document: Mapping[str, Any]) -> list[str]:
    full = document["variants"][0]["title"]
    return [
        f"A value is the mean over seeds. In brackets stands its difference from the {full} with Student's 95% "
        "interval over seeds, paired by seed; one seed gives no interval. *holds*: the interval leaves out 0 on the "
        "paper's side; *opposite*: on the other; *open*: it holds 0, or there is none. The intervals are not corrected "
        "for their number.",
        "",
        "The paper's columns are World-R1-Small's (arXiv 2604.24764): Wan2.1 1.3B, splats fitted to 49 frames. R_gen "
        "stands beside VBench as the nearest thing here; it is not VBench.",
    ]


def _table(title: str, document: Mapping[str, Any], names: Sequence[str]) -> Table:
    measures = [m for m in MEASURES if m.name in names and any(m.name in v["measures"] for v in document["variants"])]
    heads = ["variant"]
    shown: set[str] = set()
    columns: list[tuple[str, Measure]] = []
    for measure in measures:
        if measure.paper is not None and measure.paper not in shown:
            shown.add(measure.paper)
            heads.append(f"paper: {_PAPER_TITLES[measure.paper]}")
            columns.append(("paper", measure))
        heads.append(measure.title)
        columns.append(("ours", measure))
    full = document["variants"][0]
    rows = [
        (_title(v), *(_paper(v, full, m) if kind == "paper" else _ours(v, m) for kind, m in columns))
        for v in document["variants"]
    ]
    return Table(title, tuple(heads), tuple(rows))


def _title(variant: Mapping[str, Any]) -> str:
    twin = variant["same_as"]
    failed = [str(run["seed"]) for run in variant["runs"] if run["error"] not in (None, NOT_RUN)]
    notes = [f"same runs as {twin}"] if twin else []
    notes += [f"failed: seed {', '.join(failed)}"] if failed else []
    return f"{variant['title']} ({'; '.join(notes)})" if notes else str(variant["title"])


def _paper(variant: Mapping[str, Any], full: Mapping[str, Any], measure: Measure) -> str:
    name = measure.paper or ""
    value, reference = variant["paper"].get(name), full["paper"].get(name)
    if value is None:
        return ""
    digits = _PAPER_DIGITS[name]
    if variant is full or reference is None or value == reference:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({value - reference:+.{digits}f})"


def _ours(variant: Mapping[str, Any], measure: Measure) -> str:
    numbers = variant["measures"].get(measure.name)
    if numbers is None:
        return ""
    text = f"{numbers['value']:.{measure.digits}f}"
    effect = numbers.get("effect")
    if effect is None or variant["same_as"]:
        return text
    low, high = effect["ci95"]
    interval = "" if low is None else f"; {low:+.{measure.digits}f} to {high:+.{measure.digits}f}"
    verdict = f" {effect['verdict']}" if "verdict" in effect else ""
    return f"{text} ({effect['value']:+.{measure.digits}f}{interval}){verdict}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
