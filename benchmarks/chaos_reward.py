"""A recipe's reward whose workers answer wrongly, late, twice or not at all when they are ordered to."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

import worldr1.rl.assemble
from worldr1.recipes import Recipe
from worldr1.recipes.reward import RewardSettings
from worldr1.rewards.pool import ray_workers
from worldr1.rewards.pool.dispatcher import Limits
from worldr1.rewards.pool.messages import Answered, Event
from worldr1.rewards.registry import build_composer
from worldr1.rewards.types import Composer, PooledComposer, Sample, Scores, Scoring

_PATIENCE = 8.0
"""Seconds in which an idle worker must say that it lives."""


@dataclass(frozen=True)
class Orders:
    """Faults that are to be done, as files; whoever can take one does it. Whatever was taken stays countable."""

    folder: Path

    def give(self, kind: str, number: int) -> None:
        """Order one."""
        (self.folder / f"{number}-{_slug(kind)}").touch()

    def take(self, kind: str) -> bool:
        """Whether one of this kind was ordered and is now this process's to do."""
        for path in sorted(self.folder.glob(f"*-{_slug(kind)}")):
            try:
                path.rename(path.with_suffix(".taken"))
            except FileNotFoundError:
                continue
            return True
        return False

    def open(self, kind: str) -> bool:
        """Whether one of this kind waits to be taken."""
        return any(self.folder.glob(f"*-{_slug(kind)}"))

    def taken(self, kind: str) -> int:
        """How many of a kind were done."""
        return len(list(self.folder.glob(f"*-{_slug(kind)}.taken")))

    def first(self, name: str) -> bool:
        """Whether nobody has asked for this name before."""
        try:
            (self.folder / f"{name}.name").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


class FaultyComposer:
    """The reward in a worker; no batch is nan twice, as the second time is believed."""

    def __init__(self, composer: Composer, orders: Orders) -> None:
        self._composer, self._orders = composer, orders

    def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
        if self._orders.take("reward raises"):
            raise RuntimeError("the reward broke down")
        if self._orders.take("reward slow"):
            time.sleep(2.0)
        scores = self._composer(samples, use_3d)
        if self._orders.open("reward: a batch of nan") and self._orders.first(digest(samples[0])):
            return silent(scores) if self._orders.take("reward: a batch of nan") else scores
        if self._orders.take("reward: a score too few"):
            return Scores({name: values[1:] for name, values in scores.components.items()}, scores.total[1:])
        return scores


class FaultyWorkers(ray_workers.RayWorkers):
    """The way to the workers, on which answers are held up and doubled."""

    orders: Orders
    late = 0.0
    """Seconds after which an answer's deadline has passed."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._held: list[tuple[float, Event]] = []
        self._overtaken: list[Event] = []

    def poll(self, seconds: float) -> Sequence[Event]:
        now = time.monotonic()
        due = [event for at, event in self._held if at <= now]
        self._held = [(at, event) for at, event in self._held if at > now]
        return due + [told for event in self._heard(0.0 if due else seconds) for told in self._changed(event)]

    def _heard(self, seconds: float) -> Sequence[Event]:
        if self._asked:
            return super().poll(min(seconds, 0.5))
        time.sleep(min(seconds, 0.1))
        return []

    def _changed(self, event: Event) -> list[Event]:
        if not isinstance(event, Answered):
            return [event]
        if self.orders.take("answer after its deadline"):
            self._held.append((time.monotonic() + self.late, event))
            return []
        if self.orders.take("answers out of order"):
            self._held.append((time.monotonic() + 0.5, event))
            return []
        return [event] * (2 if self.orders.take("answer twice") else 1)


class Recorded:
    """A composer that writes down which video got which scores, and falls silent for a step when it is ordered to."""

    def __init__(self, composer: Composer, ledger: Path, orders: Orders) -> None:
        self._composer, self._ledger, self._orders = composer, ledger, orders

    def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
        return self.record(samples, use_3d, self._composer(samples, use_3d))

    def record(self, samples: Sequence[Sample], use_3d: bool, scores: Scores) -> Scores:
        """Write down scores and give them on."""
        if len(scores.total) != len(samples):
            raise AssertionError(f"{len(scores.total)} scores came for {len(samples)} videos")
        lines = []
        for place, sample in enumerate(samples):
            told = {name: float(values[place]).hex() for name, values in scores.components.items()}
            lines.append(json.dumps([f"{digest(sample)} {use_3d}", told]) + "\n")
        with self._ledger.open("a", encoding="utf-8") as file:
            file.write("".join(lines))
        return scores


class PooledRecorded(Recorded):
    """Likewise of a composer whose work is done elsewhere."""

    _composer: PooledComposer

    def begin(self, use_3d: bool = True) -> AbstractContextManager[Scoring]:
        return self._begin(use_3d)

    @contextmanager
    def _begin(self, use_3d: bool) -> Iterator[Scoring]:
        with self._composer.begin(use_3d) as scoring:
            yield _Recording(scoring, self, use_3d, self._orders)


class _Recording:
    def __init__(self, scoring: Scoring, recorded: Recorded, use_3d: bool, orders: Orders) -> None:
        self._scoring, self._recorded, self._use_3d, self._orders = scoring, recorded, use_3d, orders
        self._samples: list[Sample] = []

    @property
    def seconds(self) -> float:
        return self._scoring.seconds

    def add(self, samples: Sequence[Sample]) -> None:
        self._samples += samples
        self._scoring.add(samples)

    def finish(self) -> Scores:
        scores = self._recorded.record(self._samples, self._use_3d, self._scoring.finish())
        return silent(scores) if self._orders.take("reward: nan for a whole step") else scores


def install(orders: Orders, ledger: Path, late: float) -> None:
    """From now on this process's runs have that reward."""
    build = worldr1.rl.assemble.build_scorer

    def build_recorded(recipe: Recipe) -> Composer:
        composer = build(recipe)
        return (PooledRecorded if isinstance(composer, PooledComposer) else Recorded)(composer, ledger, orders)

    worldr1.rl.assemble.build_scorer = build_recorded
    FaultyWorkers.orders, FaultyWorkers.late = orders, late
    ray_workers.RayWorkers = FaultyWorkers  # type: ignore[misc]
    ray_workers.Limits = partial(Limits, health_timeout=_PATIENCE)  # type: ignore[misc]
    ray_workers._composer = partial(faulty_composer, orders)  # type: ignore[assignment]


def faulty_composer(orders: Orders, settings: Mapping[str, Any]) -> Composer:
    """The reward of a worker."""
    return FaultyComposer(build_composer(RewardSettings.model_validate(settings)), orders)


def silent(scores: Scores) -> Scores:
    """As many scores, all missing."""
    missing = {name: torch.full_like(values, torch.nan) for name, values in scores.components.items()}
    return Scores(missing, torch.full_like(scores.total, torch.nan))


def read_ledger(path: Path) -> dict[str, dict[str, str]]:
    """Scores by video, as hexadecimal floats.

    Raises:
        AssertionError: a video was scored twice, differently.
    """
    known: dict[str, dict[str, str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        video, told = json.loads(line)
        if known.setdefault(video, told) != told:
            raise AssertionError(f"video {video} has the scores {known[video]} and {told}")
    return known


def digest(sample: Sample) -> str:
    """A name for a video with what was asked of it."""
    content = sample.video.contiguous().numpy().tobytes() + sample.trajectory.c2w.contiguous().numpy().tobytes()
    return sha256(content + sample.prompt.encode()).hexdigest()[:32]


def _slug(kind: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in kind)
