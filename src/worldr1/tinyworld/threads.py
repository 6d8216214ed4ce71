"""Data-parallel gradients on one CPU: a replica of the model for every core, each computing on one thread.

Small layers do not fill two cores: on two cores two replicas of the autoencoder train on about 1.6
times the frames per second of one model on two threads.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn


@contextmanager
def one_thread_each(workers: int) -> Iterator[None]:
    """Inside, PyTorch computes on one thread per caller when there are several `workers`; restored after."""
    threads = torch.get_num_threads()
    if workers > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


M = TypeVar("M", bound=nn.Module)
S = TypeVar("S")


class Replicas(Generic[M]):
    """`count` models with the same weights; the first is the given one, whose parameters the optimiser changes.

    Use as a context manager: inside it PyTorch computes on one thread per replica.
    """

    def __init__(self, model: M, count: int) -> None:
        self.models = [model] + [copy.deepcopy(model) for _ in range(count - 1)]
        self._parameters: list[list[Tensor]] = [list(m.parameters()) for m in self.models]
        self._pool = ThreadPoolExecutor(count)

    @contextmanager
    def running(self) -> Iterator[None]:
        """One thread for each replica inside; PyTorch's number of threads is restored after."""
        with one_thread_each(len(self.models)), self._pool:
            yield

    def gradients(self, loss: Callable[[M, S], Tensor], shards: Sequence[S], one_by_one: bool = False) -> list[float]:
        """Leave the mean gradient of `loss(model, shard)` over one shard per replica in the first model's `.grad`.

        Args:
            one_by_one: in turn instead of side by side: while `torch.compile`, which knows one thread only, is at work.

        Returns:
            The loss of every shard.
        """

        def run(index: int) -> float:
            for parameter in self._parameters[index]:
                parameter.grad = None
            value = loss(self.models[index], shards[index])
            value.backward()
            return float(value.detach())

        if len(shards) != len(self.models):
            raise ValueError(f"{len(shards)} shards for {len(self.models)} replicas: give one to each")
        alone = one_by_one or len(shards) == 1
        values = list(map(run, range(len(shards))) if alone else self._pool.map(run, range(len(shards))))
        for others in zip(*self._parameters, strict=True):
            gradients = [p.grad for p in others if p.grad is not None]
            if len(gradients) > 1:
                for other in gradients[1:]:
                    gradients[0].add_(other)
                gradients[0].div_(len(others))
        return values

    @torch.no_grad()
    def spread(self) -> None:
        """Copy the first model's parameters to the others: after every optimiser step."""
        for others in self._parameters[1:]:
            torch._foreach_copy_(others, self._parameters[0])
