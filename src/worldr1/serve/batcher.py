"""One worker thread that scores waiting videos in batches, first come, first served."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from worldr1.rewards.types import Composer, Sample
from worldr1.serve.metrics import Metrics
from worldr1.serve.sample import as_float
from worldr1.serve.wire import ScoreAnswer, answer_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Job:
    sample: Sample
    use_3d: bool
    born: float
    answer: Future[ScoreAnswer] = field(default_factory=Future)


class Batcher:
    """Feeds the reward.

    Args:
        composer: called by one thread only.
        batch: most videos of one call.
        wait: seconds that the oldest waiting video waits for others.
        metrics: what is counted.
    """

    def __init__(self, composer: Composer, batch: int, wait: float, metrics: Metrics) -> None:
        self._composer = composer
        self._batch = batch
        self._wait = wait
        self._metrics = metrics
        self._waiting: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._busy_since: float | None = None
        self._pace = 1.0
        self._thread = threading.Thread(target=self._work, name="reward", daemon=True)

    @property
    def seconds_per_video(self) -> float:
        """Recent time of the reward for one video."""
        return self._pace

    @property
    def waiting(self) -> int:
        """Videos that wait for the next batch."""
        return len(self._waiting)

    @property
    def busy_seconds(self) -> float:
        """How long the running call of the reward has taken so far; 0 when none runs."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def start(self) -> None:
        """Start the worker thread; once."""
        self._thread.start()

    def submit(self, sample: Sample, use_3d: bool) -> Future[ScoreAnswer]:
        """Queue a sample. A failed reward gives an answer whose scores are missing; a cancelled job is not scored.

        Raises:
            RuntimeError: the batcher is closed.
        """
        job = _Job(sample, use_3d, time.monotonic())
        with self._changed:
            if self._closing:
                raise RuntimeError("the batcher is closed")
            self._waiting.append(job)
            self._changed.notify()
        return job.answer

    def close(self, timeout: float) -> bool:
        """Score what waits, then stop; False if that took longer than `timeout` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while jobs := self._take():
            running = [job for job in jobs if job.answer.set_running_or_notify_cancel()]
            if running:
                self._busy_since = time.monotonic()
                self._score(running)
                self._busy_since = None

    def _take(self) -> list[_Job]:
        """The next jobs of one kind; empty when the batcher is closed and nothing waits."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            while self._waiting and len(self._waiting) < self._batch and not self._closing:
                rest = self._waiting[0].born + self._wait - time.monotonic()
                if rest <= 0 or not self._changed.wait(rest):
                    break
            jobs: list[_Job] = []
            while self._waiting and len(jobs) < self._batch and self._waiting[0].use_3d == self._alike(jobs):
                jobs.append(self._waiting.popleft())
            return jobs

    def _alike(self, jobs: Sequence[_Job]) -> bool:
        return jobs[0].use_3d if jobs else self._waiting[0].use_3d

    def _score(self, jobs: Sequence[_Job]) -> None:
        started = time.monotonic()
        answers = self._answers(jobs)
        seconds = time.monotonic() - started
        self._pace = 0.8 * self._pace + 0.2 * seconds / len(jobs)
        self._metrics.scored(answers, [started - job.born for job in jobs], seconds)
        for job, answer in zip(jobs, answers, strict=True):
            job.answer.set_result(answer)

    def _answers(self, jobs: Sequence[_Job]) -> list[ScoreAnswer]:
        """One answer for each job; when a batch fails, each alone, so that one video spoils no other."""
        try:
            scores = self._composer([as_float(job.sample) for job in jobs], use_3d=jobs[0].use_3d)
            if any(values.shape != (len(jobs),) for values in (scores.total, *scores.components.values())):
                raise ValueError(f"the reward gave another number of scores than the {len(jobs)} asked for")
            return [answer_of(scores.components, scores.total, place) for place in range(len(jobs))]
        except Exception as error:
            logger.exception("the reward failed on a batch of %d", len(jobs))
            if len(jobs) == 1:
                return [ScoreAnswer(components={}, total=None, problem=f"the reward failed: {type(error).__name__}")]
        return [self._answers([job])[0] for job in jobs]
