"""Rows to files: a dated JSON with the machine, the versions and the commit, and a table beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.machine import commit, describe
from benchmarks.measure import Row
from benchmarks.table import markdown
from worldr1.data.atomic import write_text

RESULTS = Path(__file__).parent / "results"


def write(folder: Path, made: Sequence[Row], quick: bool, processor: str, **machine: str | int | float) -> Path:
    """Write `<date>-<processor>.json` and `.md`; returns the path of the first. `machine` adds to its description."""
    now = datetime.now(timezone.utc)
    content = {
        "date": now.isoformat(timespec="seconds"),
        "commit": commit(),
        "quick": quick,
        "machine": {**describe(), **machine},
        "rows": [asdict(row) for row in made],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now:%Y-%m-%d}-{re.sub(r'[^a-z0-9]+', '-', processor.lower()).strip('-')}.json"
    write_text(path, json.dumps(content, indent=1) + "\n")
    write_text(path.with_suffix(".md"), markdown(content, made))
    return path
