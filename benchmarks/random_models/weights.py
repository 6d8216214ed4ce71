"""Random weights, drawn where they shall live and in the precision that they shall have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def draw(make: Callable[[], M], device: str, dtype: torch.dtype, whole: Sequence[str] = ()) -> M:
    """A frozen module in evaluation, never whole in float32: 14 billion parameters take 28 GB and not 56 for a while.

    Matrices are normal with a variance of one over their inputs, so that signals keep their size; scales of
    normalisation are 1, biases 0. Parameters whose name has a part of `whole` in it are float32.
    """
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        module = make()
    for place, owner in module.named_modules():
        for name, parameter in list(owner.named_parameters(recurse=False)):
            kept = any(part in f"{place}.{name}" for part in whole)
            values = torch.empty(parameter.shape, dtype=torch.float32 if kept else dtype, device=device)
            setattr(owner, name, nn.Parameter(_fill(values, name), requires_grad=False))
    tie = getattr(module, "tie_weights", None)
    if tie is not None:
        tie()
    return module.to(device).eval()


def _fill(values: torch.Tensor, name: str) -> torch.Tensor:
    if name.endswith("bias"):
        return values.zero_()
    if values.ndim < 2:
        return values.fill_(1.0)
    return values.normal_(0.0, values[0].numel() ** -0.5)
