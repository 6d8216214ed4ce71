"""`worldr1 runs`: the runs under a directory and their state."""

from __future__ import annotations

import json as json_
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from worldr1.rl.status import RunStatus

_COLOURS = {"running": "cyan", "finished": "green", "stopped": "yellow"}


def runs(directory: Annotated[Path, tyro.conf.Positional] = Path("runs"), json: bool = False) -> int:
    """List runs: state, recipe, step, phase, rewards, gap closed; the one written last comes last. Writes nothing.

    Args:
        directory: holds the run directories, or is one.
        json: print one JSON document, and nothing else, on standard output.

    Returns:
        0, also when a run is broken.
    """
    from worldr1.rl.status import list_runs

    found = list_runs(directory)
    if json:
        sys.stdout.write(json_.dumps({"runs": [_plain(run) for run in found]}, indent=1) + "\n")
    else:
        _show(found)
    return 0


def _plain(run: RunStatus) -> dict[str, object]:
    written = run.written.isoformat(timespec="seconds") if run.written else None
    return {**asdict(run), "directory": str(run.directory), "written": written}


def _show(found: list[RunStatus]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for head in ("run", "state", "recipe", "step", "phase", "reward", "held out", "gap closed", "written"):
        table.add_column(head, overflow="fold")
    for run in found:
        if run.state != "broken":
            table.add_row(
                run.directory.name,
                Text(f"{run.state} ({run.process})" if run.process else run.state, _COLOURS[run.state]),
                run.recipe or "",
                "" if run.total_steps is None else f"{run.steps}/{run.total_steps}",
                run.phase or "",
                _decimal(run.reward),
                _decimal(run.held_out),
                "" if run.gap_closed is None else f"{run.gap_closed:.0%}{', hacked' if run.hacked else ''}",
                f"{run.written:%Y-%m-%d %H:%M}" if run.written else "",
            )
    console = Console()
    if table.row_count:
        console.print(table, markup=False)
    for run in found:
        if run.state == "broken":
            console.print(
                Text.assemble(f"{run.directory.name}  ", ("broken", "red"), f"  {run.reason}"), soft_wrap=True
            )


def _decimal(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
