"""A reward whose parts tell a clock how long they take."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from benchmarks.gpu.clock import Clock
from worldr1.camera.trajectory import Trajectory
from worldr1.reconstruction.types import Reconstruction, Reconstructor
from worldr1.rewards.compose import RewardComposer
from worldr1.rewards.types import Reward, Sample


def tell(composer: RewardComposer, clock: Clock) -> None:
    """From now on the reconstructor and every reward of `composer` is a stage of `clock`."""
    composer.rewards = {name: TimedReward(name, reward, clock) for name, reward in composer.rewards.items()}
    if composer.reconstructor is not None:
        composer.reconstructor = TimedReconstructor(composer.reconstructor, clock)


class TimedReward:
    """A reward as it is, under a clock."""

    def __init__(self, name: str, reward: Reward, clock: Clock) -> None:
        self.name = name
        self.needs_reconstruction = reward.needs_reconstruction
        self._reward = reward
        self._clock = clock

    def __call__(self, samples: Sequence[Sample], reconstructions: Sequence[Reconstruction] | None = None) -> Tensor:
        """As the reward."""
        with self._clock.stage(f"reward: {self.name}", f"{len(samples)} videos"):
            return self._reward(samples, reconstructions)


class TimedReconstructor:
    """A reconstructor as it is, under a clock."""

    def __init__(self, reconstructor: Reconstructor, clock: Clock) -> None:
        self._reconstructor = reconstructor
        self._clock = clock

    def __call__(self, videos: Tensor, trajectories: Sequence[Trajectory] | None = None) -> list[Reconstruction]:
        """As the reconstructor."""
        with self._clock.stage("reconstruction", f"{len(videos)} videos"):
            return list(self._reconstructor(videos, trajectories))
