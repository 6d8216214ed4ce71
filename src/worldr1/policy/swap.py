"""Run a network with other values in some of its parameters, then put its own back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import Parameter

from worldr1.policy.sharding import is_sharded, local


@contextmanager
def swapped(parameters: Sequence[Parameter], values: Sequence[Tensor]) -> Iterator[None]:
    """Inside it, ``parameters`` hold ``values``; afterwards their own storage again, untouched.

    Storage is exchanged rather than overwritten, so that a graph recorded before stays valid after; but parameters that
    FSDP spreads over processes are overwritten, as it gathers the network from where they lie, anew for every pass.
    Values of another dtype or device are converted on entry.

    Raises:
        ValueError: if the numbers of parameters and values, or a pair of shapes, differ.
    """
    if len(parameters) != len(values):
        raise ValueError(f"cannot swap {len(values)} values into {len(parameters)} parameters: the numbers must agree")
    for index, (parameter, value) in enumerate(zip(parameters, values, strict=True)):
        if parameter.shape != value.shape:
            raise ValueError(
                f"cannot swap value {index} of shape {tuple(value.shape)} into a parameter of shape "
                f"{tuple(parameter.shape)}"
            )
    own = [local(parameter).detach().clone() if is_sharded(parameter) else parameter.data for parameter in parameters]
    try:
        for parameter, value in zip(parameters, values, strict=True):
            _put(parameter, local(value).detach().to(device=parameter.device, dtype=parameter.dtype))
        yield
    finally:
        for parameter, tensor in zip(parameters, own, strict=True):
            _put(parameter, tensor)


@torch.no_grad()
def _put(parameter: Parameter, tensor: Tensor) -> None:
    if is_sharded(parameter):
        local(parameter).copy_(tensor)
    else:
        parameter.data = tensor
