"""Do what is planned: train what is not trained, go on with what stopped, evaluate what is not evaluated."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from worldr1.ablation.plan import PlannedRun
from worldr1.recipes import Recipe
from worldr1.rl.launch import changes, resume, start, stored_recipe
from worldr1.rl.run import RunDirectory, writing

if TYPE_CHECKING:
    from worldr1.evaluation.model import Extent

logger = logging.getLogger(__name__)

Outcome = dict[str, Any] | str
"""What evaluation.json holds, or the sentence that says why there is none."""


def execute(
    runs: Sequence[PlannedRun],
    train: Callable[[PlannedRun], None],
    evaluate: Callable[[PlannedRun], dict[str, Any]],
) -> Iterator[dict[Path, Outcome]]:
    """Do one run after the other; gives all outcomes so far, by run directory, after each.

    A run that fails, for whatever reason, is told and does not stop the others.

    Raises:
        ValueError: under torchrun.
    """
    if dist.is_available() and dist.is_torchelastic_launched():
        raise ValueError(
            "ablations run in one process each; start one command for each card, with its own --seeds or --variants, "
            "without torchrun"
        )
    outcomes: dict[Path, Outcome] = {}
    for number, run in enumerate(runs, start=1):
        if run.root in outcomes:
            continue
        logger.info("run %d of %d: %s, seed %d", number, len(runs), run.variant.title, run.seed)
        try:
            train(run)
            outcomes[run.root] = evaluate(run)
        except Exception as error:  # whatever it is, the other runs do not depend on it
            reason = " ".join(str(error).split())
            foreseen = isinstance(error, (ValueError, OSError, ImportError))
            outcomes[run.root] = reason if foreseen else f"{type(error).__name__}: {reason}"
            logger.warning(
                "%s, seed %d failed: %s", run.variant.name, run.seed, outcomes[run.root], exc_info=not foreseen
            )
        yield outcomes


def train_run(run: PlannedRun) -> None:
    """Train a run to its end, from its newest checkpoint when it was begun, not at all when it is done.

    Raises:
        ValueError: its directory holds a run of another recipe.
    """
    directory = RunDirectory(run.root)
    if not directory.recipe.is_file():
        start(run.recipe, run.root)
        return
    changed = changes(run.recipe, stored_recipe(run.root))
    if changed:
        raise ValueError(
            f"{run.root} holds a run with another {', '.join(changed)}; give another --out, or remove that directory"
        )
    if not (directory.lora.is_dir() or directory.pipeline.is_dir()):
        resume(run.recipe, run.root)


def evaluate_run(run: PlannedRun, judge: Recipe, extent: Extent) -> dict[str, Any]:
    """Evaluate a trained run against what it started from, unless that was done to the same extent.

    Args:
        run: sampled with its own recipe, base and trained alike.
        judge: whose rewards measure, the same for all variants.
        extent: how much.

    Returns:
        What its evaluation.json holds.
    """
    from worldr1.evaluation.model import evaluate_models
    from worldr1.evaluation.report import write_report
    from worldr1.pipelines import base_of
    from worldr1.rl.assemble import build_composer
    from worldr1.rl.assemble_policy import load_sampler
    from worldr1.rl.base_weights import require_same_base

    stored = _stored(run.root / "evaluation.json")
    wanted = {name: getattr(extent, name) for name in ("prompts", "dynamic", "fitted", "seed")}
    if stored is not None and stored.get("extent") == wanted:
        return stored
    with writing(RunDirectory(run.root)):
        weights = require_same_base(RunDirectory(run.root), run.recipe)
        base, trained = load_sampler(base_of(run.recipe), run.recipe), load_sampler(str(run.root), run.recipe)
        result = evaluate_models(base, trained, build_composer(judge), run.recipe, extent, run.root, weights)
        write_report(run.root)
    return result


def _stored(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}; remove it and it is made again") from error
