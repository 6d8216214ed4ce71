"""Gradients of losses, one graph at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor
from torch.nn import Parameter

from worldr1.rl.objectives import LossTerm

Told = list[tuple[Mapping[str, float], int]]
"""Statistics and weights of losses."""


def add_gradients(losses: Iterable[LossTerm]) -> Told:
    """Add the gradients of losses to those that are there, each before the next loss is made."""
    told = []
    for term in losses:
        term.loss.backward()
        told.append((term.statistics, term.weight))
    return told


def add_gradients_before(term: LossTerm, losses: Iterable[LossTerm], parameters: Sequence[Parameter]) -> Told:
    """As ``add_gradients`` of losses and then of a term whose graph is there already: bit for bit the same sums.

    Its graph is gone before the first of the losses is made; its gradients wait beside the others meanwhile.
    """
    before = _taken(parameters)
    last = add_gradients([term])
    waiting = _taken(parameters)
    for parameter, gradient in zip(parameters, before, strict=True):
        parameter.grad = gradient
    told = add_gradients(losses)
    for parameter, gradient in zip(parameters, waiting, strict=True):
        if parameter.grad is None:
            parameter.grad = gradient
        elif gradient is not None:
            parameter.grad += gradient
    return told + last


def _taken(parameters: Sequence[Parameter]) -> list[Tensor | None]:
    gradients = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    return gradients
