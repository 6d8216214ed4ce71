"""`worldr1 evaluate` and `worldr1 report`: usage and what they say when there is nothing to work on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worldr1.cli.main import main
from worldr1.recipes import load_recipe, save_recipe
from worldr1.rl.run import RunDirectory, writing


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    for option in ("--against", "--prompts", "--dynamic", "--fitted", "--seed", "--out", "--json"):
        assert option in shown


def test_wrong_usage_is_2() -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", "run", "--prompt", "3"])
    assert stopped.value.code == 2


def test_no_prompts_is_told_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "nowhere", "--prompts", "0"]) == 1
    assert "at least one prompt" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_nothing_is_written_beside_another_writer(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "metrics.jsonl").write_text("")
    save_recipe(load_recipe("tiny"), tmp_path / "recipe.yaml")
    with writing(RunDirectory(tmp_path)):
        before = sorted(tmp_path.iterdir())
        assert main([command, str(tmp_path)]) == 1
        assert f"process {os.getpid()} is writing here; wait" in capsys.readouterr().err
        assert sorted(tmp_path.iterdir()) == before


def test_an_empty_directory_has_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 1
    assert "holds no run" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
