"""Rows of the training step of the tiny world: ours against the naive per-sample loop, and each stage's arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import Row, Setting, paired, scaling_row, timed
from benchmarks.peers.naive_trainer import NaiveSettings, NaiveTrainer
from benchmarks.reward import composer
from worldr1.policy.wan import WanPolicy
from worldr1.recipes.files import load_recipe
from worldr1.recipes.settings import Recipe
from worldr1.rl.assemble import build_objective, training_prompts
from worldr1.rl.assemble_policy import load_policy
from worldr1.rl.batch import Batch, training_batch
from worldr1.rl.draws import step_draws
from worldr1.rl.scoring import decode, score
from worldr1.rl.seeds import Stream
from worldr1.sampling.rollout import Rollout

STAGES = ("rollout", "decode", "reward", "update")
SIDE = 1024
PEER_STEPS = 2


@dataclass(frozen=True)
class Parts:
    """The tiny recipe and what it describes."""

    recipe: Recipe
    policy: WanPolicy
    prompts: tuple[str, ...]


@lru_cache(maxsize=2)
def _parts(quick: bool) -> Parts:
    recipe = load_recipe("tiny")
    if quick:
        sampling = recipe.sampling.model_copy(update={"steps": 1, "window_range": (0, 1)})
        recipe = recipe.model_copy(update={"sampling": sampling})
    return Parts(recipe, load_policy(recipe), tuple(training_prompts(recipe).main[:8]))


@lru_cache(maxsize=1)
def _group(quick: bool) -> Ours:
    """One group of the recipe's size, sampled and decoded."""
    return Ours(_parts(quick), 2 if quick else 8)


def rows(setting: Setting) -> dict[str, Callable[[], Row]]:
    """All rows of this file by name, not yet run."""
    found: dict[str, Callable[[], Row]] = {"step_group_8": partial(_step, setting)}
    for stage in STAGES:
        found[f"step_{stage}"] = partial(_stage, stage, setting)
    found["rollout_group_size"] = partial(_group_size, setting)
    return found


class Ours:
    """The stages of one training step of one group, each on what the one before left."""

    def __init__(self, parts: Parts, group_size: int) -> None:
        self.parts, recipe = parts, parts.recipe
        self.objective = build_objective(recipe, parts.policy)
        self.batch = _batch_of(parts, group_size)
        self.text = parts.policy.encode(self.batch.prompts)
        self.advantages = torch.linspace(-1, 1, group_size)
        self.optimiser = torch.optim.AdamW(parts.policy.trainable_parameters(), lr=0.0)
        self.made: Rollout = self.rollout()
        self.videos: Tensor = self.decode()

    def rollout(self) -> Rollout:
        """Sample the group."""
        draws = step_draws(Stream.ROLLOUT, 0, 0, len(self.advantages))
        self.made = self.objective.collect(self.parts.policy, self.text, self.batch.noise, draws, 0)
        return self.made

    def decode(self) -> Tensor:
        """Latents to videos."""
        self.videos = decode(self.parts.policy, self.made.latents)
        return self.videos

    def reward(self) -> Tensor:
        """All scores."""
        return score(composer(), self.batch, self.videos).total

    def update(self) -> None:
        """Loss, gradient and optimiser step, at rate 0 so that every run does the same."""
        draws = step_draws(Stream.LOSS, 0, 0, len(self.advantages))
        for term in self.objective.losses(self.parts.policy, self.made, self.text, self.advantages, draws):
            term.loss.backward()
            if term.end_of_update:
                self.optimiser.step()
                self.optimiser.zero_grad(set_to_none=True)

    def step(self) -> None:
        """All four."""
        for stage in STAGES:
            getattr(self, stage)()


def _batch_of(parts: Parts, group_size: int) -> Batch:
    clip, recipe = parts.recipe.clip, parts.recipe
    shape = parts.policy.latent_shape(clip.frames, clip.height, clip.width)
    return training_batch(parts.prompts, 1, group_size, clip.frames, shape, recipe.noise, recipe.seed, 0)


def naive_stages(quick: bool) -> dict[float, Callable[[], object]]:
    """The naive loop's work for one video in stages, by how often a video needs them; its rate of learning is 0."""
    parts, batch, settings = _parts(quick), _group(quick).batch, NaiveSettings()
    naive = NaiveTrainer(parts.policy, settings)
    prompt, noise = batch.prompts[0], batch.noise[0]
    optimiser = torch.optim.AdamW(parts.policy.trainable_parameters(), lr=0.0)
    counted = 1 if quick else PEER_STEPS
    states = naive.sample(prompt, noise, counted)
    one = Batch(batch.prompts[:1], batch.trajectories[:1], batch.noise[:1])
    return {
        settings.steps / counted: partial(naive.sample, prompt, noise, counted),
        settings.trained / counted: partial(naive.update, prompt, states, 1.0, optimiser),
        1.0: lambda: score(composer(), one, decode(parts.policy, states[-1])),
    }


def _step(setting: Setting) -> Row:
    """Seconds per video of a whole training step; the peer's from a share of its equal steps."""
    ours, settings = _group(setting.quick), NaiveSettings()
    group, shares = len(ours.batch.prompts), naive_stages(setting.quick)
    times = {share: timed(work)[0] for share, work in shares.items()}
    naive_video = sum(share * spent for share, spent in times.items())
    counted = sum(times.values())
    pairs = paired(
        ours.step,
        lambda: [work() for work in shares.values()],
        setting.runs,
        ours_seconds=lambda spent: spent / group,
        peer_seconds=lambda spent: spent * naive_video / counted,
    )
    return Row(
        "step_group_8",
        *(pairs.ours, pairs.peer, pairs.ratio, pairs.runs),
        f"seconds per video: rollout, decode, reward and update of a group of {group}; the peer one by one, "
        f"{settings.steps} guided steps of which {settings.trained} are trained, a few of each timed",
        *(pairs.peak_mb, pairs.peer_peak_mb),
    )


def _stage(stage: str, setting: Setting) -> Row:
    """Seconds of one stage for the group; the peer is its products of matrices at the measured rate."""
    ours = _group(setting.quick)
    group = len(ours.batch.prompts)
    work: Callable[[], object] = getattr(ours, stage)
    operations = _operations(work)
    dtype = ours.parts.policy.autocast if stage in ("rollout", "update") else None
    side = 128 if setting.quick else SIDE
    left, right = (torch.randn(side, side).to(dtype or torch.float32) for _ in range(2))
    pairs = paired(
        work,
        lambda: left @ right,
        setting.runs,
        peer_seconds=lambda spent: operations * spent / (2 * side**3),
    )
    return Row(
        f"step_{stage}",
        *(pairs.ours, pairs.peer, pairs.ratio, pairs.runs),
        f"group of {group}; the peer is its matrix arithmetic at the rate of a product of {side}x{side} matrices",
        *(pairs.peak_mb, None),
        agreement={"GFLOP": operations / 1e9, "times its arithmetic": 1 / pairs.ratio if pairs.ratio else float("inf")},
    )


def _operations(work: Callable[[], object]) -> int:
    """Multiplications and additions of all matrix products and convolutions that torch sees."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def _group_size(setting: Setting) -> Row:
    parts, sizes = _parts(setting.quick), (1, 2) if setting.quick else (2, 4, 8, 16)

    def make(size: float) -> Callable[[], object]:
        return Ours(parts, int(size)).rollout

    return scaling_row("rollout_group_size", sizes, make, setting.runs, "sampling a whole group, against its size")
