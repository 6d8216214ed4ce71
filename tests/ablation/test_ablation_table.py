"""ablation.json and its tables from outcomes made by hand, and the command around stubs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from worldr1.ablation import execute
from worldr1.ablation.document import ablation_document
from worldr1.ablation.execute import Outcome
from worldr1.ablation.plan import PlannedRun, plan_runs
from worldr1.ablation.table import to_markdown
from worldr1.ablation.variants import choose, load_variants
from worldr1.cli.main import main
from worldr1.recipes import load_recipe

EXTENT = {"prompts": 8, "dynamic": 4, "fitted": 2, "seed": 5}
PSNR = {"full": (28.0, 29.0, 30.0), "no-traj": (27.0, 28.1, 28.9), "no-periodic": (27.9, 29.2, 29.9)}


def evaluation(psnr: float) -> dict[str, Any]:
    return {
        "psnr_trained": psnr,
        "hacked": False,
        "metrics": {"general": {"trained": {"value": psnr / 100}}},
        "guards": {"dynamic_degree": {"trained": 0.8}},
    }


@pytest.fixture
def runs(tmp_path: Path) -> list[PlannedRun]:
    names = ["no-traj", "no-periodic", "prompts-all"]
    return plan_runs(load_recipe("tiny"), choose(load_variants(), names), (0, 1, 2), None, tmp_path)


def outcomes_of(runs: list[PlannedRun]) -> dict[Path, Outcome]:
    own = [run for run in runs if run.root.parent.name == run.variant.name]
    return {run.root: evaluation(PSNR[run.variant.name][run.seed]) for run in own}


def test_effects_are_paired_by_seed(runs: list[PlannedRun]) -> None:
    document = ablation_document(runs, outcomes_of(runs), EXTENT)
    by_name = {variant["name"]: variant for variant in document["variants"]}
    assert list(by_name) == ["full", "no-traj", "no-periodic", "prompts-all"]
    assert by_name["full"]["measures"]["psnr"]["value"] == pytest.approx(29.0)
    assert "effect" not in by_name["full"]["measures"]["psnr"]
    effect = by_name["no-traj"]["measures"]["psnr"]["effect"]
    assert effect["value"] == pytest.approx(-1.0)
    half = 4.302653 * 0.1 / 3**0.5  # the differences are -1.0, -0.9, -1.1
    assert effect["ci95"] == pytest.approx([-1.0 - half, -1.0 + half], abs=1e-5)
    assert (effect["paper"], effect["verdict"]) == (-1.36, "holds")
    assert by_name["no-periodic"]["measures"]["psnr"]["effect"]["verdict"] == "open"
    assert by_name["no-periodic"]["measures"]["general"]["effect"]["paper"] == -2.57
    assert "paper" not in by_name["no-traj"]["measures"]["dynamic_degree"]["effect"]
    assert by_name["prompts-all"]["same_as"] == "full"
    assert by_name["full"]["same_as"] == "prompts-all"
    json.dumps(document, allow_nan=False)


def test_the_page_sets_the_paper_beside_ours(runs: list[PlannedRun]) -> None:
    lines = to_markdown(ablation_document(runs, outcomes_of(runs), EXTENT)).splitlines()
    assert "| variant | paper: PSNR, dB | PSNR, dB |" in lines
    assert "| without S_traj | 26.27 (-1.36) | 28.00 (-1.00; -1.25 to -0.75) holds |" in lines
    assert "| all prompts (same runs as full) | 27.63 | 29.00 |" in lines
    widths = {line.count("|") for line in lines if line.startswith("| ")}
    assert widths == {4, 5}
    assert not any("Missing runs" in line for line in lines)


def test_what_is_missing_is_listed_and_never_counted_as_zero(runs: list[PlannedRun]) -> None:
    done = outcomes_of(runs)
    lost = next(run.root for run in runs if run.variant.name == "no-traj" and run.seed == 2)
    done[lost] = "step 3: none of 32 videos has a reward"
    waiting = next(run.root for run in runs if run.variant.name == "no-periodic" and run.seed == 1)
    del done[waiting]
    document = ablation_document(runs, done, EXTENT)
    by_name = {variant["name"]: variant for variant in document["variants"]}
    assert by_name["no-traj"]["measures"]["psnr"]["value"] == pytest.approx(27.55)
    assert by_name["no-traj"]["measures"]["psnr"]["effect"]["n"] == 2
    page = to_markdown(document)
    assert "- without S_traj, seed 2: step 3: none of 32 videos has a reward" in page
    assert "seed 1: not run yet" in page
    assert "| without S_traj (failed: seed 2) |" in page
    assert "| without periodic decoupled training |" in page


def test_the_command_writes_both_files_and_prints_one_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(execute, "train_run", lambda run: None)
    monkeypatch.setattr(
        execute, "evaluate_run", lambda run, judge, extent: evaluation(PSNR[run.variant.name][run.seed])
    )
    words = [
        "ablate",
        "--variants",
        "no-traj",
        "--seeds",
        "0",
        "1",
        "--steps",
        "5",
        "--out",
        str(tmp_path / "a"),
        "--json",
    ]
    assert main(words) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "a" / "ablation.json").read_text())
    assert (printed["steps"], printed["seeds"], printed["extent"]["prompts"]) == (5, [0, 1], 64)
    assert "without S_traj" in (tmp_path / "a" / "ablation.md").read_text()
    monkeypatch.setenv("COLUMNS", "200")
    assert main(words[:-1]) == 0
    assert "without S_traj" in capsys.readouterr().out


def test_failure_and_interruption_have_their_exit_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(run: PlannedRun) -> None:
        raise ValueError("no luck")

    def stops(run: PlannedRun) -> None:
        raise KeyboardInterrupt

    words = ["ablate", "--variants", "full", "--seeds", "0", "--out", str(tmp_path)]
    monkeypatch.setattr(execute, "train_run", fails)
    assert main(words) == 1
    assert "no luck" in (tmp_path / "ablation.md").read_text()
    monkeypatch.setattr(execute, "train_run", stops)
    assert main(words) == 130
    assert main(["ablate", "--variants", "no-trj"]) == 1
    assert "did you mean 'no-traj'" in capsys.readouterr().err


def test_too_few_steps_for_the_prompts_to_matter_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(execute, "train_run", lambda run: None)
    monkeypatch.setattr(execute, "evaluate_run", lambda run, judge, extent: evaluation(20.0))
    main(["ablate", "--variants", "prompts-1of3", "--seeds", "0", "--out", str(tmp_path)])
    assert "its effect is chance" in " ".join(capsys.readouterr().err.split())
