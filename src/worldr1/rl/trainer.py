"""Post-training: sample, score, compare within groups, update; in phases, with evaluation and checkpoints."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldr1.data.atomic import whole_directory
from worldr1.policy.base import Conditioning, Policy
from worldr1.policy.sharding import whole
from worldr1.recipes.settings import OptimiserSettings, Recipe
from worldr1.rewards.types import Composer
from worldr1.rl.advantage import Advantages, group_advantages
from worldr1.rl.batch import TrainingPrompts, noise_law, training_batch
from worldr1.rl.checkpoint import load_checkpoint, newest_intact, save_checkpoint
from worldr1.rl.distributed import World
from worldr1.rl.draws import Draws, step_draws
from worldr1.rl.ema import Ema, warm_decay
from worldr1.rl.gradients import Told, add_gradients, add_gradients_before
from worldr1.rl.health import require_finite, warn_of_ratios
from worldr1.rl.held_out import HeldOut
from worldr1.rl.metrics import MetricsWriter, Value
from worldr1.rl.objectives import Objective, summarise
from worldr1.rl.preserve import preservation_of
from worldr1.rl.run import RunDirectory
from worldr1.rl.schedule import PhaseSchedule
from worldr1.rl.scored import sample_and_score
from worldr1.rl.scoring import gather_scores, reward_means
from worldr1.rl.seeds import Stream
from worldr1.rl.signal import component_spreads, silent_sentence, training_signal
from worldr1.rl.state import TrainingState
from worldr1.sampling.rollout import Rollout

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What a run is made of.

    Attributes:
        policy: the model that learns.
        objective: how it learns.
        composer: the reward.
        prompts: the training prompts of both phases.
        held_out: the prompts of evaluation; empty for none.
    """

    policy: Policy
    objective: Objective
    composer: Composer
    prompts: TrainingPrompts
    held_out: Sequence[str]


