"""`worldr1 ablate`: what each part of the method is worth, by leaving it out, over several seeds."""

from __future__ import annotations

import json as json_
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldr1.cli.main import DONE, FAILED, INTERRUPTED

if TYPE_CHECKING:
    from worldr1.ablation.plan import PlannedRun

logger = logging.getLogger(__name__)


def ablate(
    recipe: str = "tiny",
    seeds: tuple[int, ...] = (0, 1, 2),
    variants: tuple[str, ...] = (),
    steps: int | None = None,
    out: Path | None = None,
    prompts: int = 64,
    dynamic: int = 32,
    fitted: int = 24,
    json: bool = False,
) -> int:
    """Train and evaluate variants of a recipe, and set their effects beside the paper's.

    The same command goes on where it was stopped: finished runs are skipped. The table is written after every run.

    Args:
        recipe: a shipped recipe, or a YAML file.
        seeds: of training, one run of every variant for each.
        variants: which ones, all when not given: full, no-meta, no-recon, no-traj, no-wrapping, no-periodic, no-3d,
            no-general, sequential, no-preserve, prompts-1of3, prompts-2of3, prompts-all, nft, grpo. The full method
            always comes along.
        steps: training steps of every run in place of the recipe's.
        out: directory of the runs, ablation.json and ablation.md; runs/ablation-RECIPE when not given.
        prompts: static held-out prompts of every evaluation.
        dynamic: dynamic ones.
        fitted: how many of the static ones the second evaluator sees; 0 leaves it out.
        json: print ablation.json, and nothing else, on standard output.

    Returns:
        0 when every run is done, 1 when one failed, 130 when interrupted.
    """
    from worldr1.ablation import execute
    from worldr1.ablation.document import ablation_document
    from worldr1.ablation.plan import plan_runs
    from worldr1.ablation.table import to_markdown
    from worldr1.ablation.variants import choose, load_variants
    from worldr1.data.atomic import write_text
    from worldr1.evaluation.model import Extent
    from worldr1.recipes import load_recipe

    extent = Extent(prompts=prompts, dynamic=dynamic, fitted=fitted)
    judge = load_recipe(recipe)
    target = out or Path("runs") / f"ablation-{judge.name}"
    runs = plan_runs(judge, choose(load_variants(), variants), seeds, steps, target)
    _warn_of_idle_prompts(runs)
    extent_told = {name: getattr(extent, name) for name in ("prompts", "dynamic", "fitted", "seed")}
    document: dict[str, Any] = {}
    try:
        for outcomes in execute.execute(runs, execute.train_run, lambda run: execute.evaluate_run(run, judge, extent)):
            document = ablation_document(runs, outcomes, extent_told)
            target.mkdir(parents=True, exist_ok=True)
            write_text(target / "ablation.json", json_.dumps(document, indent=1, allow_nan=False))
            write_text(target / "ablation.md", to_markdown(document))
    except KeyboardInterrupt:
        logger.warning("interrupted; the same command goes on where it stopped")
        return INTERRUPTED
    if json:
        sys.stdout.write(json_.dumps(document, indent=1, allow_nan=False) + "\n")
    else:
        _show(document)
    logger.info("wrote %s and ablation.json beside it", target / "ablation.md")
    failed = [run["error"] for variant in document["variants"] for run in variant["runs"] if run["error"] is not None]
    return FAILED if failed else DONE


def _warn_of_idle_prompts(runs: list[PlannedRun]) -> None:
    from worldr1.ablation.plan import prompts_drawn

    for name, recipe in {run.variant.name: run.recipe for run in runs if run.variant.scale}.items():
        if prompts_drawn(recipe) <= recipe.prompts.count:
            logger.warning(
                "%s holds %d prompts and a run draws %d: none comes twice, so that its effect is chance",
                name,
                recipe.prompts.count,
                prompts_drawn(recipe),
            )


def _show(document: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from worldr1.ablation.table import short_table

    text = short_table(document)
    table = Table(title=text.title, box=None, pad_edge=False)
    for head in text.heads:
        table.add_column(head, overflow="fold")
    for row in text.rows:
        table.add_row(*row)
    console = Console()
    console.print(table, markup=False)
    console.print(
        f"Means over seeds {', '.join(map(str, document['seeds']))}; in brackets the difference from the full method "
        "with its 95% interval over seeds. R_gen stands beside VBench; it is not VBench.",
        markup=False,
    )
