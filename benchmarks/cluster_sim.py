"""One training step on a cluster as discrete events: policy ranks make videos, reward workers score batches of them.

Workers behave as those of `worldr1.rewards.pool`: each holds a few batches and scores them one after another; what a
dead one held goes to others, and only the batch that it was scoring counts an attempt.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]


@dataclass(frozen=True)
class Pool:
    """Workers that one process feeds.

    Attributes:
        workers: their number.
        in_flight: batches that each holds at most.
        attempts: how often a batch is tried.
        dispatch: seconds of the feeding process for a batch, one after another.
        transfer: seconds of its network for a batch, one after another.
        death: chance that a worker dies while it scores a batch.
        restart: seconds from a death until another worker has taken the place.
    """

    workers: int
    in_flight: int = 2
    attempts: int = 3
    dispatch: float = 0.0
    transfer: float = 0.0
    death: float = 0.0
    restart: float = 0.0


@dataclass(frozen=True)
class Served:
    """N batches: when each was scored [N] (nan: given up), when all had ended, worker-seconds of scores, and deaths."""

    scored: Times
    end: float
    busy: float
    deaths: int


@dataclass(frozen=True)
class Step:
    """A step.

    Attributes:
        videos: their number.
        ranks: processes of the policy, which take turns at the videos.
        sample, score, update: seconds of one video: made by a rank, scored by a worker, trained on by a rank.
        batch: videos scored at once.
        pool: the workers of all; None scores in the ranks themselves.
        pools: how many processes feed workers; each has its share of them, and its own network.
        overlap: whether a batch leaves when it is made, or when all videos are.
        jitter: relative spread of each of these times.
    """

    videos: int
    ranks: int
    sample: float
    score: float
    update: float
    batch: int = 1
    pool: Pool | None = None
    pools: int = 1
    overlap: bool = True
    jitter: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """Seconds of a step and its parts: until the last video is made, from then to the last score, and to the end;
    `idle`: share of the ranks' time in which they wait; `workers_busy`: share of the workers' time; `given_up`: batches
    without scores."""

    seconds: float
    sampling: float
    waiting: float
    updating: float
    idle: float
    workers_busy: float
    deaths: int
    given_up: int


def simulate_step(step: Step, seed: int = 0) -> Outcome:
    """Run a step once; equal seeds give equal steps.

    Raises:
        ValueError: there are fewer videos than ranks, or fewer workers than pools.
    """
    if step.videos < step.ranks or step.pools > step.ranks or (step.pool and step.pool.workers < step.pools):
        raise ValueError("a step needs a video for each rank, and each pool a rank and a worker")
    rng = np.random.default_rng(seed)
    shares = np.array_split(np.arange(step.videos), step.ranks)
    sample, score, update = (
        _jittered(s, step.videos, step.jitter, rng) for s in (step.sample, step.score, step.update)
    )
    made = np.concatenate([np.cumsum(sample[share]) for share in shares])
    updates = [float(update[share].sum()) for share in shares]
    sampled = float(made.max())
    if step.pool is None:
        rewarded = max(float((sample + score)[share].sum()) for share in shares)
        served, worked = [], float(score.sum())
    else:
        served = [_serve(step, step.pool, shares, made, score, part, rng) for part in range(step.pools)]
        rewarded, worked = max(sampled, *(part.end for part in served)), 0.0
    end, workers = rewarded + max(updates), step.pool.workers if step.pool else 0
    return Outcome(
        seconds=end,
        sampling=sampled,
        waiting=rewarded - sampled,
        updating=end - rewarded,
        idle=1 - (float(sample.sum()) + worked + sum(updates)) / (step.ranks * end),
        workers_busy=sum(part.busy for part in served) / (workers * end) if workers else 0.0,
        deaths=sum(part.deaths for part in served),
        given_up=sum(int(np.isnan(part.scored).sum()) for part in served),
    )


def _serve(
    step: Step,
    pool: Pool,
    shares: list[NDArray[np.int64]],
    made: Times,
    score: Times,
    part: int,
    rng: np.random.Generator,
) -> Served:
    """The videos of one pool's ranks, in the order in which they were made, through its share of the workers."""
    videos = np.concatenate(shares[part :: step.pools])
    videos = videos[np.argsort(made[videos], kind="stable")]
    starts = np.arange(0, len(videos), step.batch)
    last = np.minimum(starts + step.batch, len(videos)) - 1
    ready = made[videos][last] if step.overlap else np.full(len(starts), made[videos].max())
    workers = len(range(part, pool.workers, step.pools))
    own = replace(pool, workers=workers)
    return Service(ready, np.add.reduceat(score[videos], starts), own, rng).run()