class Trainer:
    """One run in one directory, by one process or by several, which share the videos of every step.

    Args:
        recipe: the settings.
        parts: what they describe; in every process the same.
        run: where to write; the caller holds its lock. All processes must see it.
        world: the processes; None is this one alone. The main one writes.
        stopping: whether the run shall save and stop; asked after every step, and heard in all processes once it is
            true in one.

    Raises:
        ValueError: the videos of a step cannot be shared out evenly.
    """

    def __init__(
        self,
        recipe: Recipe,
        parts: Parts,
        run: RunDirectory,
        world: World | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._world = world = world or World()
        groups, group_size = recipe.schedule.groups, recipe.schedule.group_size
        if groups * group_size % world.size:
            raise ValueError(
                f"a step has {groups * group_size} videos (schedule.groups {groups} x group_size {group_size}), which "
                f"{world.size} processes cannot share evenly; make it a multiple of {world.size}"
            )
        self._recipe = recipe
        self._parts = parts
        self._run = run
        self._stopping = stopping
        self._phases = PhaseSchedule(recipe.schedule.main_steps, recipe.schedule.dynamic_steps)
        settings = recipe.optimiser
        optimiser = torch.optim.AdamW(
            parts.policy.trainable_parameters(),
            lr=settings.lr,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
        )
        self._state = TrainingState(
            parts.policy,
            parts.objective,
            Ema(parts.policy, warm_decay(settings.ema_decay)),
            optimiser,
            settings.extrapolate,
        )
        self._preservation = preservation_of(
            parts.policy, recipe, parts.prompts.dynamic, parts.composer, run.preserved, world
        )
        self._held_out = HeldOut(parts.policy, recipe, parts.held_out, run.samples, world) if parts.held_out else None

    def fit(self, resume: bool = False) -> bool:
        """Train to the end of the recipe, from the newest intact checkpoint of the run when resuming.

        May be interrupted anywhere; a run that is resumed writes the same metrics as one that never stopped.

        Returns:
            Whether it stopped before its end, with a checkpoint of all that is done, as `stopping` asked.

        Raises:
            ValueError: no video of a step has a reward, the gradient is not finite, or no checkpoint is intact.
        """
        step, minutes = self._restore() if resume else (0, 0.0)
        started = time.monotonic() - 60 * minutes
        _, stop = self._clock(started)
        if stop:
            return True
        with self._metrics(step if resume else None) as metrics:
            while not self._over(step, minutes):
                every = self._recipe.evaluation.every
                if step == 0 or (every and step % every == 0):
                    self._evaluate(step, metrics)
                values = self._step(step)
                if metrics is not None:
                    metrics.write("train", step, values)
                step += 1
                minutes, stop = self._clock(started)
                if stop or self._over(step, minutes) or step % self._recipe.checkpoint.every == 0:
                    self._save(step, minutes)
                if stop:
                    return True
            self._evaluate(step, metrics)
        self._save_weights()
        return False

    def _clock(self, started: float) -> tuple[float, bool]:
        """Minutes of training by the main process's clock, and whether any process was asked to stop."""
        told = self._world.gather_values(((time.monotonic() - started) / 60, self._stopping()))
        return told[0][0], any(asked for _, asked in told)

    def _over(self, step: int, minutes: float) -> bool:
        schedule = self._recipe.schedule
        return step >= schedule.total_steps or (schedule.max_minutes is not None and minutes >= schedule.max_minutes)

    def _metrics(self, resume_at: int | None) -> AbstractContextManager[MetricsWriter | None]:
        if self._world.main:
            return MetricsWriter(self._run.metrics, self._run.tensorboard, resume_at)
        return nullcontext()

    def _save(self, step: int, minutes: float) -> None:
        checkpoint = self._state.checkpoint(step, minutes, self._world.main)
        if self._world.main:
            save_checkpoint(self._run.checkpoints, checkpoint, self._recipe.checkpoint.keep)

    def _restore(self) -> tuple[int, float]:
        newest = newest_intact(self._run.checkpoints) if self._world.main else None
        name = self._world.agree(newest.name if newest else None)
        if name is None:
            return 0, 0.0
        checkpoint = load_checkpoint(self._run.checkpoints / name)
        logger.info("resuming at step %d", checkpoint.step)
        return checkpoint.step, self._state.restore(checkpoint)

    def _step(self, step: int) -> dict[str, Value]:
        """Sample, score and update once. Returns the step's metrics."""
        recipe, parts = self._recipe, self._parts
        clip, schedule, policy = recipe.clip, recipe.schedule, parts.policy
        phase = self._phases.phase(step)
        began = time.perf_counter()
        here = self._world.share(schedule.groups * schedule.group_size)
        batch = training_batch(
            parts.prompts.main if phase.use_3d else parts.prompts.dynamic,
            schedule.groups,
            schedule.group_size,
            clip.frames,
            policy.latent_shape(clip.frames, clip.height, clip.width),
            recipe.noise,
            recipe.seed,
            step,
            here,
            recipe.sampling.shared_prefix,
        )
        conditioning = policy.encode(batch.prompts)
        draws = step_draws(Stream.ROLLOUT, recipe.seed, step, len(here), here.start)
        made = sample_and_score(
            policy,
            parts.objective,
            parts.composer,
            batch,
            conditioning,
            draws,
            step,
            phase.use_3d,
            recipe.sampling.micro_batch,
        )
        scores = gather_scores(self._world, made.scores)
        weights, normalise = recipe.reward.weights, recipe.reward.normalise
        advantages = group_advantages(
            training_signal(scores, weights, schedule.group_size, normalise),
            schedule.group_size,
            clip=recipe.advantage.bound,
            global_std=recipe.advantage.scale == "batch",
        )
        if advantages.missing == len(advantages.values):
            raise ValueError(silent_sentence(scores, step))
        scored = time.perf_counter()
        law = noise_law(batch.trajectories, batch.noise.shape[1:], recipe.noise)
        draws = replace(step_draws(Stream.LOSS, recipe.seed, step, len(here), here.start), law=law)
        learned = self._update(made.rollout, conditioning, advantages, step, draws)
        ended = time.perf_counter()
        values: dict[str, Value] = {
            "phase": phase.kind,
            **reward_means(scores),
            "reward/group_std": _group_std(scores.total, schedule.group_size),
            **component_spreads(scores, schedule.group_size),
            "groups/used": schedule.groups - advantages.skipped_groups,
            "groups/skipped": advantages.skipped_groups,
            **learned,
            "time/rollout": made.sampled - began,
            "time/reward": scored - made.sampled,
            "time/reward_hidden": made.hidden,
            "time/update": ended - scored,
            "time/total": ended - began,
        }
        total, seconds = values["reward/total"], values["time/total"]
        logger.info("step %d/%d %s reward %.3f, %.1f s", step + 1, schedule.total_steps, phase.kind, total, seconds)
        return values

    def _update(
        self, made: Rollout, conditioning: Conditioning, advantages: Advantages, step: int, draws: Draws
    ) -> dict[str, Value]:
        """All optimiser steps on one rollout. Returns averages of what they tell."""
        recipe, parts = self._recipe, self._parts
        rate = learning_rate(recipe.optimiser, step, recipe.schedule.total_steps)
        for group in self._state.optimiser.param_groups:
            group["lr"] = rate
        terms: Told = []
        norms = []
        self._state.optimiser.zero_grad(set_to_none=True)
        for term in parts.objective.losses(parts.policy, made, conditioning, advantages.values, draws):
            if term.end_of_update and self._preservation is not None:
                kept = self._preservation.losses(parts.policy, step)
                terms += add_gradients_before(term, kept, parts.policy.trainable_parameters())
            else:
                terms += add_gradients([term])
            if term.end_of_update:
                norms.append(self._descend(step))
        parts.objective.after_step(parts.policy)
        self._state.ema.update(parts.policy)
        everywhere = [term for told in self._world.gather_values(terms) for term in told]
        told: dict[str, Value] = {f"loss/{name}": value for name, value in summarise(everywhere).items()}
        if self._world.main:
            warn_of_ratios(told, step)
        return {**told, "gradient_norm": sum(norms) / len(norms) if norms else math.nan, "learning_rate": rate}

    def _descend(self, step: int) -> float:
        parameters = self._parts.policy.trainable_parameters()
        self._world.sum_gradients(parameters)
        norm = float(whole(torch.nn.utils.clip_grad_norm_(parameters, self._recipe.optimiser.clip_norm)))
        require_finite(norm, step)
        self._state.optimiser.step()
        self._state.optimiser.zero_grad(set_to_none=True)
        return norm

    def _evaluate(self, step: int, metrics: MetricsWriter | None) -> None:
        if self._held_out is None:
            return
        began = time.perf_counter()
        with self._state.result():
            values = self._held_out.evaluate(self._parts.policy, self._parts.composer, step)
        if metrics is not None:
            metrics.write("evaluation", step, {**values, "time/total": time.perf_counter() - began})
        logger.info("held-out prompts before step %d: reward %.3f", step + 1, values["reward/total"])

    def _save_weights(self) -> None:
        final = self._run.lora if self._recipe.model.adapter == "lora" else self._run.pipeline
        with self._state.result():
            if not self._world.main:
                self._parts.policy.save(None)
                return
            with whole_directory(final) as folder:
                self._parts.policy.save(folder)


def learning_rate(settings: OptimiserSettings, step: int, total_steps: int) -> float:
    """A linear rise over `warmup_steps`, and a linear fall to `final_lr` x lr at the last step."""
    rise = min(1.0, (step + 1) / (settings.warmup_steps + 1))
    fall = 1.0 - (1.0 - settings.final_lr) * min(1.0, step / max(1, total_steps - 1))
    return settings.lr * rise * fall


def _group_std(rewards: Tensor, group_size: int) -> float:
    grouped = rewards.double().reshape(-1, group_size)
    centred = grouped - grouped.nanmean(1, keepdim=True)
    return float(centred.square().nanmean(1).sqrt().nanmean())
