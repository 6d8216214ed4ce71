"""`worldr1 doctor`: what this machine can run, what is missing, and the command that mends it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import tyro

from worldr1.cli.examination import Finding, examine

_MARKS = {"ok": "[green]ok[/]", "missing": "[yellow]missing[/]", "broken": "[red]broken[/]"}


def doctor(as_json: Annotated[bool, tyro.conf.arg(name="json")] = False) -> int:
    """Examine this machine: what it can run, what is missing and what mends it.

    Args:
        as_json: print one JSON document instead of a table.

    Returns:
        0 when the tiny world runs here, else 1.
    """
    findings = examine()
    healthy = all(finding.state == "ok" for finding in findings if finding.needed)
    if as_json:
        document = {"healthy": healthy, "findings": [asdict(finding) for finding in findings]}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _show(findings, healthy)
    return 0 if healthy else 1


def _show(findings: list[Finding], healthy: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("", "state", "found", "what mends it"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        table.add_row(finding.subject, _MARKS[finding.state], escape(finding.detail), escape(finding.remedy))
    console = Console()
    console.print(table)
    console.print(
        "This machine runs the tiny world." if healthy else "The tiny world does not run here yet; see the last column."
    )
