"""Results to files: a dated JSON with the machine, the versions and the commit, and a table beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.machine import commit, describe
from benchmarks.measure import Row
from benchmarks.table import markdown
from worldr1.data.atomic import write_text

RESULTS = Path(__file__).parent / "results"


def write(folder: Path, made: Sequence[Row], quick: bool, processor: str, **machine: str | int | float) -> Path:
    """Write rows as `<date>-<processor>.json` and `.md`; returns the path of the first. `machine` adds to its
    description."""
    found = {"quick": quick, "rows": [asdict(row) for row in made]}
    return save(folder, processor, found, lambda content: markdown(content, made), **machine)


def save(
    folder: Path,
    name: str,
    found: Mapping[str, Any],
    table: Callable[[Mapping[str, Any]], str],
    **machine: str | int | float,
) -> Path:
    """Write `<date>-<name>.json` with what was found, date, commit and machine, and `.md` with its table."""
    now = datetime.now(timezone.utc)
    content = {
        "date": now.isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": {**describe(), **machine},
        **found,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now:%Y-%m-%d}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"
    write_text(path, json.dumps(content, indent=1) + "\n")
    write_text(path.with_suffix(".md"), table(content))
    return path
