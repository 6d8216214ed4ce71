"""The processes that train one run together, and all that they tell each other.

Nothing is pickled: values travel as JSON, tensors as they are.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import Parameter

from worldr1.policy.sharding import is_sharded

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

T = TypeVar("T")

PATIENCE = timedelta(hours=1)
"""How long a process waits for the slowest: a step's rewards, or the prompts' first encoding."""


@dataclass(frozen=True)
class World:
    """This process among those of the run; alone, every method is the identity.

    All processes must call a method together.

    Attributes:
        rank: place of this process, from 0.
        size: how many there are.
        device: where collectives take tensors from.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def main(self) -> bool:
        """Whether this is the process that writes the run directory."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """This process's places out of ``count``: as many in every process, so the last may lie at ``count`` and on."""
        each = -(-count // self.size)
        return range(self.rank * each, (self.rank + 1) * each)

    def gather(self, tensor: Tensor) -> Tensor:
        """All processes' rows [size x N, ...] of tensors [N, ...] of one shape, by rank; on the tensor's device."""
        if self.size == 1:
            return tensor
        here = tensor.to(self.device).contiguous()
        parts = [torch.empty_like(here) for _ in range(self.size)]
        dist.all_gather(parts, here)
        return torch.cat(parts).to(tensor.device)

    def gather_values(self, value: T) -> list[T]:
        """All processes' values, by rank; each one that JSON can hold."""
        if self.size == 1:
            return [value]
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        lengths = self.gather(torch.tensor([len(text)])).tolist()
        padded = torch.nn.functional.pad(text, (0, max(lengths) - len(text)))
        texts = self.gather(padded[None])
        return [json.loads(bytes(row[:length].tolist())) for row, length in zip(texts, lengths, strict=True)]

    def agree(self, value: T) -> T:
        """The value of the main process."""
        return self.gather_values(value)[0]

    def bring(self, tensor: Tensor, owner: int) -> Tensor:
        """The tensor of process ``owner``, for the main process; the others get their own, which has its shape."""
        if self.size == 1 or owner == 0:
            return tensor
        if self.rank == owner:
            dist.send(tensor.to(self.device).contiguous(), 0)
        if not self.main:
            return tensor
        received = torch.empty_like(tensor, device=self.device)
        dist.recv(received, owner)
        return received.to(tensor.device)

    def sum_gradients(self, parameters: Sequence[Parameter]) -> None:
        """Give every process the sum of all processes' gradients; FSDP has added up those of spread parameters."""
        if self.size == 1:
            return
        kept = [parameter for parameter in parameters if not is_sharded(parameter)]
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in kept]
        if not gradients:
            return
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for parameter, total in zip(kept, flat.split([one.numel() for one in gradients]), strict=True):
            parameter.grad = total.view_as(parameter)

    def mesh(self) -> DeviceMesh:
        """All processes in a row, for FSDP."""
        from torch.distributed.device_mesh import init_device_mesh

        return init_device_mesh(self.device.type, (self.size,))

    def barrier(self) -> None:
        """Wait for the others."""
        self.gather_values(0)


@contextmanager
def joined() -> Iterator[World]:
    """The processes that ``torchrun`` started, over NCCL if each has a GPU and Gloo otherwise; else this one alone.

    Where this process is in a group already, as those of Ray Train are, that is taken and left as it is.

    Raises:
        ValueError: this torch cannot talk to other processes, or a machine has more processes than GPUs.
    """
    if dist.is_available() and dist.is_initialized():
        yield _group()
    elif dist.is_available() and dist.is_torchelastic_launched():
        _join()
        yield _group()
        dist.destroy_process_group()
    else:
        yield World()


def _join() -> None:
    place, backend = int(os.environ["LOCAL_RANK"]), "gloo"
    if torch.cuda.is_available():
        if place >= torch.cuda.device_count():
            raise ValueError(
                f"torchrun started process {place} of this machine, which has {torch.cuda.device_count()} GPUs; start "
                "as many with --nproc-per-node"
            )
        torch.cuda.set_device(place)
        backend = "nccl"
    dist.init_process_group(backend, timeout=PATIENCE)


def _group() -> World:
    rank, device = dist.get_rank(), torch.device("cpu")
    if dist.get_backend() == "nccl":
        device = torch.device("cuda", torch.cuda.current_device())
    if rank:
        logging.getLogger("worldr1").setLevel(logging.WARNING)
    return World(rank, dist.get_world_size(), device)
