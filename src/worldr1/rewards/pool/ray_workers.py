"""Workers as actors of a Ray cluster. Ray ships them by its own serialiser: the cluster is a trust boundary."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from textwrap import shorten
from typing import Any

import numba
import torch

from worldr1.camera.trajectory import Trajectory
from worldr1.recipes.pool import PoolSettings, WorkerSettings
from worldr1.recipes.reward import RewardSettings
from worldr1.reconstruction.types import all_finite
from worldr1.rewards.pool.dispatcher import Dispatcher, Limits
from worldr1.rewards.pool.messages import Answered, Died, Event, Failed, Ready, Request
from worldr1.rewards.pool.pool import Group, RewardPool
from worldr1.rewards.registry import NEEDS_RECONSTRUCTION, build_composer
from worldr1.rewards.types import Composer, Sample

try:
    import ray
except ImportError as error:
    raise ImportError('pool.kind ray needs Ray; install it: pip install "worldr1[ray]"') from error

Row = tuple[Any, str, Any, tuple[str, ...], float]
"""A sample as plain data: video, prompt, c2w, moves, fov."""


class Scorer:
    """What runs in a worker: a composer and so many threads."""

    def __init__(self, make: Callable[[], Composer], threads: int) -> None:
        torch.set_num_threads(threads)
        numba.set_num_threads(min(threads, numba.get_num_threads()))
        self._composer = make()

    def ready(self) -> int:
        """The worker's process."""
        return os.getpid()

    def score(self, request: int, rows: Sequence[Row], use_3d: bool) -> tuple[int, dict[str, list[float]]]:
        """The request's id and its scores by component; float32, which a float holds exactly."""
        scores = self._composer([sample_of(row) for row in rows], use_3d)
        return request, {name: values.tolist() for name, values in scores.components.items()}


class RayWorkers:
    """One actor a worker, each with its share of processors and GPUs and its own environment.

    Args:
        make: makes the composer, in the worker.
        settings: what a worker takes of the cluster.
        video_bits: of a value of a video that is sent, 8 or 32.
    """

    def __init__(self, make: Callable[[], Composer], settings: WorkerSettings, video_bits: int = 32) -> None:
        self._video_bits = video_bits
        self._arguments = make, max(1, int(settings.cpus))
        self._actor = ray.remote(Scorer).options(
            num_cpus=settings.cpus,
            num_gpus=settings.gpus,
            runtime_env=settings.environment or None,
            max_restarts=0,
        )
        self._actors: dict[int, Any] = {}
        self._asked: dict[Any, tuple[int, int | None]] = {}
        self._started = 0
        self.processes: dict[int, int] = {}

    def start(self) -> int:
        """Begin an actor; it waits until the cluster has room."""
        self._started += 1
        self._actors[self._started] = self._actor.remote(*self._arguments)
        self.greet(self._started)
        return self._started

    def greet(self, worker: int) -> None:
        """Ask an actor whether it lives."""
        self._asked[self._actors[worker].ready.remote()] = (worker, None)

    def send(self, worker: int, request: Request) -> None:
        """Give an actor a batch as plain arrays."""
        rows = [row_of(sample, self._video_bits) for sample in request.samples]
        self._asked[self._actors[worker].score.remote(request.id, rows, request.use_3d)] = (worker, request.id)

    def stop(self, worker: int) -> None:
        """Kill an actor and forget what it was asked."""
        ray.kill(self._actors.pop(worker))
        self._asked = {ref: asked for ref, asked in self._asked.items() if asked[0] != worker}

    def poll(self, seconds: float) -> Sequence[Event]:
        """All that was said, in the order in which it was asked."""
        said, rest = ray.wait(list(self._asked), num_returns=1, timeout=seconds)
        if said and rest:
            said += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        return [self._event(ref, *self._asked.pop(ref)) for ref in said]

    def _event(self, ref: Any, worker: int, request: int | None) -> Event:
        try:
            answer = ray.get(ref)
        except ray.exceptions.RayError as error:
            if request is None or not isinstance(error, ray.exceptions.RayTaskError):
                return Died(worker, _sentence(error))
            return Failed(worker, request, _sentence(error))
        if request is None:
            self.processes[worker] = answer
            return Ready(worker)
        named, scores = answer
        return Answered(worker, named, {name: torch.tensor(values) for name, values in scores.items()})


def ray_pool(reward: RewardSettings, settings: PoolSettings) -> RewardPool:
    """The reward of a recipe on the cluster that Ray finds (`RAY_ADDRESS`), or on one of this machine."""
    if not ray.is_initialized():
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(include_dashboard=False, logging_level=logging.WARNING)
    apart = {part.reward: part for part in settings.apart if part.reward in reward.weights}
    together = [name for name in reward.weights if name not in apart]
    shares: list[tuple[list[str], WorkerSettings]] = [([name], part) for name, part in apart.items()]
    if together:
        shares.append((together, settings))
    assert settings.batch is not None
    return RewardPool([_group(reward, *share, settings) for share in shares], reward.weights, settings.batch)


def _group(reward: RewardSettings, names: Sequence[str], share: WorkerSettings, settings: PoolSettings) -> Group:
    others = {name: 0.0 for name in reward.weights if name not in names}
    make = partial(_composer, reward.model_copy(update=others).model_dump())
    limits = Limits(
        workers=share.workers,
        in_flight=settings.in_flight,
        timeout=settings.timeout,
        start_timeout=settings.start_timeout,
        attempts=settings.attempts,
    )
    return Group(
        {name: NEEDS_RECONSTRUCTION[name] for name in names},
        Dispatcher(RayWorkers(make, share, settings.video_bits), limits),
    )


def _composer(settings: Mapping[str, Any]) -> Composer:
    return build_composer(RewardSettings.model_validate(settings), "cuda" if torch.cuda.is_available() else "cpu")


def row_of(sample: Sample, video_bits: int) -> Row:
    """A sample to send; of 8 bits only where its video is finite, as they hold no nan."""
    video, camera = sample.video.detach().cpu().contiguous(), sample.trajectory
    if video_bits == 8 and all_finite(video):
        video = (video.clamp(0, 1) * 255).round().to(torch.uint8)
    return video.numpy(), sample.prompt, camera.c2w.detach().cpu().numpy(), camera.moves, camera.fov


def sample_of(row: Row) -> Sample:
    """What was sent, its video in [0, 1] again."""
    values, prompt, c2w, moves, fov = row
    video = torch.from_numpy(values.copy())
    if video.dtype == torch.uint8:
        video = video.float() / 255
    return Sample(video, prompt, Trajectory(torch.from_numpy(c2w.copy()), moves, fov))


def _sentence(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return shorten(lines[-1] if lines else type(error).__name__, 160)
