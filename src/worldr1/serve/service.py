"""The state of one running service."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Literal

from anyio import CapacityLimiter, to_thread

from worldr1.rewards.compose import RewardComposer
from worldr1.rewards.types import Composer
from worldr1.serve.access import RateLimit, Tokens
from worldr1.serve.answers import Answers
from worldr1.serve.batcher import Batcher
from worldr1.serve.metrics import Metrics
from worldr1.serve.refusal import Refused
from worldr1.serve.sample import Upload, sample_of
from worldr1.serve.settings import ServiceSettings
from worldr1.serve.wire import ComponentInfo, ScoreAnswer

_DECODERS = 2
_LONGEST_RETRY = 60.0


class Service:
    """Admits requests, decodes their videos and has them scored.

    Args:
        composer: the reward.
        components: its components by name, as told to clients.
        settings: limits.
        tokens: who may ask.
    """

    def __init__(
        self,
        composer: Composer,
        components: Mapping[str, ComponentInfo],
        settings: ServiceSettings,
        tokens: Tokens,
    ) -> None:
        self.components = dict(components)
        self.settings = settings
        self.tokens = tokens
        self.metrics = Metrics()
        self.answers = Answers(settings.answers)
        self._rates = RateLimit(settings.rate, settings.burst)
        self._batcher = Batcher(composer, settings.batch, settings.batch_wait, self.metrics)
        self._decoders = CapacityLimiter(_DECODERS)
        self._at_work = 0
        self._draining = False
        self.metrics.watch(lambda: float(self._at_work))

    @property
    def status(self) -> Literal["ok", "draining", "stuck"]:
        """Whether to send requests here."""
        if self._draining:
            return "draining"
        return "stuck" if self._batcher.busy_seconds > self.settings.score_seconds else "ok"

    @property
    def at_work(self) -> int:
        """Requests from the first byte of their upload to their answer."""
        return self._at_work

    @property
    def waiting(self) -> int:
        """Decoded videos that wait for the reward."""
        return self._batcher.waiting

    def start(self) -> None:
        """Start scoring; once."""
        self._batcher.start()

    def drain(self) -> None:
        """Take no further requests; those at work are finished. Safe in a signal handler."""
        self._draining = True

    def close(self) -> bool:
        """Drain, and stop scoring; False when the reward did not finish in time."""
        self.drain()
        return self._batcher.close(self.settings.drain_seconds)

    def admit(self, caller: int) -> None:
        """Let a request in; each one admitted must `leave`.

        Raises:
            Refused: 503 when draining or full, 429 when the caller asks too often; both say when to try again.
        """
        if self._draining:
            raise Refused(503, "the service is shutting down; ask another, or again later", self._backlog())
        if self._at_work >= self.settings.queue:
            raise Refused(503, f"all {self.settings.queue} places of the queue are taken", self._backlog())
        wait = self._rates.take(caller)
        if wait > 0:
            raise Refused(429, f"more than {self.settings.rate:g} requests a second with this token", wait)
        self._at_work += 1

    def leave(self) -> None:
        """End a request that was admitted."""
        self._at_work -= 1

    async def score(self, upload: Upload) -> ScoreAnswer:
        """Decode an upload and have it scored.

        Raises:
            Refused: the upload cannot be scored, or (503) scoring takes too long.
        """
        if not upload.request.use_3d and all(part.needs_reconstruction for part in self.components.values()):
            raise Refused(422, "every component of this reward needs a reconstruction; leave use_3d true")
        sample = await to_thread.run_sync(sample_of, upload, self.settings, limiter=self._decoders)
        answer = asyncio.wrap_future(self._batcher.submit(sample, upload.request.use_3d))
        try:
            return await asyncio.wait_for(answer, self.settings.score_seconds)
        except asyncio.TimeoutError as error:
            raise Refused(503, f"no score within {self.settings.score_seconds:g} seconds", self._backlog()) from error

    def _backlog(self) -> float:
        """Seconds until the requests at work are likely done."""
        return min(_LONGEST_RETRY, max(1.0, self._at_work * self._batcher.seconds_per_video))


def describe(composer: RewardComposer) -> dict[str, ComponentInfo]:
    """The components of a composer."""
    return {
        name: ComponentInfo(weight=composer.weights[name], needs_reconstruction=reward.needs_reconstruction)
        for name, reward in composer.rewards.items()
    }
