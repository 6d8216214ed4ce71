"""Answers kept by idempotency key, so that a repeated request is scored once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any

from worldr1.serve.refusal import Refused
from worldr1.serve.wire import ScoreAnswer


@dataclass(frozen=True)
class _Held:
    fingerprint: bytes
    task: asyncio.Task[ScoreAnswer]


class Answers:
    """The latest `size` answers. Those that failed are not kept: another try may succeed."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: OrderedDict[Hashable, _Held] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    async def once(
        self, key: Hashable, fingerprint: bytes, work: Callable[[], Coroutine[Any, Any, ScoreAnswer]]
    ) -> ScoreAnswer:
        """The answer kept for the key; else that of `work`, which requests with the same key wait for.

        Raises:
            Refused: 422 when the key came with other content before; whatever `work` raises.
        """
        held = self._held.get(key)
        if held is None:
            held = _Held(fingerprint, asyncio.ensure_future(work()))
            held.task.add_done_callback(lambda task: self._forget_failure(key, task))
            self._held[key] = held
            if len(self._held) > self._size:
                self._held.popitem(last=False)
        elif held.fingerprint != fingerprint:
            raise Refused(422, "this idempotency key came with another request before; take a new key for each video")
        self._held.move_to_end(key)
        return await asyncio.shield(held.task)

    def _forget_failure(self, key: Hashable, task: asyncio.Task[ScoreAnswer]) -> None:
        failed = task.cancelled() or task.exception() is not None or task.result().problem is not None
        held = self._held.get(key)
        if failed and held is not None and held.task is task:
            del self._held[key]
