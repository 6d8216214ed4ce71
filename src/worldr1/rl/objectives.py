"""The interface of reinforcement-learning objectives: how they sample and what they minimise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, TypeVar

from torch import Tensor

from worldr1.policy.base import Conditioning, Policy
from worldr1.rl.draws import Draws
from worldr1.sampling.rollout import Rollout, chunks

T = TypeVar("T")


@dataclass(frozen=True)
class LossTerm:
    """One micro-step of an update.

    Attributes:
        loss: scalar with a graph. The losses of all terms of an update add up to the update's loss: call backward on
            each, before asking for the next one.
        statistics: plain numbers, averages over the term's samples.
        weight: number of samples behind them.
        end_of_update: step the optimizer after this term's backward.
    """

    loss: Tensor
    statistics: Mapping[str, float]
    weight: int
    end_of_update: bool


class Objective(Protocol):
    """One way to learn from scored samples.

    Per training step the trainer calls :meth:`collect`, scores the latents, calls :meth:`losses` (backward on every
    term, an optimizer step where ``end_of_update`` says so) and :meth:`after_step`.
    """

    def collect(self, policy: Policy, conditioning: Conditioning, noise: Tensor, draws: Draws, step: int) -> Rollout:
        """Sample one video per row of ``noise`` [B, C, T, H, W]; ``step`` is the training step.

        A sample depends on its own row and ``draws.members`` alone: the trainer may call this for the B samples at
        once, or for one micro-batch after another.
        """
        ...

    def losses(
        self,
        policy: Policy,
        rollout: Rollout,
        conditioning: Conditioning,
        advantages: Tensor,
        draws: Draws,
    ) -> Iterator[LossTerm]:
        """The terms to minimise, lazily, so that one graph lives at a time.

        Advantages are those of the whole batch, of which the B samples of the rollout are rows ``draws.first`` and on;
        every process holds as many. Samples whose advantage is nan contribute nothing; if all are nan there are no
        terms. The losses of all processes add up to the whole batch's, and each yields as many terms as the others.
        """
        ...

    def after_step(self, policy: Policy) -> None:
        """Called once at the end of every training step, updates or none."""
        ...

    def state_dict(self) -> dict[str, Tensor | int]:
        """What a resumed run needs."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor | int]) -> None:
        """Put back what :meth:`state_dict` gave."""
        ...


def summarise(terms: Sequence[tuple[Mapping[str, float], int]]) -> dict[str, float]:
    """Many terms' (statistics, weight) in one: weighted means, but names in ``_min`` and ``_max`` by min and max."""
    summary: dict[str, float] = {}
    for name in dict.fromkeys(name for statistics, _ in terms for name in statistics):
        values = [(statistics[name], weight) for statistics, weight in terms if name in statistics]
        if name.endswith("_min"):
            summary[name] = min(value for value, _ in values)
        elif name.endswith("_max"):
            summary[name] = max(value for value, _ in values)
        else:
            summary[name] = sum(value * weight for value, weight in values) / sum(weight for _, weight in values)
    return summary


def valid_by_process(advantages: Tensor, here: int) -> Tensor:
    """Which samples have an advantage: [processes, here] bool on the CPU, of a batch spread evenly over processes."""
    return advantages.isfinite().cpu().reshape(-1, here)


def valid_chunks(valid: Tensor, micro_batch: int | None) -> list[slice]:
    """The chunks of a process's samples in which, in any process, a sample has an advantage (``valid_by_process``).

    Chunks are those of the rollout, never thinned out, so that the network sees the very batches it sampled with; and
    they are the same ones in every process, so that a network whose weights are spread over them runs everywhere.
    """
    anywhere = valid.any(0)
    return [part for part in chunks(len(anywhere), micro_batch) if bool(anywhere[part].any())]


def split_evenly(items: Sequence[T], parts: int) -> list[Sequence[T]]:
    """Cut ``items``, in order, into ``parts`` runs whose lengths differ by at most one; empty runs are left out."""
    bounds = [len(items) * part // parts for part in range(parts + 1)]
    return [items[start:end] for start, end in pairwise(bounds) if end > start]
