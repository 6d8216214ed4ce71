"""Which runs an ablation is made of: one for every variant and seed, the same recipe never twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from worldr1.ablation.variants import Variant
from worldr1.recipes import Recipe


@dataclass(frozen=True)
class PlannedRun:
    """One run.

    Attributes:
        variant: whose run it is.
        seed: of training.
        recipe: what is trained.
        root: its run directory; that of an earlier variant when that one trains the same recipe.
    """

    variant: Variant
    seed: int
    recipe: Recipe
    root: Path


def plan_runs(
    recipe: Recipe, variants: Sequence[Variant], seeds: Sequence[int], steps: int | None, out: Path
) -> list[PlannedRun]:
    """All runs, every variant of the first seed before the second, so that a table is soon complete.

    Args:
        recipe: what the variants change.
        variants: the first is what the others are compared with.
        seeds: of training, each once.
        steps: training steps in place of the recipe's.
        out: the ablation's directory; a run lies in out/VARIANT/seed-N.

    Raises:
        ValueError: no seed, a seed twice, no steps, or a variant that does not fit the recipe.
    """
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise ValueError(f"an ablation needs distinct seeds from 0 on, got {list(seeds)}")
    if steps is not None and steps < 1:
        raise ValueError(f"an ablation needs at least one training step, got {steps}")
    schedule = recipe.schedule if steps is None else recipe.schedule.model_copy(update={"total_steps": steps})
    checkpoint = recipe.checkpoint.model_copy(update={"keep": 1})
    runs: list[PlannedRun] = []
    for seed in seeds:
        first = recipe.model_copy(update={"seed": seed, "schedule": schedule, "checkpoint": checkpoint})
        for variant in variants:
            changed = variant.applied(first)
            root = next((run.root for run in runs if run.recipe == changed), out / variant.name / f"seed-{seed}")
            runs.append(PlannedRun(variant, seed, changed, root))
    return runs


def prompts_drawn(recipe: Recipe) -> int:
    """How many main prompts a run draws at most; what the set holds beyond that, it never sees."""
    schedule = recipe.schedule
    cycle = schedule.main_steps + schedule.dynamic_steps
    turns, rest = divmod(schedule.total_steps, cycle)
    return schedule.groups * (turns * schedule.main_steps + min(rest, schedule.main_steps))
