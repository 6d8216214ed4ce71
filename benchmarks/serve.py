"""The reward service under load: `python -m benchmarks.serve`.

A server with a cheap reward, which tells its input so that a swapped answer shows, is loaded by 16 clients without
pause, then with twice what it scored a second, then beyond a rate limit. Writes videos/s, latencies, refusals, wrong
and lost answers, and the server's memory.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import torch
from rich.logging import RichHandler

from benchmarks.loads import Load, by_minute, growth, offer, ready, saturate, watch_memory
from benchmarks.machine import cpu_name
from benchmarks.results import RESULTS, save
from worldr1.rewards.types import Sample, Scores
from worldr1.serve.access import Tokens
from worldr1.serve.server import listen, run
from worldr1.serve.service import Service
from worldr1.serve.settings import ServiceSettings
from worldr1.serve.wire import ComponentInfo

logger = logging.getLogger("benchmarks")

CLIENTS = 16
_UNLIMITED = 1e6
_LIMITED_SECONDS = 10.0
_PATIENCE = ServiceSettings().score_seconds + 60
"""Seconds that a client waits: longer than the service lets it, so that slow answers do not count as lost."""
_HEAD = ("load", "offered/s", "scored/s", "p50", "p99", "200", "429", "503", "others", "wrong", "lost")


class Sleeping:
    """Takes a time for each video and gives the number in its prompt, and its mean."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
        """Score."""
        time.sleep(self._seconds * len(samples))
        number = torch.tensor([float(sample.prompt) for sample in samples])
        return Scores({"number": number, "mean": torch.stack([s.video.mean() for s in samples])}, number)


@dataclass(frozen=True)
class Running:
    """A server: its process and the way to it."""

    process: int
    url: str


def main() -> int:
    """Measure, or (with --server) be what is measured; 1 when an answer was wrong or lost or a refusal not honest."""
    options = _arguments()
    if options.server is not None:
        _serve(options)
        return 0
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)])
    logging.getLogger("httpx").setLevel(logging.WARNING)
    memory: list[tuple[float, float]] = []
    with _server(options, _UNLIMITED) as running:
        loads = asyncio.run(_measure(running, options.minutes * 60, memory))
    with _server(options, loads[0].videos_per_s / 2) as running:
        loads.append(asyncio.run(_exceed(running, loads[0].videos_per_s)))
    found = {
        "reward_s": options.reward,
        "minutes": options.minutes,
        "loads": [asdict(load) for load in loads],
        "memory_mib": memory,
        "memory_growth_mib_per_minute": growth(memory),
    }
    path = save(options.out, f"{cpu_name()}-serve", found, lambda content: _table(content, loads))
    logger.info("memory grows by %.2f MiB a minute; wrote %s", found["memory_growth_mib_per_minute"], path)
    return 0 if all(load.clean for load in loads) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="so long at saturation, and as long at twice that (10)"
    )
    parser.add_argument("--reward", type=float, default=0.02, help="seconds that the reward takes for a video (0.02)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (benchmarks/results)")
    parser.add_argument("--server", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, default=_UNLIMITED, help=argparse.SUPPRESS)
    return parser.parse_args()


def _serve(options: argparse.Namespace) -> None:
    parts = {name: ComponentInfo(weight=1.0, needs_reconstruction=False) for name in ("number", "mean")}
    settings = ServiceSettings(rate=options.rate, burst=max(1, round(min(options.rate, _UNLIMITED))))
    run(Service(Sleeping(options.reward), parts, settings, Tokens()), listen("127.0.0.1", options.server))


@contextmanager
def _server(options: argparse.Namespace, rate: float) -> Iterator[Running]:
    """A server in a process of its own, which is drained at the end."""
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    words = ["--server", str(port), "--reward", str(options.reward), "--rate", str(rate)]
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.serve", *words])
    try:
        yield Running(process.pid, f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        code = process.wait(90)
    if code != 0:
        raise RuntimeError(f"the server did not drain: it ended with {code}")


async def _measure(running: Running, seconds: float, memory: list[tuple[float, float]]) -> list[Load]:
    """So long at saturation and so long at twice that, while the server's memory is watched."""
    async with _client(running) as client:
        await ready(client)
        watch = asyncio.create_task(watch_memory(running.process, seconds / 60, memory))
        full = _log(await saturate(client, CLIENTS, seconds))
        twice = _log(await offer(client, "twice saturation", 2 * full.videos_per_s, seconds))
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch
    return [full, twice]


async def _exceed(running: Running, rate: float) -> Load:
    async with _client(running) as client:
        await ready(client)
        return _log(await offer(client, "twice the rate limit", rate, _LIMITED_SECONDS))


def _client(running: Running) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    return httpx.AsyncClient(base_url=running.url, timeout=_PATIENCE, limits=limits, trust_env=False)


def _log(load: Load) -> Load:
    told = (load.name, load.videos_per_s, load.statuses, load.wrong, load.lost)
    logger.info("%s: %.1f videos/s, %s, wrong %d, lost %s", *told)
    return load


def _table(content: Mapping[str, Any], loads: Sequence[Load]) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in content["machine"].items())
    sizes = [size for _, size in content["memory_mib"]]
    minutes = by_minute(content["memory_mib"])
    lines = [
        f"# Reward service under load, {content['date'][:10]}, commit {content['commit']}\n",
        f"{machine}. The reward sleeps {content['reward_s']:g} s for each video.\n",
        _line(_HEAD),
        _line(["---"] * len(_HEAD)),
        *(_line(_cells(load)) for load in loads),
        f"\nMemory of the server over both: {min(sizes):.0f} to {max(sizes):.0f} MiB; over the last two thirds it "
        f"grows by {content['memory_growth_mib_per_minute']:.2f} MiB a minute. MiB by the minute:\n",
        _line([f"{second / 60:.0f}" for second, _ in minutes]),
        _line(["---"] * len(minutes)),
        _line([f"{size:.0f}" for _, size in minutes]),
    ]
    return "\n".join(lines) + "\n"


def _cells(load: Load) -> list[str]:
    known = [load.statuses.get(status, 0) for status in (200, 429, 503)]
    times = ["" if value is None else f"{value * 1e3:.0f} ms" for value in (load.p50_s, load.p99_s)]
    offered = "" if load.offered_per_s is None else f"{load.offered_per_s:.1f}"
    others = sum(load.statuses.values()) - sum(known)
    counts = [*known, others, load.wrong, sum(load.lost.values())]
    return [load.name, offered, f"{load.videos_per_s:.1f}", *times, *map(str, counts)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
