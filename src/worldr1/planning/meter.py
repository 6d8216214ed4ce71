"""Run a network on the meta device, in full size and without memory, and read off its work and its peak of memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Reading:
    """What a computation took: `flops` (a multiply and an add are two) and `peak`, bytes beyond those before it."""

    flops: float
    peak: float

    def extrapolated(self, longer: Reading, extra: float) -> Reading:
        """A reading that grows by `extra` times the difference between a `longer` one and this one."""
        return Reading(
            self.flops + extra * (longer.flops - self.flops), self.peak + extra * max(0.0, longer.peak - self.peak)
        )


def measure(compute: Callable[[], Any]) -> Reading:
    """Run `compute`, whose tensors are on the meta device, and read its work and peak.

    Attention counts as a fused kernel's: it keeps its inputs, its output and nothing of the size of length squared, and
    its backward recomputes the product (Dao et al. 2022: 2.5 times the forward's work).
    """
    fused, ledger = _FusedAttention(), _Ledger()
    with torch.device("meta"), ledger, fused.installed():
        compute()
    return Reading(ledger.flops + fused.flops, ledger.peak)


class _Ledger(TorchDispatchMode):
    """Work of the operations; bytes of the storages that they made and that are still alive, and their maximum.

    torch's own `FlopCounterMode` would keep recomputed activations alive through its hooks on modules.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0.0
        self.live = 0
        self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        before = {_key(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=result)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and _key(leaf) not in before:
                self._watch(leaf.untyped_storage())
        return result

    def _watch(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


class _FusedAttention:
    """Stands in for attention while it is entered: only shapes, and its work is counted.

    A function mode would not do, as none is active while the backward pass recomputes a checkpoint.
    """

    def __init__(self) -> None:
        self.flops = 0.0

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        output: Tensor = _Shapes.apply(query, key, value, self)
        return output

    @contextmanager
    def installed(self) -> Iterator[None]:
        own = functional.scaled_dot_product_attention
        functional.scaled_dot_product_attention = self  # type: ignore[assignment]
        try:
            yield
        finally:
            functional.scaled_dot_product_attention = own  # type: ignore[assignment]


class _Shapes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, counter: _FusedAttention) -> Tensor:
        output = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, output)
        ctx.counter = counter
        counter.flops += _work(query, key, value)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        query, key, value, _ = ctx.saved_tensors
        ctx.counter.flops += 2.5 * _work(query, key, value)
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value), None


def _work(query: Tensor, key: Tensor, value: Tensor) -> float:
    rows = query.numel() // query.shape[-1]
    return 2.0 * rows * key.shape[-2] * (key.shape[-1] + value.shape[-1])


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
