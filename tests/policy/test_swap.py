"""Swapping leaves the graph and the parameters as they were."""

from __future__ import annotations

import pytest
import torch
from torch.nn import Parameter

from worldr1.policy.swap import swapped


def test_inside_the_values_outside_the_own_even_after_an_error() -> None:
    parameter = Parameter(torch.ones(2))
    storage = parameter.data_ptr()
    with swapped([parameter], [torch.full((2,), 5.0, dtype=torch.float64)]):
        assert parameter.tolist() == [5.0, 5.0]
        assert parameter.dtype == torch.float32
    with pytest.raises(RuntimeError, match="stop"), swapped([parameter], [torch.zeros(2)]):
        raise RuntimeError("stop")
    assert parameter.tolist() == [1.0, 1.0]
    assert parameter.data_ptr() == storage


def test_a_graph_recorded_before_stays_valid() -> None:
    parameter, x = Parameter(torch.tensor([2.0])), torch.tensor([3.0], requires_grad=True)
    product = (parameter * x).sum()
    with swapped([parameter], [torch.tensor([100.0])]), torch.no_grad():
        assert float(parameter * x) == 300.0
    product.backward()
    assert x.grad is not None
    assert float(x.grad) == 2.0
    assert parameter.grad is not None
    assert float(parameter.grad) == 3.0


def test_misfits_are_named() -> None:
    parameter = Parameter(torch.ones(2))
    with pytest.raises(ValueError, match="0 values into 1 parameters"), swapped([parameter], []):
        pass
    with pytest.raises(ValueError, match=r"value 0 of shape \(3,\)"), swapped([parameter], [torch.ones(3)]):
        pass
