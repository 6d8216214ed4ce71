"""Whether this machine's memory is enough, said before anything is loaded."""

from __future__ import annotations

import os

import torch

from worldr1.planning.plan import Plan
from worldr1.planning.readiness import Obstacle

_GIB = 2**30
_ADVICE = "reward.judge.name server, model.gradient_checkpointing true, sampling.micro_batch 1"


def gpu_bytes() -> int | None:
    """Memory of the GPU that trains; None without one."""
    return int(torch.cuda.get_device_properties(0).total_memory) if torch.cuda.is_available() else None


def host_bytes() -> int | None:
    """Memory of this machine; None where it does not tell."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def memory_obstacles(plan: Plan, available: int | None) -> list[Obstacle]:
    """What cannot fit into `available` bytes of the GPU: the parts that stay loaded; nothing without a GPU."""
    resident = max(stage.resident for stage in plan.stages)
    if available is None or resident <= available:
        return []
    sentence = (
        f"too little memory: {plan.recipe.name} keeps {resident / _GIB:.0f} GiB loaded, "
        f"the GPU has {available / _GIB:.0f} GiB; take a larger GPU, or lower it with {_ADVICE}"
    )
    return [Obstacle("memory", sentence)]


def memory_warnings(plan: Plan, available: int | None, host: int | None) -> list[str]:
    """What may not fit into `available` bytes of the GPU and `host` bytes of the machine, as sentences."""
    warnings, peak, most = [], plan.peak, max(plan.host_bytes.values())
    if available is None and plan.recipe.model.path != "tiny":
        warnings.append("there is no GPU here: memory and time are those of a machine that has one")
    if available is not None and peak.total > available:
        warnings.append(
            f"memory may not suffice: the stage '{peak.name}' needs about {peak.total / _GIB:.0f} GiB, the GPU has "
            f"{available / _GIB:.0f} GiB; take a larger GPU, or lower it with {_ADVICE}"
        )
    if host is not None and most > host:
        warnings.append(
            f"the machine's memory may not suffice: about {most / _GIB:.0f} GiB are needed beside the GPU's, it has "
            f"{host / _GIB:.0f} GiB; lower it with pool.batch, or take a larger machine"
        )
    return warnings
