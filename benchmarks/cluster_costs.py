"""What the stages of World-R1-Large cost on a cluster, each with where the number comes from."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from worldr1.camera.trajectory import Trajectory
from worldr1.planning.plan import Plan, make_plan
from worldr1.recipes import load_recipe
from worldr1.recipes.settings import Recipe
from worldr1.rewards.pool.dispatcher import Dispatcher, Limits
from worldr1.rewards.pool.messages import Answered, Event, Ready, Request
from worldr1.rewards.pool.pool import Group, RewardPool
from worldr1.rewards.types import Sample

LARGE = "Wan-AI/Wan2.1-T2V-14B-Diffusers"
GROUPS = 48
_COMPONENTS = ("meta", "recon", "traj", "general")
_RENDER = 1.0
_RESTART = 120.0
_DEATH = 1e-3
_JITTER = 0.05
_FLOAT = 4


@dataclass(frozen=True)
class Cost:
    """A number and its source: counted (from shapes, at an assumed rate), measured (here), assumed, or the paper's."""

    value: float
    unit: str
    source: str
    note: str


def large(name: str) -> Recipe:
    """A shipped recipe with the 14B model and the paper's 48 groups."""
    recipe = load_recipe(name)
    return recipe.model_copy(
        update={
            "model": recipe.model.model_copy(update={"path": LARGE}),
            "schedule": recipe.schedule.model_copy(update={"groups": GROUPS}),
        }
    )


def costs(recipe: Recipe, tflops: float, gbit: float) -> dict[str, Cost]:
    """By name; of one video where nothing else is said."""
    plan, schedule, clip = make_plan(recipe, tflops), recipe.schedule, recipe.clip
    videos = schedule.groups * schedule.group_size
    seconds = {name: spent / videos for name, spent in plan.seconds.items()}
    shape = f"{clip.frames}x3x{clip.height}x{clip.width}"
    at = f"at {tflops:g} TFLOP/s in bfloat16, which an H100 or H200 is assumed to keep up"
    size = float(_FLOAT * 3 * clip.frames * clip.height * clip.width)
    sampling = f"{plan.evaluations.rollout:g} evaluations of 14B, {at}"
    return {
        "sample": Cost(seconds["rollout"], "s", "counted", sampling),
        "decode": Cost(seconds["decode"], "s", "counted", f"VAE in float32, an eighth of that rate ({tflops / 8:g})"),
        "update": Cost(seconds["update"], "s", "counted", f"{plan.evaluations.update:g} evaluations' worth, {at}"),
        "models": Cost(seconds["rewards"], "s", "counted", f"{_models(plan)}, {at}"),
        "render": Cost(_RENDER, "s", "assumed", "splats and LPIPS on the card"),
        "video": Cost(size / 1e6, "MB", "counted", f"{shape} in float32, as the pool sends it"),
        "network": Cost(gbit / 8, "GB/s", "assumed", f"one process sending over TCP, {gbit:g} Gbit/s"),
        "copy": Cost(copy_rate() / 1e9, "GB/s", "measured", "a copy in memory here, as into the object store"),
        "jitter": Cost(_JITTER, "", "assumed", "relative spread of every stage"),
        "death": Cost(_DEATH, "a batch", "assumed", "a worker dies while scoring"),
        "restart": Cost(_RESTART, "s", "assumed", "another worker is placed and loads its models"),
    }  # fmt: skip


def _models(plan: Plan) -> str:
    return ", ".join(cost.model for cost in plan.rewards if cost.flops)


def copy_rate(size: int = 2**26) -> float:
    """Bytes a second of CPU time that one thread copies."""
    source, target = np.ones(size, np.uint8), np.empty(size, np.uint8)
    np.copyto(target, source)
    began = time.process_time()
    np.copyto(target, source)
    return size / (time.process_time() - began)


class Instant:
    """Workers that are ready, and answer, at once; each of their words comes alone."""

    def __init__(self) -> None:
        self._said: deque[Event] = deque()
        self._started = 0

    def start(self) -> int:
        """One more."""
        self._started += 1
        self.greet(self._started)
        return self._started

    def greet(self, worker: int) -> None:
        """It lives."""
        self._said.append(Ready(worker))

    def send(self, worker: int, request: Request) -> None:
        """It has scored."""
        scores = torch.zeros(len(request.samples))
        self._said.append(Answered(worker, request.id, dict.fromkeys(request.names, scores)))

    def stop(self, worker: int) -> None:
        """Nothing is left of it."""

    def poll(self, seconds: float) -> Sequence[Event]:
        """The oldest word."""
        return [self._said.popleft()] if self._said else []


def dispatch_seconds(workers: int, batches: int | None = None) -> float:
    """CPU seconds that the pool's own dispatcher takes for a batch, with so many workers in its second step."""
    count = batches or max(200, 2 * workers)
    dispatcher = Dispatcher(Instant(), Limits(workers=(workers, workers)))
    pool = RewardPool([Group(dict.fromkeys(_COMPONENTS, True), dispatcher)], dict.fromkeys(_COMPONENTS, 1.0), batch=1)
    samples = [Sample(torch.zeros(1, 3, 2, 2), "", Trajectory.from_moves((), 1))] * count
    pool(samples)
    began = time.process_time()
    pool(samples)
    return (time.process_time() - began) / count
