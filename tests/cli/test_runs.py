"""`worldr1 runs`: one line for each directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worldr1.cli.main import main
from worldr1.recipes import load_recipe, save_recipe
from worldr1.rl.metrics import MetricsWriter
from worldr1.rl.run import RunDirectory


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = RunDirectory(tmp_path / "good[red]")
    run.root.mkdir()
    save_recipe(load_recipe("tiny"), run.recipe)
    with MetricsWriter(run.metrics) as metrics:
        metrics.write("train", 4, {"phase": "dynamic", "reward/total": 0.75})
    (tmp_path / "foreign").mkdir()
    return tmp_path


def test_the_table_has_one_line_for_each_run(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    assert main(["runs", str(folder)]) == 0
    _, good, foreign = capsys.readouterr().out.splitlines()
    total = load_recipe("tiny").schedule.total_steps
    assert good.split()[:6] == ["good[red]", "stopped", "tiny", f"5/{total}", "dynamic", "0.750"]
    assert foreign.startswith("foreign  broken  no recipe.yaml")


def test_json_is_one_document(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(folder), "--json"]) == 0
    rows = {Path(row["directory"]).name: row for row in json.loads(capsys.readouterr().out)["runs"]}
    assert rows["good[red]"]["reward"] == 0.75
    assert rows["good[red]"]["gap_closed"] is None
    assert rows["foreign"]["state"] == "broken"


def test_a_missing_directory_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["runs", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.startswith("worldr1: there is no directory")
