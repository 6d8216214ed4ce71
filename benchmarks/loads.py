"""Loads on a reward service, and what comes back: latencies, refusals, wrong and lost answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import httpx
import numpy as np
import torch
from safetensors.torch import save

FRAMES, SIDE = 17, 64
_STATM = "/proc/{}/statm"
_PAGE = 4096


@dataclass(frozen=True)
class Load:
    """One load and its outcome.

    Attributes:
        name: of the load.
        offered_per_s: videos sent a second, as far as this machine could; None where clients send the next
            when they have an answer.
        wall_s: its length.
        videos_per_s: videos scored a second.
        p50_s, p99_s: time to an answer with scores; None without any.
        statuses: answers by status of HTTP.
        wrong: answers that are another video's.
        lost: requests without an answer, by kind of error.
        without_retry: refusals by 429 or 503 that do not tell when to try again.
    """

    name: str
    offered_per_s: float | None
    wall_s: float
    videos_per_s: float
    p50_s: float | None
    p99_s: float | None
    statuses: dict[int, int]
    wrong: int
    lost: dict[str, int]
    without_retry: int

    @property
    def clean(self) -> bool:
        """Whether every request got an answer, its own, and every refusal an honest one."""
        others = self.statuses.keys() - {200, 429, 503}
        return not (self.wrong or self.lost or self.without_retry or others)


@dataclass
class _Tally:
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    without_retry: int = 0

    def load(self, name: str, wall: float, offered: float | None = None) -> Load:
        p50, p99 = np.percentile(self.seconds, [50, 99]).tolist() if self.seconds else (None, None)
        rate = self.statuses[200] / wall
        counts = dict(sorted(self.statuses.items()))
        return Load(name, offered, wall, rate, p50, p99, counts, self.wrong, dict(self.lost), self.without_retry)


async def saturate(client: httpx.AsyncClient, clients: int, seconds: float) -> Load:
    """So many clients that each send the next video when they have an answer."""
    tally, began = _Tally(), time.monotonic()

    async def one(first: int) -> None:
        number = first
        while time.monotonic() - began < seconds:
            await _ask(client, number, tally)
            number += clients

    await asyncio.gather(*(one(first) for first in range(clients)))
    return tally.load("saturation", time.monotonic() - began)


async def offer(client: httpx.AsyncClient, name: str, rate: float, seconds: float) -> Load:
    """Videos at a fixed rate, whether or not answers come."""
    tally, began, tasks = _Tally(), time.monotonic(), []
    for number in range(max(1, round(rate * seconds))):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        tasks.append(asyncio.create_task(_ask(client, number, tally)))
    offered = len(tasks) / (time.monotonic() - began)
    await asyncio.gather(*tasks)
    return tally.load(name, time.monotonic() - began, offered)


async def ready(client: httpx.AsyncClient) -> None:
    """Wait until the service answers; TimeoutError after two minutes."""
    for _ in range(600):
        try:
            await client.get("/healthz")
        except httpx.TransportError:
            await asyncio.sleep(0.2)
        else:
            return
    raise TimeoutError("the server did not start")


async def watch_memory(process: int, every: float, seen: list[tuple[float, float]]) -> None:
    """Append (second, resident MiB) of a process until this is cancelled."""
    began = time.monotonic()
    while True:
        pages = int(Path(_STATM.format(process)).read_text(encoding="ascii").split()[1])
        seen.append((round(time.monotonic() - began, 2), round(pages * _PAGE / 2**20, 2)))
        await asyncio.sleep(every)


def growth(memory: Sequence[tuple[float, float]]) -> float:
    """MiB a minute by a line through the last two thirds, after buffers and arenas have filled."""
    times, sizes = np.array(memory[len(memory) // 3 :]).T
    return float(np.polyfit(times, sizes, 1)[0]) * 60


def by_minute(memory: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (second, MiB) the first of every minute, and the last."""
    firsts = {int(second // 60): (second, size) for second, size in reversed(memory)}
    return [*(firsts[minute] for minute in sorted(firsts)), memory[-1]]


@lru_cache(maxsize=256)
def _video(grey: int) -> bytes:
    return save({"video": torch.full((FRAMES, 3, SIDE, SIDE), grey, dtype=torch.uint8)})


async def _ask(client: httpx.AsyncClient, number: int, tally: _Tally) -> None:
    """Send one video and check its answer."""
    grey = number % 256
    video = _video(grey)
    began = time.monotonic()
    try:
        data = {"request": json.dumps({"prompt": str(number)})}
        response = await client.post("/v1/scores", data=data, files={"video": video})
    except httpx.HTTPError as error:
        tally.lost[f"{type(error).__name__}: {error}"] += 1
        return
    tally.statuses[response.status_code] += 1
    if response.status_code == 200:
        tally.seconds.append(time.monotonic() - began)
        parts = response.json()["components"]
        tally.wrong += parts["number"] != number or round(parts["mean"] * 255, 3) != grey
    elif response.status_code in (429, 503):
        tally.without_retry += "retry-after" not in response.headers
