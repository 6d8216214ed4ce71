"""`worldr1 evaluate`: held-out prompts, base against trained."""

from __future__ import annotations

import json as json_
import logging
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worldr1.recipes import Recipe

logger = logging.getLogger(__name__)

_COLOURS = {"inside": "green", "undecided": "yellow", "not measured": "yellow", "left": "red"}


def evaluate(
    model: str,
    against: str | None = None,
    prompts: int = 128,
    dynamic: int = 64,
    fitted: int = 24,
    seed: int = 2_718,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Compare a trained model with its base on held-out prompts of the tiny world, both from the same noise.

    Args:
        model: a run directory of `worldr1 train`, or a diffusers directory.
        against: the base; by default what the run started from ('tiny' for a model that is no run).
        prompts: how many static held-out prompts.
        dynamic: how many dynamic ones.
        fitted: how many of the static ones the second evaluator sees (splats fitted by optimisation); 0 leaves it out.
        seed: of prompts and noise.
        out: where evaluation.json, cameras.json, clips and report.html go; by default the run directory, else nowhere.
        json: print one JSON document, and nothing else, on standard output.

    Returns:
        0, also when the run is marked hacked.
    """
    from worldr1.evaluation.model import Extent, evaluate_models
    from worldr1.evaluation.report import write_report
    from worldr1.pipelines import base_of
    from worldr1.recipes import load_recipe
    from worldr1.rl.assemble import build_composer
    from worldr1.rl.assemble_policy import load_sampler
    from worldr1.rl.base_weights import require_same_base, weights_of
    from worldr1.rl.run import RunDirectory, writing

    run = RunDirectory(Path(model))
    is_run = run.recipe.is_file()
    recipe = load_recipe(run.recipe) if is_run else load_recipe("tiny")
    extent = Extent(prompts=prompts, dynamic=dynamic, fitted=fitted, seed=seed)
    target = out or (run.root if is_run else None)
    with nullcontext() if target is None else writing(RunDirectory(target)):
        _require_models(recipe, model, against)
        weights = require_same_base(run, recipe) if is_run and (against is None or run.lora.is_dir()) else None
        base = load_sampler(against or base_of(recipe), recipe)
        if weights is None or against is not None:
            weights = weights_of(against or recipe.model.path)
        trained, composer = load_sampler(model, recipe), build_composer(recipe)
        result = evaluate_models(base, trained, composer, recipe, extent, target, weights)
        if target is not None:
            logger.info("report %s", write_report(target))
    if json:
        sys.stdout.write(json_.dumps(result, indent=1) + "\n")
    else:
        _show(result)
    return 0


def _require_models(recipe: Recipe, model: str, against: str | None) -> None:
    """Raises FileNotFoundError when a model, its base or a reward's is not here, before the first of them is loaded."""
    from worldr1.pipelines import base_and_adapter, base_of
    from worldr1.recipes.weights import missing_sentence, place_of, required_weights

    for name in (model, against or base_of(recipe)):
        base, _ = base_and_adapter(name)
        if base != "tiny":
            place_of(base)
    missing = [one for one in required_weights(recipe) if one.place is None and one.role != "policy"]
    if missing:
        raise FileNotFoundError(missing_sentence(missing))


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("", "base", "trained", "ground truth", box=None, pad_edge=False)
    sections = [("", result["metrics"]), ("fitted ", result.get("fitted", {}))]
    for prefix, section in sections:
        for name, row in section.items():
            if isinstance(row, dict) and "base" in row:
                cells = [
                    f"{row[side]['value']:.3f}" if side in row else "" for side in ("base", "trained", "ground_truth")
                ]
                table.add_row(prefix + name, *cells)
    console.print(table)
    guards = Table("guard", "trained / base", "band", "", box=None, pad_edge=False)
    for name, guard in result["guards"].items():
        state = f"[{_COLOURS[guard['state']]}]{guard['state']}[/]"
        ratio = "" if guard["ratio"] is None else f"{guard['ratio']:.3f}"
        guards.add_row(name, ratio, f">= {guard['band']}", state)
    console.print(guards)
    low, high = result["ci95"]["gap_closed"]
    console.print(f"gain {result['gain_db']:.2f} dB, gap closed {result['gap_closed']:.1%} ({low:.1%} to {high:.1%})")
    for reason in result["hacked_reasons"]:
        console.print(f"[red]hacked: {reason}[/]")
