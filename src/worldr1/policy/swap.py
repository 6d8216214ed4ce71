"""Run a network with other values in some of its parameters, then put its own back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor
from torch.nn import Parameter


@contextmanager
def swapped(parameters: Sequence[Parameter], values: Sequence[Tensor]) -> Iterator[None]:
    """Inside it, ``parameters`` hold ``values``; afterwards their own storage again, untouched.

    Storage is exchanged rather than overwritten, so that a graph recorded before stays valid after. Values of another
    dtype or device are converted on entry.

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
    own = [parameter.data for parameter in parameters]
    try:
        for parameter, value in zip(parameters, values, strict=True):
            parameter.data = value.detach().to(device=parameter.device, dtype=parameter.dtype)
        yield
    finally:
        for parameter, tensor in zip(parameters, own, strict=True):
            parameter.data = tensor
