"""Which policy stands over which pipeline: by the class that a pipeline's model_index.json names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worldr1.policy.cogvideox import CogVideoXPolicy
from worldr1.policy.diffusers_policy import DiffusersPolicy
from worldr1.policy.wan import WanPolicy

ADAPTERS: Mapping[str, type[DiffusersPolicy]] = {"WanPipeline": WanPolicy, "CogVideoXPipeline": CogVideoXPolicy}
"""Policies by the pipeline's class."""


def adapter_of(name: str) -> type[DiffusersPolicy]:
    """The policy of a pipeline class.

    Raises:
        ValueError: there is none.
    """
    if name not in ADAPTERS:
        raise ValueError(f"no policy for pipelines of class {name}; there are policies for {', '.join(ADAPTERS)}")
    return ADAPTERS[name]


def make_policy(pipeline: Any, *args: Any, **settings: Any) -> DiffusersPolicy:
    """The policy over a pipeline; arguments and errors as `DiffusersPolicy` and the family's own."""
    return adapter_of(type(pipeline).__name__)(pipeline, *args, **settings)
