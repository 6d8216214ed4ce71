"""Checksums beside files, as the program `sha256sum` writes and checks them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

SUMS = "SHA256SUMS"
"""Name of the file that holds them, one line for each file beside it."""


def write_sums(folder: Path, names: Sequence[str]) -> None:
    """Write the SHA-256 of files of a folder beside them."""
    (folder / SUMS).write_text("".join(_line(folder / name) for name in names), encoding="utf-8")


def verify_sums(folder: Path, names: Sequence[str]) -> None:
    """Read files of a folder whole and compare them with their checksums; does nothing where the folder has none.

    Raises:
        ValueError: a file is not the one whose checksum was written.
    """
    sums = folder / SUMS
    if not sums.is_file():
        return
    told = sums.read_bytes()
    for name in names:
        if _line(folder / name).encode() not in told:
            raise ValueError(f"{folder / name} is damaged: its SHA-256 is not the one in {SUMS}")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def _line(path: Path) -> str:
    return f"{sha256(path)}  {path.name}\n"
