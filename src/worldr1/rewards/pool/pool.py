"""The whole reward from workers, in the place of a composer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from worldr1.rewards.pool.dispatcher import Dispatcher
from worldr1.rewards.pool.scoring import PoolScoring
from worldr1.rewards.types import Sample, Scores


@dataclass(frozen=True, eq=False)
class Group:
    """Workers of one kind.

    Attributes:
        components: what they score, and whether it needs a reconstruction.
        dispatcher: the way to them.
    """

    components: Mapping[str, bool]
    dispatcher: Dispatcher


class RewardPool:
    """Scores samples by groups of workers at the same time, with the interface of `RewardComposer`.

    Scores are those of `InBatches(composer, batch)`, bit for bit, where a worker computes as this process does. What
    no worker could score is nan.

    Args:
        groups: workers; each component belongs to one group.
        weights: one for each component, in the order in which the total adds them up.
        batch: videos of a request.

    Raises:
        ValueError: the groups' components are not those that have weights.
    """

    def __init__(self, groups: Sequence[Group], weights: Mapping[str, float], batch: int) -> None:
        names = [name for group in groups for name in group.components]
        if sorted(names) != sorted(weights):
            raise ValueError(f"the groups of a pool score {sorted(names)}, and weights are given for {sorted(weights)}")
        self._groups = tuple(groups)
        self._weights = dict(weights)
        self._batch = batch
        self._ids = itertools.count()

    def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
        """Score B samples in their order; raises and ends as `begin`."""
        with self.begin(use_3d) as scoring:
            return scoring.finish(samples)

    @contextmanager
    def begin(self, use_3d: bool = True) -> Iterator[PoolScoring]:
        """Score videos while others are still being made. When this is cut off, all workers end for good.

        Scores are those of one call with all videos, bit for bit, in whatever parts they come.

        Raises:
            ValueError: use_3d=False leaves nothing to score.
            ChildProcessError: workers cannot be started.
        """
        asked = [
            (group.dispatcher, tuple(name for name, needs_3d in group.components.items() if use_3d or not needs_3d))
            for group in self._groups
        ]
        active = [(dispatcher, names) for dispatcher, names in asked if names]
        if not active:
            raise ValueError("use_3d=False leaves no reward: every one needs a reconstruction. Add a general reward.")
        with ThreadPoolExecutor(len(active)) as threads:
            scoring = PoolScoring(active, self._weights, self._batch, self._ids, use_3d, threads)
            try:
                yield scoring
            except BaseException:
                for dispatcher, _ in active:
                    dispatcher.cancel()
                raise
            finally:
                scoring.close()

    def close(self) -> None:
        """End all workers."""
        for group in self._groups:
            group.dispatcher.close()
