"""The rows as a table in Markdown, and one row as a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.measure import Row

_HEAD = ("row", "ours", "peer", "ratio", "exponent", "ours MiB", "peer MiB", "agrees", "what")


def markdown(content: Mapping[str, Any], made: Sequence[Row]) -> str:
    """Machine, commit and one line per row."""
    machine = ", ".join(f"{name} {value}" for name, value in content["machine"].items())
    kind = "Small sizes (--quick): no figures to quote.\n\n" if content["quick"] else ""
    lines = [
        f"# Benchmarks, {content['date'][:10]}, commit {content['commit']}\n",
        f"{kind}{machine}. Medians of interleaved runs; ratio is peer / ours.\n",
        _line(_HEAD),
        _line(["---"] * len(_HEAD)),
        *(_line(_cells(row)) for row in made),
    ]
    return "\n".join(lines) + "\n"


def sentence(row: Row) -> str:
    """A row on one line, for the log."""
    against = "" if row.peer is None else f", peer {row.peer:.4g} s, ratio {row.ratio:.4g}"
    grows = "" if row.exponent is None else f", exponent {row.exponent:.2f}"
    agrees = {None: "", True: ", agrees", False: ", DOES NOT AGREE"}[row.agrees]
    return f"{row.name}: {row.ours:.4g} s{against}{grows}{agrees}"


def _cells(row: Row) -> list[str]:
    measures = "; ".join(f"{name} {value:.3g}" for name, value in row.agreement.items())
    agrees = {None: "", True: "yes", False: "NO"}[row.agrees]
    return [
        row.name,
        _seconds(row.ours),
        "" if row.peer is None else _seconds(row.peer),
        "" if row.ratio is None else f"{row.ratio:.3g}x",
        "" if row.exponent is None else f"{row.exponent:.2f}",
        "" if row.peak_mb is None else f"{row.peak_mb:.0f}",
        "" if row.peer_peak_mb is None else f"{row.peer_peak_mb:.0f}",
        agrees,
        f"{row.note} ({measures})" if measures else row.note,
    ]


def _seconds(value: float) -> str:
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
