"""Parts of a long benchmark kept in files, so that it goes on where it was interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from worldr1.data.atomic import write_text


def part(path: Path, setting: Mapping[str, Any], make: Callable[[], Any]) -> Any:
    """What `path` holds if it was made in this setting, else what `make` gives, which is then written there.

    Args:
        path: of a JSON file; its folder is made.
        setting: all that the part depends on, as JSON can hold it.
        make: gives what JSON can hold; nan is kept.
    """
    known = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    if known.get("setting") == setting:
        return known["found"]
    found = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({"setting": dict(setting), "found": found}))
    return found
