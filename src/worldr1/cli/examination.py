"""The single examinations of `worldr1 doctor`."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from worldr1.cli.known_weights import known_weights
from worldr1.recipes import load_recipe, recipe_names
from worldr1.recipes.weights import Weights, required_weights

State = Literal["ok", "missing", "broken"]
_OLDEST, _NEWEST = (3, 10), (3, 13)
_LIBRARIES = ("torch", "diffusers", "transformers", "peft", "accelerate", "ftfy", "numba", "av", "tensorboard")
_MEMORY_GIB, _DISK_GIB = 4.0, 2.0


@dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Attributes:
        subject: what was looked at.
        state: "ok", "missing" (not there) or "broken" (there, but of no use).
        detail: what was found.
        remedy: the command or advice that mends it; empty when nothing is to be done.
        needed: whether the tiny world needs it.
    """

    subject: str
    state: State
    detail: str
    remedy: str = ""
    needed: bool = True


def examine() -> list[Finding]:
    """Look at everything, in the order in which one would mend it."""
    checks: list[Callable[[], Finding]] = [_python, _cores, _memory, _disk]
    findings = [check() for check in checks]
    findings += [_library(name) for name in _LIBRARIES]
    findings += [_video(), _tiny_pipeline(), *_gpus(), _gsplat(), _depth_anything(), _vision_scorers()]
    return findings + [_weights(one) for one in published_weights()]


def published_weights() -> list[Weights]:
    """What the shipped recipes of real models need, then the other known weights, each once."""
    found = {one.name: one for name in recipe_names() for one in required_weights(load_recipe(name))}
    return [*found.values(), *known_weights(found)]


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if _OLDEST <= sys.version_info[:2] <= _NEWEST:
        return Finding("Python", "ok", version)
    return Finding("Python", "broken", version, "make demo PYTHON=python3.11  # 3.10 to 3.13 will do")


def _cores() -> Finding:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    remedy = "" if count >= 2 else "one core works; training takes about twice as long"
    return Finding("processor cores", "ok", str(count), remedy)


def _memory() -> Finding:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return Finding("memory", "ok", "unknown")
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    if total >= _MEMORY_GIB:
        return Finding("memory", "ok", f"{total:.0f} GiB")
    return Finding("memory", "broken", f"{total:.1f} GiB", f"the tiny world needs {_MEMORY_GIB:.0f} GiB")


def _disk() -> Finding:
    free = shutil.disk_usage(tempfile.gettempdir()).free / 2**30
    here = shutil.disk_usage(Path.cwd()).free / 2**30
    detail = f"{here:.0f} GiB free here, {free:.0f} GiB in {tempfile.gettempdir()}"
    if min(here, free) >= _DISK_GIB:
        return Finding("disk", "ok", detail)
    return Finding("disk", "broken", detail, f"a run needs {_DISK_GIB:.0f} GiB in both")


def _library(name: str) -> Finding:
    version = _version(name)
    return Finding(name, "missing", "", f"pip install {name}") if version is None else Finding(name, "ok", version)


def _video() -> Finding:
    if importlib.util.find_spec("av") is None:
        return Finding("H.264 video", "missing", "PyAV is not installed", "pip install av", needed=False)
    import av
    from av.codec.codec import UnknownCodecError

    try:
        av.Codec("libx264", "w")
    except UnknownCodecError:
        return Finding(
            "H.264 video", "missing", "videos are written as WebM", "pip install --force-reinstall av", False
        )
    return Finding("H.264 video", "ok", "libx264", needed=False)


def _tiny_pipeline() -> Finding:
    from worldr1.tinyworld import pipeline_dir

    folder = Path(pipeline_dir())
    if (folder / "model_index.json").is_file():
        return Finding("tiny pipeline", "ok", str(folder))
    return Finding("tiny pipeline", "missing", str(folder), "worldr1 tinyworld build")


def _gpus() -> list[Finding]:
    if importlib.util.find_spec("torch") is None:
        return [Finding("GPU", "missing", "torch is not installed", "pip install torch", needed=False)]
    import torch

    if not torch.cuda.is_available():
        remedy = "real models need an NVIDIA GPU and CUDA torch"
        return [Finding("GPU", "missing", "the tiny world needs none", remedy, False)]
    findings = []
    for index in range(torch.cuda.device_count()):
        free, total = (size / 2**30 for size in torch.cuda.mem_get_info(index))
        detail = f"{torch.cuda.get_device_name(index)}, {free:.0f} of {total:.0f} GiB free"
        findings.append(Finding(f"GPU {index}", "ok", detail, needed=False))
    return findings


def _gsplat() -> Finding:
    version = _version("gsplat")
    if version is None:
        detail = (
            "splats render on the CPU; on a GPU, the meta view of Depth Anything 3's scenes and reward.recon_from "
            "'gaussians' need it"
        )
        return Finding("gsplat", "missing", detail, "pip install 'worldr1[cuda]'", needed=False)
    return Finding("gsplat", "ok", version, needed=False)


def _depth_anything() -> Finding:
    from worldr1.reconstruction.da3_loading import INSTALL, missing_modules

    for gaussians, who in ((False, ""), (True, " for variants with Gaussians")):
        lacking = missing_modules(gaussians)
        if lacking:
            detail = f"lacks {', '.join(lacking)}{who}; stereo rebuilds scenes without it"
            return Finding("Depth Anything 3", "missing", detail, INSTALL, needed=False)
    return Finding("Depth Anything 3", "ok", importlib.metadata.version("depth-anything-3"), needed=False)


def _vision_scorers() -> Finding:
    """Qwen3-VL and HPSv3 are read by transformers 5."""
    subject, version = "Qwen3-VL and HPSv3", _version("transformers")
    if version is None or int(version.partition(".")[0]) < 5:
        detail = f"transformers {version or 'is not installed'}"
        return Finding(subject, "missing", detail, "pip install -U 'transformers>=5'", needed=False)
    return Finding(subject, "ok", f"transformers {version}", needed=False)


def _version(name: str) -> str | None:
    return None if importlib.util.find_spec(name) is None else importlib.metadata.version(name)


def _weights(weights: Weights) -> Finding:
    licence = f"licence {weights.licence}"
    if weights.place is not None:
        return Finding(weights.name, "ok", f"{weights.role}, {licence}, {weights.place}", needed=False)
    return Finding(weights.name, "missing", f"{weights.role}, {licence}; {weights.problem}", weights.command, False)
