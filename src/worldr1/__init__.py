"""worldr1: make text-to-video models 3D-consistent by reinforcement learning."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "Trajectory": "worldr1.camera.trajectory",
    "generate": "worldr1.generation",
    "load_pipeline": "worldr1.pipelines",
    "reconstruct": "worldr1.scoring",
    "render": "worldr1.splats.render",
    "score": "worldr1.scoring",
    "wrap_noise": "worldr1.noise",
}
"""Public names and the modules that hold them; each is imported when it is first asked for."""

__all__ = ["Trajectory", "generate", "load_pipeline", "reconstruct", "render", "score", "wrap_noise"]

if TYPE_CHECKING:
    from worldr1.camera.trajectory import Trajectory
    from worldr1.generation import generate
    from worldr1.noise import wrap_noise
    from worldr1.pipelines import load_pipeline
    from worldr1.scoring import reconstruct, score
    from worldr1.splats.render import render


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'worldr1' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
