"""The usual trainer loop: one sample at a time, 50 steps with guidance, a stochastic update on each of many steps.

No batching over the group, no shared or skipped evaluations, rewards one by one.
The stages are separate so that a benchmark can time a share of each: every sampler step costs the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from worldr1.policy.base import Conditioning, Policy
from worldr1.sampling.stepper import Step, log_prob, sde_step


@dataclass(frozen=True)
class NaiveSettings:
    """steps of the sampler; trained: how many of them are trained; guidance of both; eta of the noise; clip of PPO."""

    steps: int = 50
    trained: int = 24
    guidance: float = 5.0
    eta: float = 0.7
    clip: float = 1e-3


class NaiveTrainer:
    """Samples and updates one video at a time.

    Args:
        policy: unguided (guidance 1); guidance is done here, with two evaluations.
        settings: see there.
    """

    def __init__(self, policy: Policy, settings: NaiveSettings) -> None:
        self.policy, self.settings = policy, settings
        self.sigmas = policy.sigmas(settings.steps)

    def sample(self, prompt: str, noise: Tensor, steps: int) -> list[Tensor]:
        """All states [1, C, T, H, W] along the first `steps` stochastic steps from noise [C, T, H, W]."""
        texts = self.policy.encode([prompt]), self.policy.encode([""])
        states = [noise[None]]
        with torch.no_grad():
            for step in range(steps):
                draw = torch.randn_like(states[-1])
                states.append(self._step(states[-1], step, texts, draw).next)
        return states

    def update(self, prompt: str, states: list[Tensor], advantage: float, optimiser: torch.optim.Optimizer) -> None:
        """Accumulate the clipped policy gradient of the steps between `states`, then step the optimiser."""
        texts = self.policy.encode([prompt]), self.policy.encode([""])
        limit = self.settings.clip
        for step, (state, following) in enumerate(pairwise(states)):
            made = self._step(state, step, texts, torch.zeros_like(state))
            now = log_prob("sde", following, made.mean, made.std)
            ratio = torch.exp(now - now.detach())
            loss = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1 - limit, 1 + limit))
            (loss.mean() / self.settings.trained).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    def _step(self, state: Tensor, step: int, texts: tuple[Conditioning, Conditioning], draw: Tensor) -> Step:
        sigma, sigma_next = self.sigmas[step], self.sigmas[step + 1]
        asked, nothing = (self.policy.velocity(state, sigma.expand(1), text) for text in texts)
        velocity = nothing + self.settings.guidance * (asked - nothing)
        return sde_step(state, velocity, sigma, sigma_next, self.settings.eta, draw)
