"""Whether this machine's memory is enough, said before anything is loaded."""

from __future__ import annotations

import torch

from worldr1.planning.plan import Plan

_GIB = 2**30
_ADVICE = "reward.judge.name server, model.gradient_checkpointing true, sampling.micro_batch 1"


def gpu_bytes() -> int | None:
    """Memory of the GPU that trains; None without one."""
    return int(torch.cuda.get_device_properties(0).total_memory) if torch.cuda.is_available() else None


def check_memory(plan: Plan, available: int | None) -> None:
    """Refuse a run that cannot fit.

    Raises:
        ValueError: the parts that never leave memory alone are more than `available` bytes.
    """
    if available is not None and _resident(plan) > available:
        raise ValueError(memory_warning(plan, available))


def memory_warning(plan: Plan, available: int | None) -> str:
    """What will or may not fit into `available` bytes, as a sentence; empty where all does, or without a GPU."""
    if available is None or plan.peak.total <= available:
        return ""
    has, mend = f"the GPU has {available / _GIB:.0f} GiB", f"take a larger GPU, or lower it with {_ADVICE}"
    if _resident(plan) > available:
        return f"too little memory: {plan.recipe.name} keeps {_resident(plan) / _GIB:.0f} GiB loaded, {has}; {mend}"
    peak = plan.peak
    return f"memory may not suffice: the stage '{peak.name}' needs about {peak.total / _GIB:.0f} GiB, {has}; {mend}"


def _resident(plan: Plan) -> float:
    return max(stage.resident for stage in plan.stages)
