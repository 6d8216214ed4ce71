"""`python -m benchmarks.serve_load`: the reward service at saturation and at twice that.

Prints one JSON document: videos/s, latencies, refusals, wrong and lost answers, and the server's memory over time. The
reward sleeps for a set time and tells its input, so that a swapped answer shows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import torch
from safetensors.torch import save

from worldr1.rewards.types import Sample, Scores
from worldr1.serve.access import Tokens
from worldr1.serve.server import listen, run
from worldr1.serve.service import Service
from worldr1.serve.settings import ServiceSettings
from worldr1.serve.wire import ComponentInfo

FRAMES, SIDE = 17, 64


class Sleeping:
    """Takes a time for each video and gives the number in its prompt, and its mean."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
        time.sleep(self._seconds * len(samples))
        number = torch.tensor([float(sample.prompt) for sample in samples])
        return Scores({"number": number, "mean": torch.stack([s.video.mean() for s in samples])}, number)


@dataclass
class Tally:
    """What came back."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    """Requests without an answer, by kind of error."""
    unfounded: int = 0
    """Refusals with 429 or 503 that do not tell when to try again."""

    def summary(self, wall: float) -> dict[str, object]:
        p50, p99 = np.percentile(self.seconds, [50, 99]) if self.seconds else (None, None)
        return {
            "statuses": dict(self.statuses),
            "wrong": self.wrong,
            "lost": dict(self.lost),
            "unfounded": self.unfounded,
            "wall_s": wall,
            "videos_per_s": self.statuses[200] / wall,
            "p50_s": p50,
            "p99_s": p99,
        }


def serve(port: int, seconds: float) -> None:
    """Run the server."""
    parts = {name: ComponentInfo(weight=1.0, needs_reconstruction=False) for name in ("number", "mean")}
    settings = ServiceSettings(rate=1e6, burst=10**6)
    run(Service(Sleeping(seconds), parts, settings, Tokens()), listen("127.0.0.1", port))


async def ask(client: httpx.AsyncClient, number: int, tally: Tally) -> None:
    """Send one video and check its answer."""
    grey = number % 256
    video = save({"video": torch.full((FRAMES, 3, SIDE, SIDE), grey, dtype=torch.uint8)})
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
    else:
        tally.unfounded += "retry-after" not in response.headers


async def saturate(client: httpx.AsyncClient, clients: int, seconds: float) -> dict[str, object]:
    """So many clients that each send the next video when they have an answer."""
    tally, began = Tally(), time.monotonic()

    async def one(first: int) -> None:
        number = first
        while time.monotonic() - began < seconds:
            await ask(client, number, tally)
            number += clients

    await asyncio.gather(*(one(first) for first in range(clients)))
    return tally.summary(time.monotonic() - began)


async def overload(client: httpx.AsyncClient, rate: float, seconds: float) -> dict[str, object]:
    """Videos at a fixed rate, whether or not answers come."""
    tally, began, tasks = Tally(), time.monotonic(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        tasks.append(asyncio.create_task(ask(client, number, tally)))
    await asyncio.gather(*tasks)
    return {"offered_per_s": rate, **tally.summary(time.monotonic() - began)}


async def measure(
    process: subprocess.Popen[bytes], port: int, saturation: float, twice: float, rounds: int
) -> dict[str, object]:
    """Both loads; memory after each of the rounds."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", timeout=60, limits=limits, trust_env=False
    ) as client:
        await _ready(client)
        full = await saturate(client, 16, saturation)
        over, memory = [], [_resident(process.pid)]
        for _ in range(rounds):
            over.append(await overload(client, 2 * float(str(full["videos_per_s"])), twice / rounds))
            memory.append(_resident(process.pid))
    return {"saturation": full, "twice": over, "resident_mib": memory}


async def _ready(client: httpx.AsyncClient) -> None:
    for _ in range(600):
        try:
            await client.get("/healthz")
        except httpx.TransportError:
            await asyncio.sleep(0.2)
        else:
            return
    raise TimeoutError("the server did not start")


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def main() -> None:
    """Measure, or (with --server) be what is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--saturation", type=float, default=60.0, help="seconds at saturation")
    parser.add_argument("--twice", type=float, default=600.0, help="seconds at twice that")
    parser.add_argument("--rounds", type=int, default=10, help="samples of the memory under overload")
    parser.add_argument("--reward", type=float, default=0.01, help="seconds that the reward takes for a video")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--server", action="store_true")
    given = parser.parse_args()
    if given.server:
        serve(given.port, given.reward)
        return
    words = ["--server", "--port", str(given.port), "--reward", str(given.reward)]
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.serve_load", *words])
    try:
        result = asyncio.run(measure(process, given.port, given.saturation, given.twice, given.rounds))
    finally:
        process.terminate()
        code = process.wait(90)
    sys.stdout.write(json.dumps({**result, "exit_code": code}, indent=2) + "\n")


if __name__ == "__main__":
    main()
