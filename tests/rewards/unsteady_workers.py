"""Workers that live in memory and in simulated time, and go wrong as they are told or at random."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import torch

from worldr1.rewards.pool.messages import Answered, Died, Event, Failed, Ready, Request
from worldr1.rewards.types import Composer

FAULTS = (
    "killed",
    "killed while idle",
    "killed at start",
    "frozen",
    "late",
    "twice",
    "out of order",
    "raises",
    "too few",
    "other names",
    "nan",
)
START, WORK = 5.0, 1.0


class UnsteadyWorkers:
    """Start takes 5 seconds and a batch 1; nothing waits in real time.

    Args:
        composer: gives the true scores.
        plan: the faults of the batches sent, in order; None is none.
        start_faults: likewise of the workers started.
        silence: how much later than they should answers come that are late.
    """

    def __init__(
        self,
        composer: Composer,
        plan: Iterator[str | None],
        start_faults: Iterator[str | None],
        silence: float = 50.0,
    ) -> None:
        self.now = 0.0
        self.met: Counter[str] = Counter()
        self.sent: list[tuple[int, int]] = []
        self.most_held = 0
        self.alive: dict[int, bool] = {}
        """Worker to whether it speaks: a frozen one does not."""
        self._composer = composer
        self._plan, self._start_faults, self._silence = plan, start_faults, silence
        self._coming: list[tuple[float, int, Event]] = []
        self._order = itertools.count()
        self._ready_at: dict[int, float] = {}
        self._free_at: dict[int, float] = {}
        self._held: dict[int, set[int]] = {}
        self._dead: dict[int, str] = {}
        self._silenced: set[int] = set()

    def clock(self) -> float:
        return self.now

    def start(self) -> int:
        worker = len(self._free_at) + 1
        self.alive[worker], self._held[worker] = True, set()
        self._ready_at[worker] = self._free_at[worker] = self.now + START
        fault = self._fault(next(self._start_faults, None))
        if fault == "frozen at start":
            self.alive[worker] = False
        elif fault:
            self._say(self.now + 1.0, Died(worker, "its models are missing"))
        else:
            self._say(self.now + START, Ready(worker))
        return worker

    def greet(self, worker: int) -> None:
        if worker in self._dead:
            self._say(self.now, Died(worker, self._dead[worker]))
        elif self.alive[worker]:
            self._say(max(self.now, self._ready_at[worker]), Ready(worker))

    def send(self, worker: int, request: Request) -> None:
        assert worker in self.alive, "sent to a worker that was stopped"
        self.sent.append((worker, request.id))
        self._held[worker].add(request.id)
        self.most_held = max(self.most_held, len(self._held[worker]))
        fault = next(self._plan, None)
        if fault == "nan" and request.id in self._silenced:
            fault = None  # the second time it would be believed
        self._fault(fault)
        if not self.alive[worker]:
            return
        begin = max(self.now, self._free_at[worker])
        end = self._free_at[worker] = begin + WORK
        scores = self._composer(request.samples, request.use_3d).components
        answer = Answered(worker, request.id, scores)
        if fault == "killed":
            self._say(begin + WORK / 2, Died(worker, "killed"))
            self.alive[worker] = False
        elif fault == "frozen":
            self.alive[worker] = False
        elif fault == "raises":
            self._say(end, Failed(worker, request.id, "out of memory"))
        elif fault == "too few":
            self._say(end, Answered(worker, request.id, {name: part[1:] for name, part in scores.items()}))
        elif fault == "other names":
            self._say(end, Answered(worker, request.id, {f"not {name}": part for name, part in scores.items()}))
        elif fault == "nan":
            self._silenced.add(request.id)
            self._say(end, Answered(worker, request.id, {n: torch.full_like(v, torch.nan) for n, v in scores.items()}))
        else:
            delay = {"late": self._silence, "out of order": 1.5 * WORK}.get(fault or "", 0.0)
            for _ in range(2 if fault == "twice" else 1):
                self._say(end + delay, answer)

    def stop(self, worker: int) -> None:
        del self.alive[worker]

    def kill_idle(self, worker: int) -> None:
        """Kill a worker between two steps: it tells when it is greeted."""
        self._dead[worker] = "killed while idle"
        self.met["killed while idle"] += 1

    def poll(self, seconds: float) -> Sequence[Event]:
        assert seconds < float("inf")
        if not self._coming or self._coming[0][0] > self.now + seconds:
            self.now += seconds
            return []
        self.now, _, event = heapq.heappop(self._coming)
        if isinstance(event, Answered | Failed):
            self._held[event.worker].discard(event.request)
        return [event]

    def _say(self, when: float, event: Event) -> None:
        heapq.heappush(self._coming, (when, next(self._order), event))

    def _fault(self, fault: str | None) -> str | None:
        if fault is not None:
            self.met[fault] += 1
        return fault


def at_random(rng: random.Random, faults: Sequence[str], share: float) -> Iterator[str | None]:
    """Endless faults, the given share of all."""
    while True:
        yield rng.choice(faults) if rng.random() < share else None


def equal(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Whether two sets of scores are the same bit for bit, in the same order, nan for nan."""
    return list(one) == list(other) and all(
        torch.equal(one[name].view(torch.int32), other[name].view(torch.int32)) for name in one
    )