def _jittered(mean: float, count: int, spread: float, rng: np.random.Generator) -> Times:
    """Lognormal times with this mean."""
    return mean * np.exp(spread * rng.standard_normal(count) - spread**2 / 2)


class Service:
    """Batches that are ready at these times [N] and take so long [N], through the workers of one process."""

    def __init__(self, ready: Times, seconds: Times, pool: Pool, rng: np.random.Generator) -> None:
        self._seconds, self._pool, self._rng = seconds, pool, rng
        self._events: list[tuple[float, int, Callable[..., None], tuple[int, ...]]] = []
        self._order = itertools.count()
        self._waiting: deque[int] = deque()
        self._held: list[deque[int]] = [deque() for _ in range(pool.workers)]
        self._arrived = [0] * pool.workers
        self._free = [{*range(pool.workers)}] + [set[int]() for _ in range(pool.in_flight)]
        self._lives = [0] * pool.workers
        self._running = [False] * pool.workers
        self._tries = [0] * len(ready)
        self._scored = np.full(len(ready), np.nan)
        self._feeder = self._network = self._end = self._busy = 0.0
        self._deaths = 0
        for batch, when in enumerate(ready.tolist()):
            self._at(when, self._came, batch)

    def run(self) -> Served:
        """Until nothing more happens."""
        while self._events:
            now, _, happen, which = heapq.heappop(self._events)
            happen(now, *which)
            while self._waiting and self._hand_out(now):
                pass
        return Served(self._scored, self._end, self._busy, self._deaths)

    def _at(self, when: float, happen: Callable[..., None], *which: int) -> None:
        heapq.heappush(self._events, (when, next(self._order), happen, which))

    def _came(self, _: float, batch: int) -> None:
        self._waiting.append(batch)

    def _hand_out(self, now: float) -> bool:
        """Give the next batch to a worker that holds fewest; False where none has room."""
        place = next((place for place in self._free[:-1] if place), None)
        if place is None:
            return False
        worker, batch = next(iter(place)), self._waiting.popleft()
        self._hold(worker, batch)
        self._feeder = max(now, self._feeder) + self._pool.dispatch
        self._network = max(self._feeder, self._network) + self._pool.transfer
        self._at(self._network, self._arrive, worker, self._lives[worker])
        return True

    def _hold(self, worker: int, batch: int) -> None:
        self._free[len(self._held[worker])].discard(worker)
        self._held[worker].append(batch)
        self._free[len(self._held[worker])].add(worker)

    def _arrive(self, now: float, worker: int, life: int) -> None:
        if life == self._lives[worker]:
            self._arrived[worker] += 1
            self._start(now, worker)

    def _start(self, now: float, worker: int) -> None:
        if self._running[worker] or not self._arrived[worker]:
            return
        self._running[worker] = True
        takes = float(self._seconds[self._held[worker][0]])
        if self._rng.random() < self._pool.death:
            self._at(now + takes * self._rng.random(), self._die, worker)
        else:
            self._at(now + takes, self._finish, worker)

    def _finish(self, now: float, worker: int) -> None:
        self._free[len(self._held[worker])].discard(worker)
        batch = self._held[worker].popleft()
        self._free[len(self._held[worker])].add(worker)
        self._scored[batch] = self._end = now
        self._busy += float(self._seconds[batch])
        self._arrived[worker] -= 1
        self._running[worker] = False
        self._start(now, worker)

    def _die(self, now: float, worker: int) -> None:
        self._deaths += 1
        self._lives[worker] += 1
        self._free[len(self._held[worker])].discard(worker)
        scoring, *behind = self._held[worker]
        self._held[worker].clear()
        self._arrived[worker], self._running[worker] = 0, False
        self._waiting.extendleft(reversed(behind))
        self._tries[scoring] += 1
        if self._tries[scoring] < self._pool.attempts:
            self._waiting.appendleft(scoring)
        else:
            self._end = now
        self._at(now + self._pool.restart, self._back, worker)

    def _back(self, _: float, worker: int) -> None:
        self._free[0].add(worker)
