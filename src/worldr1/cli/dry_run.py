"""`worldr1 train RECIPE --dry-run`: what the run needs and costs, with nothing loaded."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from worldr1.planning.budget import gpu_bytes, host_bytes, memory_obstacles, memory_warnings
from worldr1.planning.plan import RELEASE, Plan, make_plan
from worldr1.planning.readiness import Obstacle, obstacles
from worldr1.recipes import Recipe
from worldr1.rl.assemble import held_out, training_prompts

_GIB = 2**30


def dry_run(recipe: Recipe, as_json: bool, matrix_tflops: float) -> int:
    """Plan a run and print the plan, as one JSON document or as tables.

    Returns:
        0 when the run could start here, 1 when weights, packages or memory are missing or the reward cannot be built.

    Raises:
        ValueError: prompts are wrong, or the model's shape is not known.
        FileNotFoundError: a prompt file is missing.
    """
    prompts, evaluation = training_prompts(recipe), held_out(recipe)
    counts = {"main": len(prompts.main), "dynamic": len(prompts.dynamic), "evaluation": len(evaluation)}
    plan = make_plan(recipe, matrix_tflops, len(prompts.dynamic))
    available = gpu_bytes()
    reasons = obstacles(recipe, available is not None, plan.weights)
    if recipe.parallel.strategy != "fsdp":
        reasons += memory_obstacles(plan, available)
    warnings = memory_warnings(plan, available, host_bytes())
    if as_json:
        why = [asdict(reason) for reason in reasons]
        document = {**plan.to_dict(), "prompts": counts, "warnings": warnings, "ready": not why, "reasons": why}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _show(plan, counts, warnings, reasons)
    return 1 if reasons else 0


def _show(plan: Plan, counts: dict[str, int], warnings: list[str], reasons: list[Obstacle]) -> None:
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
    table.add_column("of these resident", justify="right")
    table.add_column("seconds a step", justify="right")
    for stage in plan.stages:
        seconds = plan.seconds.get(stage.name)
        memory = f"{stage.total / _GIB:.1f}", f"{stage.resident / _GIB:.1f}"
        table.add_row(stage.name, *memory, "" if seconds is None else f"{seconds:.0f}")
    table.add_row("peak and sum", f"{plan.peak.total / _GIB:.1f}", "", f"{plan.seconds['total']:.0f}")
    console.print(table)
    for seconds in plan.seconds_once.values():
        console.print(f"once, before the first step: the base samples dynamic prompts to preserve, {seconds:.0f} s")
    parts = [f"{name} {size / _GIB:.2g} GiB" for name, size in plan.weights_bytes.items()]
    for cost in plan.rewards:
        size = "size not known" if cost.parameters is None else f"{cost.weights / _GIB:.2g} GiB"
        parts.append(escape(f"{cost.name} ({cost.model}) {size}"))
    console.print("stays on the GPU from its loading to the end: " + ", ".join(parts))
    console.print(
        f"of the rewards' time {sum(cost.cpu_seconds for cost in plan.rewards):.2g} s a video are one CPU core's, "
        f"shared by {plan.cores}"
    )
    console.print(
        "the machine's own memory: "
        + ", ".join(f"{name} {size / _GIB:.2g} GiB" for name, size in plan.host_bytes.items())
    )
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
    for warning in warnings:
        console.print(f"[yellow]{escape(warning)}[/]", soft_wrap=True)
    for one in plan.missing:
        console.print(
            f"get it: {one.command}" if one.command else f"{one.name}: give another path", markup=False, soft_wrap=True
        )
    for reason in reasons:
        if reason.kind != "weights":
            console.print(f"{reason.kind}: {reason.sentence}", markup=False, soft_wrap=True)
    kinds = list(dict.fromkeys(reason.kind for reason in reasons))
    console.print(f"[red]Not ready: see {', '.join(kinds)}.[/]" if kinds else "Ready.")
