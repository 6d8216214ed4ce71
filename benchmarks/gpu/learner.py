"""The update of one training step, with what a trainer keeps beside the adapter, and whether it went as it must."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from worldr1.policy.base import Conditioning
from worldr1.policy.diffusers_policy import DiffusersPolicy
from worldr1.recipes.settings import Recipe
from worldr1.rl.batch import Batch, noise_law
from worldr1.rl.draws import step_draws
from worldr1.rl.ema import Ema, warm_decay
from worldr1.rl.gradients import add_gradients
from worldr1.rl.objectives import Objective
from worldr1.rl.seeds import Stream
from worldr1.rl.trainer import learning_rate
from worldr1.sampling.rollout import Rollout

_INTEGERS = {2: torch.int16, 4: torch.int32}


class Learner:
    """An optimiser and an average of the adapter, as the trainer of the recipe has them."""

    def __init__(self, recipe: Recipe, policy: DiffusersPolicy, objective: Objective) -> None:
        self._recipe = recipe
        self._policy = policy
        self._objective = objective
        settings = recipe.optimiser
        self._optimiser = torch.optim.AdamW(
            policy.trainable_parameters(),
            lr=learning_rate(settings, 0, recipe.schedule.total_steps),
            betas=settings.betas,
            weight_decay=settings.weight_decay,
        )
        self._average = Ema(policy, warm_decay(settings.ema_decay))

    def update(self, batch: Batch, text: Conditioning, made: Rollout) -> list[float]:
        """All optimiser steps on a rollout of two videos, one better than the other. Returns the losses."""
        recipe, policy = self._recipe, self._policy
        law = noise_law(batch.trajectories, batch.noise.shape[1:], recipe.noise)
        draws = replace(step_draws(Stream.LOSS, recipe.seed, 0, len(batch.prompts)), law=law)
        losses = []
        self._optimiser.zero_grad(set_to_none=True)
        for term in self._objective.losses(policy, made, text, torch.tensor([1.0, -1.0]), draws):
            add_gradients([term])
            losses.append(float(term.loss.detach()))
            if term.end_of_update:
                torch.nn.utils.clip_grad_norm_(policy.trainable_parameters(), recipe.optimiser.clip_norm)
                self._optimiser.step()
                self._optimiser.zero_grad(set_to_none=True)
        self._objective.after_step(policy)
        self._average.update(policy)
        return losses


def fingerprints(network: nn.Module) -> dict[str, int]:
    """A number for each parameter that changes with any of its bits: the sum of them all, read as integers."""
    return {
        name: int(parameter.detach().view(_INTEGERS[parameter.element_size()]).sum(dtype=torch.int64))
        for name, parameter in network.named_parameters()
    }


def check(before: Mapping[str, int], after: Mapping[str, int], losses: Sequence[float]) -> None:
    """Raises RuntimeError unless an update went as it must; `before` and `after` are fingerprints."""
    if not all(map(math.isfinite, losses)):
        raise RuntimeError(f"the step is not finite: losses {list(losses)}")
    moved = {name for name, number in after.items() if number != before[name]}
    if not moved:
        raise RuntimeError("the update moved nothing")
    foreign = sorted(name for name in moved if "lora_" not in name)
    if foreign:
        raise RuntimeError(f"the update moved more than the adapter: {foreign[0]}")
