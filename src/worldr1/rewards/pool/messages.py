"""What a dispatcher and its workers tell each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from worldr1.rewards.types import Sample


@dataclass(frozen=True, eq=False)
class Request:
    """A batch to score.

    Attributes:
        id: its name, which no other request of the pool ever has.
        samples: N videos.
        use_3d: as `RewardComposer` takes it.
        names: the components that must come back.
    """

    id: int
    samples: Sequence[Sample]
    use_3d: bool
    names: tuple[str, ...]


@dataclass(frozen=True)
class Ready:
    """A worker has its models, or is still there."""

    worker: int


@dataclass(frozen=True, eq=False)
class Answered:
    """Scores of a request, each [N]."""

    worker: int
    request: int
    scores: Mapping[str, Tensor]


@dataclass(frozen=True)
class Failed:
    """The reward raised; the worker lives."""

    worker: int
    request: int
    reason: str


@dataclass(frozen=True)
class Died:
    """A worker is gone."""

    worker: int
    reason: str


Event = Ready | Answered | Failed | Died


class Workers(Protocol):
    """A way to workers, each of which scores its requests one after another, in the order in which they were sent."""

    def start(self) -> int:
        """Begin a worker and give its number, which no other ever has; it is Ready later."""
        ...

    def greet(self, worker: int) -> None:
        """Ask a worker to say that it is Ready."""
        ...

    def send(self, worker: int, request: Request) -> None:
        """Give a worker something to score."""
        ...

    def stop(self, worker: int) -> None:
        """End a worker at once, also one that is dead or frozen."""
        ...

    def poll(self, seconds: float) -> Sequence[Event]:
        """What was said since the last time; waits until something is, or so many seconds."""
        ...
