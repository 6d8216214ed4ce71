"""Batches to workers that may die, freeze, fail, or answer late or twice: each batch ends with one answer, or none."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from torch import Tensor

from worldr1.rewards.pool.messages import Answered, Died, Event, Failed, Ready, Request, Workers

logger = logging.getLogger(__name__)

_FAILURES_IN_A_ROW = 2
"""After so many a worker is replaced: a GPU that has met an error gives nothing but errors."""

_LOOK_UP = 1.0
"""Seconds between two looks whether the run is cancelled."""

_GLANCE = 0.02
"""Seconds between two looks for new requests, while there are others."""

Feed = SimpleQueue[tuple[Sequence[Request], bool]]
"""Requests as they come, and whether they are the last."""


@dataclass(frozen=True)
class Limits:
    """How far a dispatcher goes.

    Attributes:
        workers: at least and at most so many.
        in_flight: requests that a worker holds at most.
        timeout: seconds in which a worker must answer the oldest of them.
        start_timeout: seconds in which a new worker must be ready.
        health_timeout: seconds in which an old one must be, when the next step begins.
        attempts: how often a request is tried.
        idle: seconds without work after which workers beyond the least number end.
    """

    workers: tuple[int, int] = (1, 1)
    in_flight: int = 2
    timeout: float = 600.0
    start_timeout: float = 1800.0
    health_timeout: float = 60.0
    attempts: int = 3
    idle: float = 900.0


@dataclass
class _Worker:
    """What is known of a worker: `heard` is when it last moved on, `patience` how long it may be silent after that."""

    heard: float
    worked: float
    patience: float
    new: bool = True
    ready: bool = False
    failures: int = 0
    load: list[int] = field(default_factory=list)

    @property
    def deadline(self) -> float | None:
        return self.heard + self.patience if self.load or not self.ready else None


class Dispatcher:
    """Gives requests to workers, of which it keeps as many as are needed and allowed.

    A request is with one worker at a time and carries an id; an answer counts only from the worker that holds the
    request. What a lost worker held goes to others. A loss or a failure counts as an attempt of the request that was
    being scored, not of those behind it. So does the first answer that holds nothing but nan, as a broken GPU gives
    it; the next such answer is believed.

    Args:
        workers: the way to them.
        limits: how far to go.
        clock: seconds, rising.

    Attributes:
        told: how often each kind of trouble was met: "died", "frozen", "failed", "malformed" (a wrong number of
            scores, or wrong components), "silent" (nothing but nan), "replaced", "doubled" and "late" (answers that
            were dropped), "given up".
        busy: seconds of the last run in which something was not yet scored.
    """

    def __init__(self, workers: Workers, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.told: Counter[str] = Counter()
        self.busy = 0.0
        self._workers = workers
        self._limits = limits
        self._clock = clock
        self._crew: dict[int, _Worker] = {}
        self._cancelled = False
        self._begin()

    def run(self, feed: Feed) -> dict[int, Mapping[str, Tensor] | None]:
        """Answers by id of the request, until the last that comes; None where every attempt failed.

        Raises:
            ChildProcessError: one new worker after another ends without an answer.
            InterruptedError: the dispatcher was cancelled.
        """
        before = self.told.copy()
        self._begin()
        self._greet()
        self._recruit()
        while self._listen(feed):
            began = self._clock()
            self._recruit()
            self._hand_out()
            for event in self._workers.poll(self._rest()):
                self._hear(event)
            self._dismiss_silent()
            self.busy += self._clock() - began
        self._release_idle()
        if trouble := self.told - before:
            logger.warning("reward workers: %s", ", ".join(f"{count} {kind}" for kind, count in trouble.items()))
        return self._answers

    def cancel(self) -> None:
        """For good: a run in another thread ends within a second, and all workers with it."""
        self._cancelled = True

    def close(self) -> None:
        """End all workers."""
        for number in self._crew:
            self._workers.stop(number)
        self._crew.clear()

    def _begin(self) -> None:
        self._more, self.busy = True, 0.0
        self._requests: dict[int, Request] = {}
        self._waiting: deque[int] = deque()
        self._answers: dict[int, Mapping[str, Tensor] | None] = {}
        self._tries: Counter[int] = Counter()
        self._tried_by: defaultdict[int, set[int]] = defaultdict(set)
        self._doubted: set[int] = set()
        self._useless, self._reason = 0, ""

    def _listen(self, feed: Feed) -> bool:
        """Take the requests that have come, and wait where there is none to work at; False when all are answered."""
        while self._more and not self._cancelled and not (self._requests and feed.empty()):
            with suppress(Empty):
                requests, last = feed.get(timeout=_LOOK_UP)
                self._requests.update((request.id, request) for request in requests)
                self._waiting.extend(request.id for request in requests)
                self._more = not last
        if self._cancelled:
            self.close()
            raise InterruptedError("the reward pool was given up")
        return bool(self._requests)

    def _answer(self, request: int, scores: Mapping[str, Tensor] | None) -> None:
        self._answers[request] = scores
        del self._requests[request]

    def _greet(self) -> None:
        """Ask all that have been ready for a sign of life; those that still begin have their time again."""
        for number, worker in self._crew.items():
            worker.heard = self._clock()
            if worker.ready:
                worker.ready, worker.new, worker.patience = False, False, self._limits.health_timeout
                self._workers.greet(number)

    def _recruit(self) -> None:
        low, high = self._limits.workers
        wanted = min(high, max(low, len(self._requests)))
        while len(self._crew) < wanted and self._useless < self._limits.attempts:
            now = self._clock()
            self._crew[self._workers.start()] = _Worker(now, now, self._limits.start_timeout)
        if not self._crew:
            raise ChildProcessError(f"{self._useless} reward workers in a row ended without an answer: {self._reason}")

    def _hand_out(self) -> None:
        ready = {number for number, worker in self._crew.items() if worker.ready}
        for request in list(self._waiting):
            free = [number for number in ready if len(self._crew[number].load) < self._limits.in_flight]
            if not free:
                return
            fresh = [number for number in free if number not in self._tried_by[request]]
            if not fresh and ready - self._tried_by[request]:
                continue  # until another is free, but not until one has started
            number = min(fresh or free, key=lambda n: (len(self._crew[n].load), n))
            worker, now = self._crew[number], self._clock()
            if not worker.load:
                worker.heard, worker.patience = now, self._limits.timeout
            worker.worked = now
            worker.load.append(request)
            self._waiting.remove(request)
            self._workers.send(number, self._requests[request])

    def _rest(self) -> float:
        """Seconds to the next deadline, or to look for new requests or whether the run is cancelled."""
        deadlines = [worker.deadline for worker in self._crew.values() if worker.deadline is not None]
        return max(0.0, min(_GLANCE if self._more else _LOOK_UP, min(deadlines) - self._clock()))

    def _hear(self, event: Event) -> None:
        worker = self._crew.get(event.worker)
        if isinstance(event, Answered | Failed) and (worker is None or event.request not in worker.load):
            self.told["late" if self._answers.get(event.request) is None else "doubled"] += 1
        elif worker is None:
            return
        elif isinstance(event, Ready):
            worker.ready = True
        elif isinstance(event, Died):
            self._lose(event.worker, "died", event.reason)
        else:
            worker.load.remove(event.request)
            worker.heard = self._clock()
            if isinstance(event, Failed):
                self._fail(event.worker, event.request, "failed", event.reason)
            elif not _fits(event.scores, self._requests[event.request]):
                self._fail(event.worker, event.request, "malformed", "the scores are not those asked for")
            elif _silent(event.scores) and self._doubts(event.request):
                self.told["silent"] += 1
                self._try_again(event.request, event.worker, "every score is nan")
            else:
                worker.failures = self._useless = 0
                self._answer(event.request, event.scores)

    def _doubts(self, request: int) -> bool:
        """Whether an answer without scores is asked for again: the first time, unless no attempt is left."""
        if request in self._doubted or self._tries[request] + 1 == self._limits.attempts:
            return False
        self._doubted.add(request)
        return True

    def _dismiss_silent(self) -> None:
        now = self._clock()
        for number, worker in list(self._crew.items()):
            if worker.deadline is not None and worker.deadline <= now:
                self._lose(number, "frozen", f"silent for {now - worker.heard:.0f} s")

    def _lose(self, number: int, kind: str, reason: str, blame: bool = True) -> None:
        worker = self._crew.pop(number)
        self._workers.stop(number)
        self.told[kind] += 1
        logger.warning("reward worker %d %s: %s", number, kind, reason)
        held = worker.load if not blame else worker.load[1:]
        self._waiting.extendleft(reversed(held))
        if blame and worker.load:
            self._try_again(worker.load[0], number, reason)
        elif worker.new:
            self._useless, self._reason = self._useless + 1, reason

    def _fail(self, number: int, request: int, kind: str, reason: str) -> None:
        self.told[kind] += 1
        self._try_again(request, number, reason)
        self._crew[number].failures += 1
        if self._crew[number].failures == _FAILURES_IN_A_ROW:
            self._lose(number, "replaced", reason, blame=False)

    def _try_again(self, request: int, number: int, reason: str) -> None:
        self._tries[request] += 1
        self._tried_by[request].add(number)
        if self._tries[request] < self._limits.attempts:
            self._waiting.appendleft(request)
            return
        self.told["given up"] += 1
        count = len(self._requests[request].samples)
        self._answer(request, None)
        logger.warning("%d videos have no score after %d attempts: %s", count, self._limits.attempts, reason)

    def _release_idle(self) -> None:
        oldest = sorted(self._crew, key=lambda number: self._crew[number].worked)
        for number in oldest[: max(0, len(oldest) - self._limits.workers[0])]:
            if self._clock() - self._crew[number].worked > self._limits.idle:
                self._workers.stop(number)
                del self._crew[number]


def _fits(scores: Mapping[str, Tensor], request: Request) -> bool:
    shape = (len(request.samples),)
    return scores.keys() == set(request.names) and all(values.shape == shape for values in scores.values())


def _silent(scores: Mapping[str, Tensor]) -> bool:
    return all(bool(values.isnan().all()) for values in scores.values())
