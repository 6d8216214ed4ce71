"""What resuming a run does beside training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from worldr1.recipes import load_recipe, save_recipe
from worldr1.rl import assemble, base_weights, launch, trainer
from worldr1.rl.run import RunDirectory


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """An evaluated run whose training takes no time."""
    import worldr1.evaluation.report as report

    monkeypatch.setattr(assemble, "assemble", lambda recipe, world: None)
    monkeypatch.setattr(base_weights, "require_same_base", lambda run, recipe: None)
    monkeypatch.setattr(trainer, "Trainer", lambda *parts: SimpleNamespace(fit=lambda resume: False))
    monkeypatch.setattr(report, "write_report", lambda root: root)
    run = RunDirectory(tmp_path)
    save_recipe(load_recipe("tiny"), run.recipe)
    for path in (run.evaluation, run.cameras):
        path.write_text("{}")
    return run


@pytest.mark.parametrize(
    ("changed", "speaks"),
    [
        ({}, True),
        ({"checkpoint": {"keep": 3}}, True),
        ({"optimiser": {"extrapolate": 1.2}}, False),
        ({"schedule": {"total_steps": 90}}, False),
    ],
)
def test_an_evaluation_goes_with_the_weights_that_it_looked_at(
    changed: dict[str, dict[str, Any]], speaks: bool, run: RunDirectory
) -> None:
    recipe = load_recipe("tiny")
    for part, values in changed.items():
        recipe = recipe.model_copy(update={part: getattr(recipe, part).model_copy(update=values)})
    assert not launch.resume(recipe, run.root)
    assert run.evaluation.exists() == run.cameras.exists() == speaks
