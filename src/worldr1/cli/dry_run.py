"""`worldr1 train RECIPE --dry-run`: what the run needs and costs, with nothing loaded."""

from __future__ import annotations

import json
import sys

from worldr1.planning.budget import gpu_bytes, memory_warning
from worldr1.planning.plan import RELEASE, Plan, make_plan
from worldr1.recipes import Recipe
from worldr1.rl.assemble import held_out, training_prompts

_GIB = 2**30


def dry_run(recipe: Recipe, as_json: bool, matrix_tflops: float) -> int:
    """Plan a run and print the plan, as one JSON document or as tables.

    Returns:
        0 when the run could start here, 1 when weights are missing.

    Raises:
        ValueError: prompts are wrong, or the model's shape is not known.
        FileNotFoundError: a prompt file is missing.
    """
    prompts, evaluation = training_prompts(recipe), held_out(recipe)
    counts = {"main": len(prompts.main), "dynamic": len(prompts.dynamic), "evaluation": len(evaluation)}
    plan = make_plan(recipe, matrix_tflops, len(prompts.dynamic))
    warning = memory_warning(plan, gpu_bytes())
    if as_json:
        document = {**plan.to_dict(), "prompts": counts, "warning": warning, "ready": not plan.missing}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _show(plan, counts, warning)
    return 1 if plan.missing else 0


def _show(plan: Plan, counts: dict[str, int], warning: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console, recipe = Console(), plan.recipe
    clip, schedule = recipe.clip, recipe.schedule
    console.print(
        f"[bold]{recipe.name}[/]: {clip.frames} frames of {clip.width}x{clip.height}, {schedule.groups} groups of "
        f"{schedule.group_size} videos a step, {recipe.objective.name}; prompts: "
        + ", ".join(f"{count} {name}" for name, count in counts.items())
    )
    evaluations = plan.evaluations
    kept = evaluations.preserve_update + evaluations.preserve_sampling
    console.print(
        f"network evaluations per trained video: [bold]{evaluations.total:.4g}[/] (World-R1's release: {RELEASE}) = "
        f"rollout {evaluations.rollout:g} + forward {evaluations.forward:g} + reference {evaluations.reference:g} + "
        f"2 x backward {evaluations.backward:g} + recompute {evaluations.recompute:g}"
        + (f" + preservation {kept:.3g}" if kept else "")
    )
    table = Table("stage", box=None, pad_edge=False)
    table.add_column("GiB on the GPU", justify="right")
    table.add_column("seconds a step", justify="right")
    for stage in plan.stages:
        seconds = plan.seconds.get(stage.name)
        table.add_row(stage.name, f"{stage.total / _GIB:.1f}", "" if seconds is None else f"{seconds:.0f}")
    table.add_row("peak and sum", f"{plan.peak.total / _GIB:.1f}", f"{plan.seconds['total']:.0f}")
    console.print(table)
    for seconds in plan.seconds_once.values():
        console.print(f"once, before the first step: the base samples dynamic prompts to preserve, {seconds:.0f} s")
    parts = {**plan.weights_bytes, **{f"{cost.name} ({cost.model})": cost.weights for cost in plan.rewards}}
    console.print("stays in memory: " + ", ".join(f"{name} {size / _GIB:.2g} GiB" for name, size in parts.items()))
    console.print(
        f"activations of one update: {plan.with_checkpointing / _GIB:.1f} GiB with gradient checkpointing, "
        f"{plan.without_checkpointing / _GIB:.1f} GiB without"
    )
    console.print(
        f"Estimates from shapes, at {plan.matrix_tflops:g} TFLOP/s in bfloat16 (set with --matrix-tflops); libraries "
        "and fragmentation take some GiB more."
    )
    weights = Table(box=None, pad_edge=False)
    for heading in ("weights", "for", "licence", "found"):
        weights.add_column(heading, overflow="fold")
    for one in plan.weights:
        found = str(one.place) if one.place else f"[red]{escape(one.problem)}[/]"
        licence = one.licence if one.commercial else f"[yellow]{escape(one.licence)}[/]"
        weights.add_row(one.name, one.role, licence, found)
    if plan.weights:
        console.print(weights)
    if warning:
        console.print(f"[yellow]{escape(warning)}[/]")
    for one in plan.missing:
        console.print(
            f"get it: {one.command}" if one.command else f"{one.name}: give another path", markup=False, soft_wrap=True
        )
    console.print("Ready." if not plan.missing else "[red]Not ready: weights are missing.[/]")
