"""Gradients in an order: sums that are the same bit for bit, and no two graphs at once."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from worldr1.rl.gradients import add_gradients, add_gradients_before
from worldr1.rl.objectives import LossTerm

SHAPES = ((40, 30), (30,), (30, 20), (20,), (5,))


def _parameters() -> list[Parameter]:
    """Two layers that every loss uses, the first of them twice, and one vector that some losses use."""
    generator = torch.Generator().manual_seed(1)
    return [Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def _term(parameters: list[Parameter], seed: int, uses_last: bool = False) -> LossTerm:
    generator = torch.Generator().manual_seed(seed)
    w1, b1, w2, b2, extra = parameters
    x = torch.randn(16, 40, generator=generator)
    y = torch.tanh(x @ w1 + b1) + torch.tanh(x.flip(0) @ w1)
    loss = (y @ w2 + b2).square().mean() + (extra.square().sum() / 3 if uses_last else 0)
    return LossTerm(loss, {"a": float(seed)}, seed, end_of_update=False)


def _gradients(parameters: list[Parameter]) -> list[Tensor | None]:
    return [parameter.grad for parameter in parameters]


def _same(one: list[Parameter], other: list[Parameter]) -> bool:
    pairs = zip(_gradients(one), _gradients(other), strict=True)
    return all((a is None and b is None) or (a is not None and b is not None and torch.equal(a, b)) for a, b in pairs)


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("users", [(), (3,), (9,), (3, 9)])
def test_the_sum_is_that_of_the_order_bit_for_bit(begun: bool, users: tuple[int, ...]) -> None:
    first = [1, 2] if begun else []
    expected, seen, turned = _parameters(), _parameters(), _parameters()
    for parameters in (expected, seen, turned):
        add_gradients(_term(parameters, seed) for seed in first)
    told = add_gradients(_term(expected, seed, seed in users) for seed in (3, 4, 9))
    last = _term(seen, 9, 9 in users)
    assert add_gradients_before(last, (_term(seen, seed, seed in users) for seed in (3, 4)), seen) == told
    assert _same(seen, expected)
    add_gradients(_term(turned, seed, seed in users) for seed in (9, 3, 4))
    assert not _same(turned, expected), "the order must matter, or this test shows nothing"


def test_without_losses_before_it_the_term_stands_alone() -> None:
    expected, seen = _parameters(), _parameters()
    add_gradients([_term(expected, 1), _term(expected, 2)])
    add_gradients([_term(seen, 1)])
    add_gradients_before(_term(seen, 2), [], seen)
    assert _same(seen, expected)


class _Kept:
    """A tensor that a graph keeps for its backward pass."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def test_one_graph_lives_at_a_time() -> None:
    parameters, alive = _parameters(), weakref.WeakSet[_Kept]()

    def pack(tensor: Tensor) -> _Kept:
        kept = _Kept(tensor)
        alive.add(kept)
        return kept

    seen = []

    def losses() -> Iterator[LossTerm]:
        for seed in (3, 4):
            seen.append(len(alive))
            yield _term(parameters, seed)

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        last = _term(parameters, 9)
        assert len(alive) > 0
        add_gradients_before(last, losses(), parameters)
    assert seen == [0, 0]
