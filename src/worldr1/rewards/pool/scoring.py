"""Videos that workers score while others are still being made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, as_completed
from dataclasses import dataclass, field
from queue import SimpleQueue

import torch
from torch import Tensor

from worldr1.rewards.compose import weighted_sum
from worldr1.rewards.pool.dispatcher import Dispatcher, Feed
from worldr1.rewards.pool.messages import Request
from worldr1.rewards.types import Sample, Scores


@dataclass(frozen=True, eq=False)
class _Group:
    """What a group of workers was asked: `names`, for `requests` (ids), which `feed` brings to the dispatcher's run."""

    dispatcher: Dispatcher
    names: tuple[str, ...]
    feed: Feed
    run: Future[dict[int, Mapping[str, Tensor] | None]]
    requests: list[int] = field(default_factory=list)


class PoolScoring:
    """One step's videos on their way through groups of workers; requests hold the same videos however they come.

    Args:
        asked: dispatchers with the components that each answers for.
        weights: of all components, in the order in which the total adds them up.
        batch: videos of a request; the last may have fewer.
        ids: names for the requests.
        use_3d: as `RewardComposer` takes it.
        threads: where the dispatchers run, one each.
    """

    def __init__(
        self,
        asked: Sequence[tuple[Dispatcher, tuple[str, ...]]],
        weights: Mapping[str, float],
        batch: int,
        ids: Iterator[int],
        use_3d: bool,
        threads: Executor,
    ) -> None:
        self._weights, self._batch, self._ids, self._use_3d = weights, batch, ids, use_3d
        self._sizes: list[int] = []
        self._waiting: list[Sample] = []
        self._groups = []
        for dispatcher, names in asked:
            feed: Feed = SimpleQueue()
            self._groups.append(_Group(dispatcher, names, feed, threads.submit(dispatcher.run, feed)))

    @property
    def seconds(self) -> float:
        """How long workers had something to score, once all is scored: those of the group that took longest."""
        return max(group.dispatcher.busy for group in self._groups)

    def add(self, samples: Sequence[Sample]) -> None:
        """Give the next videos to the workers, as far as they fill requests; raises what has ended a group's work."""
        for group in self._groups:
            if group.run.done():
                group.run.result()
        self._deliver(samples, last=False)

    def finish(self, samples: Sequence[Sample] = ()) -> Scores:
        """Give the last videos and wait for the scores of all, in their order; nan where a score is missing.

        Raises:
            ChildProcessError: workers cannot be started.
        """
        self._deliver(samples, last=True)
        for run in as_completed(group.run for group in self._groups):
            run.result()
        found = {name: values for group in self._groups for name, values in self._scores(group).items()}
        return weighted_sum({name: found[name] for name in self._weights if name in found}, self._weights)

    def close(self) -> None:
        """No more videos come: the dispatchers end when all that they have is scored."""
        for group in self._groups:
            group.feed.put(([], True))

    def _deliver(self, samples: Sequence[Sample], last: bool) -> None:
        self._waiting += samples
        whole = len(self._waiting) if last else len(self._waiting) // self._batch * self._batch
        batches = [self._waiting[start : start + self._batch] for start in range(0, whole, self._batch)]
        del self._waiting[:whole]
        self._sizes += [len(batch) for batch in batches]
        for group in self._groups:
            requests = [Request(next(self._ids), batch, self._use_3d, group.names) for batch in batches]
            group.requests.extend(request.id for request in requests)
            group.feed.put((requests, last))

    def _scores(self, group: _Group) -> dict[str, Tensor]:
        answers, start = group.run.result(), 0
        scores = {name: torch.full((sum(self._sizes),), torch.nan) for name in group.names}
        for request, size in zip(group.requests, self._sizes, strict=True):
            for name, values in (answers[request] or {}).items():
                scores[name][start : start + size] = values
            start += size
        return scores
