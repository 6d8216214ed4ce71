"""Checks of prompt files: one planted fault each, and nothing else is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worldr1.data.check import check_files
from worldr1.data.promptset import SETS, find_set, shipped_path

GOOD = {
    "prompt": "Camera push in. A pear on a table.",
    "moves": ["push in"],
    "scene": "a pear on a table",
    "domain": "x",
}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_the_shipped_sets_are_clean_alone_and_together() -> None:
    assert check_files([shipped_path(name) for name in SETS]) == []


@pytest.mark.parametrize(
    ("row", "kind", "told"),
    [
        ("{", "unreadable", "not JSON"),
        (["a"], "unreadable", "expected an object"),
        ({"prompt": 3}, "unreadable", "expected an object"),
        ({"prompt": "a", "moves": "push in"}, "unreadable", "must be a list"),
        ({"prompt": "a", "scene": 3}, "unreadable", "must be text"),
        ({"prompt": "  "}, "empty", "is empty"),
        ({"prompt": " CAMERA  push in. A pear on a table."}, "duplicate", "as line 1"),
        ({"prompt": "A fig.", "moves": ["push in"]}, "moves", "says nothing of the camera, its moves are 'push in'"),
        ({"prompt": "Pan left. A fig.", "moves": []}, "moves", "says 'pan left', its moves are nothing"),
        ({"prompt": "A fig.", "moves": ["fly"]}, "moves", "unknown camera move 'fly'"),
    ],
)
def test_one_fault_in_a_file(row: object, kind: str, told: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", GOOD, row)
    (problem,) = check_files([path])
    assert (problem.file, problem.line, problem.kind) == (str(path), 2, kind)
    assert told in problem.text


def test_leaks_between_two_files(tmp_path: Path) -> None:
    one = write(tmp_path / "one.jsonl", GOOD)
    scene = write(tmp_path / "scene.jsonl", GOOD | {"prompt": "Camera push in. A ripe pear."})
    prompt = write(tmp_path / "prompt.txt", "# mine", "camera push in. a pear on a table.")
    (problem,) = check_files([one, scene])
    assert (problem.file, problem.kind) == (str(scene), "leak")
    assert "the same scene" in problem.text
    (problem,) = check_files([one, prompt])
    assert (problem.file, problem.line, problem.kind) == (str(prompt), 2, "leak")
    assert "the same prompt" in problem.text


def test_plain_text_and_empty_files(tmp_path: Path) -> None:
    (problem,) = check_files([write(tmp_path / "a.txt", "a pear", "a fig", "A  pear")])
    assert (problem.line, problem.kind) == (3, "duplicate")
    (problem,) = check_files([write(tmp_path / "b.txt", "# nothing")])
    assert problem.kind == "empty"


def test_files_that_cannot_be_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "a")
    with pytest.raises(ValueError, match="named twice"):
        check_files([path, tmp_path / "." / "a.txt"])
    with pytest.raises(FileNotFoundError, match="no prompt file"):
        check_files([tmp_path / "none.txt"])
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="not UTF-8"):
        check_files([tmp_path / "b.txt"])
    with pytest.raises(FileNotFoundError, match="one of train, dynamic, test"):
        find_set(str(tmp_path / "val"))
    with pytest.raises(ValueError, match="no shipped prompt set"):
        shipped_path("val")
