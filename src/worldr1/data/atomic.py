"""Files and directories that are there whole or not at all, whenever a process is cut off."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_text(path: Path, text: str, parents: bool = False) -> None:
    """Write a whole text file (UTF-8) beside its place, then rename it there.

    Args:
        path: where.
        text: what; nothing is left behind when it cannot be written.
        parents: make missing folders.

    Raises:
        OSError: when it cannot be written, such as into a folder that is missing.
    """
    if parents:
        path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def whole_directory(final: Path) -> Iterator[Path]:
    """An empty directory to fill; it takes the place of `final` at the end, or is removed if an error leaves the block.

    What was written is on the disk before the name is.
    """
    beside = final.with_name(f".{final.name}.new")
    if beside.exists():
        shutil.rmtree(beside)
    beside.mkdir(parents=True)
    try:
        yield beside
        for path in (*beside.rglob("*"), beside):
            _flush_to_disk(path)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    if final.exists():
        shutil.rmtree(final)
    os.replace(beside, final)
    _flush_to_disk(final.parent)


def remove_unfinished(root: Path) -> None:
    """Remove what killed processes left beside its place under a directory to which nobody else writes now."""
    for path in list(root.rglob(".*.new")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
