"""Text files are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worldr1.data import atomic
from worldr1.data.atomic import remove_unfinished, whole_directory, write_text


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


def test_a_directory_whose_filling_fails_is_not_there_and_the_old_one_is(tmp_path: Path) -> None:
    with whole_directory(tmp_path / "d") as folder:
        (folder / "a").touch()
    with pytest.raises(OSError, match="no such"), whole_directory(tmp_path / "d") as folder:
        os.rename(folder / "no such", folder / "b")
    assert os.listdir(tmp_path) == ["d"]
    assert os.listdir(tmp_path / "d") == ["a"]


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a" / ".d.new" / "deep").mkdir(parents=True)
    for name in ("a/.t.txt.123.new", "a/t.new", "a/.hidden", "a/.d.new/x"):
        (tmp_path / name).touch()
    remove_unfinished(tmp_path)
    assert sorted(os.listdir(tmp_path / "a")) == [".hidden", "t.new"]
