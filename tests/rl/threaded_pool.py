"""A reward pool whose workers are threads, so that tests can hold them up and let them go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

import torch

from worldr1.rewards.compose import weighted_sum
from worldr1.rewards.pool.dispatcher import Dispatcher, Limits
from worldr1.rewards.pool.messages import Answered, Died, Event, Failed, Ready, Request
from worldr1.rewards.pool.pool import Group, RewardPool
from worldr1.rewards.types import Composer, Sample, Scores

WEIGHTS = {"recon": 1.5, "general": 0.3}


class Shades:
    """Scores by brightness, float32 as a pool's; recon fails for videos whose first pixel is dark."""

    def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
        video = torch.stack([sample.video for sample in samples])
        general = video.mean((1, 2, 3, 4))
        if not use_3d:
            return weighted_sum({"general": general}, WEIGHTS)
        recon = torch.where(video[:, 0, 0, 0, 0] < 0.2, torch.nan, video[:, :, 0].mean((1, 2, 3)))
        return weighted_sum({"recon": recon, "general": general}, WEIGHTS)


class ThreadWorkers:
    """Each worker is a thread; a ValueError of the composer is a failed request."""

    def __init__(self, composer: Composer, starts: bool = True) -> None:
        self.alive: set[int] = set()
        self._composer, self._starts = composer, starts
        self._inboxes: dict[int, SimpleQueue[Request | None]] = {}
        self._said: SimpleQueue[Event] = SimpleQueue()

    def start(self) -> int:
        number = len(self._inboxes) + 1
        self._inboxes[number] = SimpleQueue()
        self.alive.add(number)
        threading.Thread(target=self._work, args=(number,), daemon=True).start()
        self._said.put(Ready(number) if self._starts else Died(number, "its models are missing"))
        return number

    def greet(self, worker: int) -> None:
        self._said.put(Ready(worker))

    def send(self, worker: int, request: Request) -> None:
        self._inboxes[worker].put(request)

    def stop(self, worker: int) -> None:
        self.alive.remove(worker)
        self._inboxes[worker].put(None)

    def poll(self, seconds: float) -> Sequence[Event]:
        try:
            return [self._said.get(timeout=seconds)]
        except Empty:
            return []

    def _work(self, number: int) -> None:
        while (request := self._inboxes[number].get()) is not None:
            try:
                scores = self._composer(request.samples, request.use_3d)
            except ValueError as error:
                self._said.put(Failed(number, request.id, str(error)))
            else:
                self._said.put(Answered(number, request.id, scores.components))


class Watched:
    """A composer that calls `before` with the number of batches that came before, and `after` when it is scored."""

    def __init__(self, before: Callable[[int], None], after: Callable[[int], None] = lambda number: None) -> None:
        self._before, self._after, self._count = before, after, 0

    def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
        number, self._count = self._count, self._count + 1
        self._before(number)
        scores = Shades()(samples, use_3d)
        self._after(number)
        return scores


def threaded_pool(workers: ThreadWorkers, batch: int, attempts: int = 3) -> RewardPool:
    """One worker that scores all."""
    dispatcher = Dispatcher(workers, Limits(attempts=attempts))
    return RewardPool([Group({"recon": True, "general": False}, dispatcher)], WEIGHTS, batch)
