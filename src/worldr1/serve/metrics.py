"""What Prometheus may read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from worldr1.serve.wire import ScoreAnswer

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The counters of one service."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "worldr1_requests", "Answers by path and status", ["path", "status"], registry=self._registry
        )
        self._videos = Counter("worldr1_videos_scored", "Videos that went through the reward", registry=self._registry)
        self._missing = Counter("worldr1_scores_missing", "Videos without a total", registry=self._registry)
        self._batch = Histogram(
            "worldr1_batch_videos", "Videos in a batch", buckets=(1, 2, 4, 8, 16, 32, 64), registry=self._registry
        )
        self._waited = Histogram(
            "worldr1_queue_seconds", "Time from decoded to scoring", buckets=_SECONDS, registry=self._registry
        )
        self._reward = Histogram(
            "worldr1_reward_seconds", "Time of one batch in the reward", buckets=_SECONDS, registry=self._registry
        )
        self._at_work = Gauge("worldr1_requests_at_work", "Requests from upload to answer", registry=self._registry)

    def watch(self, at_work: Callable[[], float]) -> None:
        """Read the number of requests at work from here."""
        self._at_work.set_function(at_work)

    def answered(self, path: str, status: int) -> None:
        """Count an answer."""
        self._requests.labels(path, str(status)).inc()

    def scored(self, answers: Sequence[ScoreAnswer], waited: Sequence[float], seconds: float) -> None:
        """Count a batch: its answers, how long each waited, and how long the reward took."""
        self._videos.inc(len(answers))
        self._missing.inc(sum(answer.total is None for answer in answers))
        self._batch.observe(len(answers))
        self._reward.observe(seconds)
        for wait in waited:
            self._waited.observe(wait)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)
