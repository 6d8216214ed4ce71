"""Runs: trained once, gone on with when stopped, evaluated once, and a failure does not stop the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from worldr1.ablation import execute as module
from worldr1.ablation.execute import evaluate_run, execute, train_run
from worldr1.ablation.plan import PlannedRun, plan_runs
from worldr1.ablation.variants import choose, load_variants
from worldr1.evaluation.model import Extent
from worldr1.recipes import Recipe, load_recipe, save_recipe
from worldr1.rl.run import RunDirectory

EXTENT = Extent(prompts=2, dynamic=1, fitted=0)


@pytest.fixture
def runs(tmp_path: Path) -> list[PlannedRun]:
    return plan_runs(load_recipe("tiny"), choose(load_variants(), ["no-traj", "nft"]), (0, 1), 2, tmp_path)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Training that leaves a run directory and tells (variant/seed, resumed)."""
    made: list[tuple[str, bool]] = []

    def train(recipe: Recipe, root: Path, resumed: bool) -> None:
        made.append(("/".join(root.parts[-2:]), resumed))
        root.mkdir(parents=True, exist_ok=True)
        save_recipe(recipe, RunDirectory(root).recipe)
        RunDirectory(root).pipeline.mkdir()

    monkeypatch.setattr(module, "start", lambda recipe, root: train(recipe, root, False))
    monkeypatch.setattr(module, "resume", lambda recipe, root: train(recipe, root, True))
    return made


def test_finished_runs_are_skipped_and_stopped_ones_go_on(
    runs: list[PlannedRun], trained: list[tuple[str, bool]]
) -> None:
    stopped = next(run for run in runs if run.variant.name == "no-traj" and run.seed == 1)
    stopped.root.mkdir(parents=True)
    save_recipe(stopped.recipe, stopped.root / "recipe.yaml")
    for _ in range(2):
        outcomes = list(execute(runs, train_run, lambda run: {"psnr_trained": float(run.seed)}))[-1]
        assert len(outcomes) == 4
    assert trained == [
        ("full/seed-0", False),
        ("no-traj/seed-0", False),
        ("full/seed-1", False),
        ("no-traj/seed-1", True),
    ]


def test_a_run_of_another_recipe_is_refused(runs: list[PlannedRun], trained: list[tuple[str, bool]]) -> None:
    other = runs[0].recipe.model_copy(update={"schedule": runs[0].recipe.schedule.model_copy(update={"groups": 3})})
    runs[0].root.mkdir(parents=True)
    save_recipe(other, runs[0].root / "recipe.yaml")
    with pytest.raises(ValueError, match=r"another schedule\.groups; give another --out"):
        train_run(runs[0])
    assert not trained


def test_a_failure_is_told_and_the_others_are_done(runs: list[PlannedRun]) -> None:
    def train(run: PlannedRun) -> None:
        if run.root.parent.name == "no-traj":
            raise ValueError(f"seed {run.seed}\nis silent")

    outcomes = list(execute(runs, train, lambda run: {}))[-1]
    told = {"/".join(root.parts[-2:]): outcome for root, outcome in outcomes.items()}
    assert told == {
        "full/seed-0": {},
        "no-traj/seed-0": "seed 0 is silent",
        "full/seed-1": {},
        "no-traj/seed-1": "seed 1 is silent",
    }


def test_failures_of_any_kind_are_told_and_interruption_ends(
    runs: list[PlannedRun], caplog: pytest.LogCaptureFixture
) -> None:
    errors = iter([RuntimeError("out of\nmemory"), ModuleNotFoundError("no ray"), KeyError("psnr")])

    def train(run: PlannedRun) -> None:
        raise next(errors, KeyboardInterrupt())

    series = execute(runs, train, lambda run: {})
    outcomes = [next(series) for _ in range(3)][-1]
    with pytest.raises(KeyboardInterrupt):
        next(series)
    assert list(outcomes.values()) == ["RuntimeError: out of memory", "no ray", "KeyError: 'psnr'"]
    assert "seed 0 failed: RuntimeError: out of memory" in caplog.text


def test_an_evaluation_of_the_same_extent_is_kept(runs: list[PlannedRun], monkeypatch: pytest.MonkeyPatch) -> None:
    import worldr1.evaluation.model as model
    import worldr1.evaluation.report as report
    import worldr1.rl.assemble as assemble
    import worldr1.rl.assemble_policy as assemble_policy

    asked: list[Any] = []

    def evaluate(
        base: Any, trained: Any, composer: Any, recipe: Recipe, extent: Extent, out: Path, weights: Any
    ) -> dict[str, Any]:
        asked.append((base, trained, composer, recipe.noise.strength))
        told = {name: getattr(extent, name) for name in ("prompts", "dynamic", "fitted", "seed")}
        (out / "evaluation.json").write_text(json.dumps({"extent": told, "psnr_trained": 1.0}))
        return {"psnr_trained": 1.0}

    monkeypatch.setattr(model, "evaluate_models", evaluate)
    monkeypatch.setattr(report, "write_report", lambda root: root)
    monkeypatch.setattr(assemble, "build_composer", lambda recipe: sorted(recipe.reward.weights))
    monkeypatch.setattr(assemble_policy, "load_sampler", lambda name, recipe: name)
    run = next(run for run in runs if run.variant.name == "no-traj")
    run.root.mkdir(parents=True)
    judge = load_recipe("tiny")
    for _ in range(2):
        assert evaluate_run(run, judge, EXTENT)["psnr_trained"] == 1.0
    assert asked == [("tiny", str(run.root), ["general", "meta", "recon", "traj"], judge.noise.strength)]
    evaluate_run(run, judge, Extent(prompts=3, dynamic=1, fitted=0))
    assert len(asked) == 2
    (run.root / "evaluation.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        evaluate_run(run, judge, EXTENT)


def test_torchrun_is_refused(runs: list[PlannedRun], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(ValueError, match="without torchrun"):
        list(execute(runs, train_run, lambda run: {}))
