"""Text files are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worldr1.data import atomic
from worldr1.data.atomic import write_text


def test_a_text_is_written_whole_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "one, größer\n" * 1000)
    write_text(path, "zwei ü")
    assert path.read_bytes() == "zwei ü".encode()
    assert os.listdir(tmp_path) == ["a.txt"]


def test_folders_are_made_only_when_asked_for(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"a\.txt"):
        write_text(tmp_path / "new" / "a.txt", "x")
    write_text(tmp_path / "new" / "b" / "a.txt", "x", parents=True)
    assert (tmp_path / "new" / "b" / "a.txt").read_text() == "x"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def refuse(*_: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(atomic.os, "replace", refuse)
    with pytest.raises(OSError, match="no"):
        write_text(path, "new")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]
