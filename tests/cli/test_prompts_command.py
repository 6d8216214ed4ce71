"""`worldr1 prompts`: files that are whole, exit codes, and one JSON document."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worldr1.cli.main import main
from worldr1.data.promptset import shipped_path


def test_generate_writes_the_shipped_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "test.jsonl"
    assert main(["prompts", "generate", "--split", "test", "-o", str(out)]) == 0
    assert out.read_bytes() == shipped_path("test").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["test.jsonl"]
    assert capsys.readouterr().out == ""
    assert main(["prompts", "generate", "--split", "test", "--count", "3"]) == 0
    assert capsys.readouterr().out == "".join(out.read_text(encoding="utf-8").splitlines(keepends=True)[:3])


def test_check_tells_and_sets_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prompts", "check", "train", "dynamic", "test"]) == 0
    assert capsys.readouterr().out == "nothing is wrong\n"
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "Pan left. A fig."}\n{"prompt": "pan left.  a fig."}\n')
    assert main(["prompts", "check", str(path)]) == 1
    assert capsys.readouterr().out == f"{path}:2: duplicate: the same prompt as line 1\n1 problem\n"
    assert main(["prompts", "check", str(path), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["counts"]) == (False, {"duplicate": 1})


def test_show_tells_statistics_and_a_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("Pan left, then push in. A fig.\nA pear.\n")
    assert main(["prompts", "show", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["prompts"] == 2
    assert document["moves"] == {"pan left": 1, "push in": 1}
    assert document["moves_per_prompt"] == {"0": 1, "2": 1}
    assert {row["prompt"] for row in document["sample"]} == {"Pan left, then push in. A fig.", "A pear."}
    assert main(["prompts", "show", "dynamic", "--count", "2"]) == 0
    assert "prompts: 500\n" in capsys.readouterr().out


def test_more_prompts_than_are_drawn_in_good_time_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prompts", "generate", "--count", "10000000"]) == 2
    assert "--count is 10000000; ask for at most 100000 at once" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["show", "check"])
def test_a_file_that_is_not_utf8_is_named(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_bytes(b"caf\xe9\n")
    assert main(["prompts", command, str(tmp_path / "mine.txt")]) == 1
    assert "mine.txt is not UTF-8 text (byte 3); save it as UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["generate", "--count", "0"], "at least 1"),
        (["generate", "--rewrite", "http://localhost:1/v1"], "--model NAME"),
        (["generate", "--count", "1", "-o", "no-such-directory/a.jsonl"], "create it first"),
        (["generate", "--count", "1", "--rewrite", "ftp://x", "--model", "m"], "is no endpoint"),
        (["check", "no-such-file.txt"], "no prompt file"),
        (["show", "no-such-file.txt"], "no prompt file"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prompts", *words]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert told in captured.err
    assert captured.err.count("\n") == 1
