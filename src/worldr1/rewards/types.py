"""The plain data that rewards take and give."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from torch import Tensor

if TYPE_CHECKING:
    from worldr1.camera.trajectory import Trajectory
    from worldr1.reconstruction.types import Reconstruction


@dataclass(frozen=True)
class Sample:
    """One generated video [T,3,H,W] in [0,1], the prompt it was generated for, and the camera that the prompt asks."""

    video: Tensor
    prompt: str
    trajectory: Trajectory


@dataclass(frozen=True)
class Scores:
    """Components by name, each [B], and their weighted sum [B]. nan = missing (never 0)."""

    components: dict[str, Tensor]
    total: Tensor

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from worldr1.notebook import scores_html

        return scores_html(self)


class Composer(Protocol):
    """The whole reward, such as `worldr1.rewards.compose.RewardComposer`."""

    def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
        """Score B samples; without `use_3d` only by what needs no reconstruction."""
        ...


class Scoring(Protocol):
    """Videos that are scored elsewhere while others are still being made."""

    @property
    def seconds(self) -> float:
        """How long something was being scored, once all is."""
        ...

    def add(self, samples: Sequence[Sample]) -> None:
        """Give the next videos, without waiting for their scores."""
        ...

    def finish(self) -> Scores:
        """Wait for the scores of all videos, in the order in which they came."""
        ...


@runtime_checkable
class PooledComposer(Composer, Protocol):
    """A composer whose work is done elsewhere, such as `worldr1.rewards.pool.pool.RewardPool`."""

    def begin(self, use_3d: bool = True) -> AbstractContextManager[Scoring]:
        """Begin to score videos that come one after another; the scores are those of one call with all of them."""
        ...


class Reward(Protocol):
    """One component of the reward."""

    @property
    def name(self) -> str:
        """The component's name, such as "recon"."""
        ...

    @property
    def needs_reconstruction(self) -> bool:
        """Whether `reconstructions` must be given."""
        ...

    def __call__(self, samples: Sequence[Sample], reconstructions: Sequence[Reconstruction] | None = None) -> Tensor:
        """Score B samples: float tensor [B], nan where the score is missing."""
        ...


def require_reconstructions(
    reward: str, samples: Sequence[Sample], reconstructions: Sequence[Reconstruction] | None
) -> Sequence[Reconstruction]:
    """What a reward of this name was given, one reconstruction for each sample; ValueError where it was not."""
    if reconstructions is None or len(reconstructions) != len(samples):
        given = "none" if reconstructions is None else len(reconstructions)
        raise ValueError(f"{reward} needs one reconstruction for each sample; it got {given} for {len(samples)}.")
    return reconstructions
