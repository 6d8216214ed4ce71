"""What a result tells about the device besides the machine: its name, its memory, the versions that matter there."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import torch

from benchmarks.machine import cpu_name

MIB = 2**20


def device_name(device: str) -> str:
    """The GPU's name, or the processor's where the device is the CPU."""
    return torch.cuda.get_device_name() if device == "cuda" else cpu_name()


def describe_device(device: str, absent: str = "none") -> dict[str, str | int | float]:
    """What the result adds to the machine's description; `absent` says why there is no GPU."""
    if device == "cpu":
        return {"device": absent}
    return {
        "device": torch.cuda.get_device_name(),
        "device_mib": torch.cuda.get_device_properties(0).total_memory // MIB,
        "cuda": str(torch.version.cuda),
        "gsplat": version_of("gsplat"),
        "clock": "wall-clock seconds, device synchronised",
    }


def version_of(package: str) -> str:
    """The installed version of a package, or "none"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
