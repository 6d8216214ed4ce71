"""Slow copies of a policy's trainable parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from worldr1.policy.base import Policy
from worldr1.policy.sharding import fill, local
from worldr1.policy.swap import swapped

Decay = Callable[[int], float]


def warm_decay(limit: float) -> Decay:
    """min(limit, (1 + n) / (10 + n)) after n updates: follows closely at first, slowly later."""
    return lambda n: min(limit, (1 + n) / (10 + n))


def linear_decay(rate: float, limit: float) -> Decay:
    """min(limit, rate n) after n updates, as for the old policy of DiffusionNFT (arXiv 2509.16117)."""
    return lambda n: min(limit, rate * n)


class Ema:
    """Exponential moving average, in fp32, of a policy's trainable parameters; starts as their copy.

    ``with ema.applied(policy):`` runs the policy with the averaged weights.

    Args:
        policy: whose parameters to follow.
        decay: of the n-th update (n from 0): average = decay average + (1 - decay) parameters.
    """

    def __init__(self, policy: Policy, decay: Decay) -> None:
        self._decay = decay
        self._updates = 0
        self._names = tuple(policy.state_dict())
        self._average = [parameter.detach().float().clone() for parameter in policy.trainable_parameters()]

    @torch.no_grad()
    def update(self, policy: Policy) -> None:
        """Move the average towards the policy's present weights."""
        weight = 1.0 - self._decay(self._updates)
        for average, parameter in zip(self._average, policy.trainable_parameters(), strict=True):
            local(average).lerp_(local(parameter).detach().float(), weight)
        self._updates += 1

    def applied(self, policy: Policy) -> AbstractContextManager[None]:
        """Inside it ``policy`` runs with the averaged weights; use it without gradients."""
        return swapped(policy.trainable_parameters(), self._average)

    def state_dict(self) -> dict[str, Tensor | int]:
        """``updates`` and one tensor per parameter name."""
        return {"updates": self._updates, **dict(zip(self._names, self._average, strict=True))}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor | int]) -> None:
        """Put back what :meth:`state_dict` gave.

        Raises:
            ValueError: if the names differ.
        """
        if state.keys() != {"updates", *self._names}:
            different = sorted(state.keys() ^ {"updates", *self._names})
            raise ValueError(
                f"the state does not fit this average: {len(different)} names differ, first {different[0]!r}"
            )
        self._updates = int(state["updates"])
        for name, average in zip(self._names, self._average, strict=True):
            fill(average, torch.as_tensor(state[name]))
