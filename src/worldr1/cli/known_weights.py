"""The published weights that no shipped recipe names but that others may, for `worldr1 doctor`."""

from __future__ import annotations

from collections.abc import Container

from worldr1.recipes.weights import LICENCES, Weights, examine

_ROLES = {"Wan-AI": "policy", "zai-org": "policy", "depth-anything": "reconstructor", "MizzenAI": "preference"}
"""What the weights of an owner are for; those of others are judges."""


def known_weights(without: Container[str]) -> list[Weights]:
    """All weights whose licence is known, but those of these names."""
    others = [name for name in LICENCES if name not in without]
    return [examine(_ROLES.get(name.partition("/")[0], "judge"), name) for name in others]
