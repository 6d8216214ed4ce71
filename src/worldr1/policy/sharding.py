"""Weights spread over processes by torch's FSDP2, and tensors of which this process holds a part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor


def shard(module: nn.Module, blocks: Sequence[nn.Module], mesh: DeviceMesh) -> None:
    """Leave each process of ``mesh`` its part of the weights, which come together block by block where they are used.

    Gradients of the processes are added up, not averaged. The module's parameters are new objects afterwards.

    Args:
        module: the network; all processes hold the same weights.
        blocks: submodules that run one after another and hold most of the weights.
        mesh: of one dimension.
    """
    from torch.distributed.fsdp import FSDPModule, fully_shard

    for part in (*blocks, module):
        fully_shard(part, mesh=mesh, reshard_after_forward=True)
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.set_force_sum_reduction_for_comms(True)
            part.set_gradient_divide_factor(1.0)


def is_sharded(tensor: Tensor) -> TypeGuard[DTensor]:
    """Whether other processes hold parts of a tensor (asked without the import of all of torch.distributed)."""
    return hasattr(tensor, "placements")


def local(tensor: Tensor) -> Tensor:
    """The part that is here: it shares its memory with the tensor; the tensor itself if it is whole."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """The whole tensor; all processes that hold a part of it must ask together."""
    return tensor.full_tensor().detach() if is_sharded(tensor) else tensor.detach()


def part_of(value: Tensor, like: Tensor) -> Tensor:
    """A whole ``value``, the same in every process, on the device of ``like`` and spread as it is; its dtype stays."""
    value = value.detach().to(like.device)
    if not is_sharded(like):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)


@torch.no_grad()
def fill(target: Tensor, value: Tensor) -> None:
    """Copy a whole ``value`` into ``target``, or this process's part of it."""
    local(target).copy_(local(part_of(value, target)))
