"""Where the reward is computed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from worldr1.recipes.base import Positive, Settings

RewardName = Literal["meta", "recon", "traj", "general"]


class WorkerSettings(Settings):
    """The processes that score for one part of the reward."""

    workers: tuple[Positive, Positive] = (1, 1)
    """At least and at most so many; between the two, as many as there are batches."""
    cpus: Annotated[float, Field(ge=0.0)] = 1.0
    """Processor cores of a worker, and its threads."""
    gpus: Annotated[float, Field(ge=0.0)] = 0.0
    """Share of a GPU of a worker: 0.25 puts four on one."""
    environment: dict[str, Any] = Field(default_factory=dict)
    """Ray's runtime environment, such as {pip: [...], env_vars: {...}}; empty is the trainer's own."""

    @model_validator(mode="after")
    def _workers_rise(self) -> WorkerSettings:
        if self.workers[0] > self.workers[1]:
            raise ValueError(f"workers is {self.workers}; give the least number first, then the greatest")
        return self


class ApartSettings(WorkerSettings):
    """A component of the reward with workers of its own."""

    reward: RewardName


class PoolSettings(WorkerSettings):
    """Where the reward is computed: in the training process, or by workers of a Ray cluster."""

    kind: Literal["local", "ray"] = "local"
    """In the training process; or by Ray workers, while the next `sampling.micro_batch` videos are sampled."""
    batch: Positive | None = None
    """Videos decoded and scored at once, which bounds the machine's memory; None takes all of a step. 'ray' needs a
    number, so that workers share a step."""
    video_bits: Literal[8, 32] = 32
    """Bits of a video's values on their way to workers of 'ray': 8 are a quarter of the bytes and move scores a bit."""
    in_flight: Positive = 2
    """Batches that a worker holds at most: the one it scores, and the next ones."""
    timeout: Annotated[float, Field(gt=0.0)] = 600.0
    """Seconds in which a worker must score a batch; beyond them it is replaced."""
    start_timeout: Annotated[float, Field(gt=0.0)] = 1800.0
    """Seconds in which a worker must have its environment, its place on the cluster and its models."""
    attempts: Positive = 3
    """How often a batch is tried, each time by another worker if there is one; after them its scores are missing."""
    apart: tuple[ApartSettings, ...] = ()
    """Components with workers of their own; the others share the pool's, which rebuild each scene once."""

    @model_validator(mode="after")
    def _shares_a_step(self) -> PoolSettings:
        if self.kind == "ray" and self.batch is None:
            raise ValueError("kind 'ray' needs batch, the number of videos that a worker gets at once, such as 4")
        names = [part.reward for part in self.apart]
        if len(set(names)) < len(names):
            raise ValueError(f"apart names a reward twice: {', '.join(names)}")
        return self
