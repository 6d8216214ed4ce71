"""DiffusionNFT (arXiv 2509.16117): learn from good and bad samples on the forward process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from worldr1.policy.base import Conditioning, Policy
from worldr1.rl.draws import Draws
from worldr1.rl.ema import Ema, linear_decay
from worldr1.rl.objectives import LossTerm, split_evenly, valid_by_process, valid_chunks
from worldr1.sampling.rollout import Rollout, rollout


@dataclass(frozen=True)
class NFTSettings:
    """Settings of :class:`DiffusionNFT`.

    Attributes:
        steps: sampler steps.
        times: noise levels per sample and rollout.
        time_range: (lowest, highest) noise level.
        beta: how far the implicit policies lie from the old one.
        advantage_clip: the advantage that counts as certainly good: r = clip(A / (2 advantage_clip) + 1/2, 0, 1).
        penalty: weight of the squared distance of the velocity from the frozen base's; 0 saves its evaluation.
        old_decay_rate: the old policy's decay after n training steps is min(old_decay_limit, old_decay_rate n).
        old_decay_limit: see ``old_decay_rate``.
        updates: optimizer steps per rollout.
        micro_batch: samples per network evaluation; None takes the whole batch.

    Raises:
        ValueError: for values outside their ranges.
    """

    steps: int = 10
    times: int = 4
    time_range: tuple[float, float] = (0.05, 1.0)
    beta: float = 1.0
    advantage_clip: float = 5.0
    penalty: float = 1e-4
    old_decay_rate: float = 0.001
    old_decay_limit: float = 0.5
    updates: int = 1
    micro_batch: int | None = None

    def __post_init__(self) -> None:
        low, high = self.time_range
        if not 0.0 < low < high <= 1.0:
            raise ValueError(f"time_range must satisfy 0 < low < high <= 1, got {self.time_range}")
        if self.times < 1 or self.updates < 1 or (self.micro_batch is not None and self.micro_batch < 1):
            raise ValueError("times, updates and micro_batch must be at least 1")
        if self.beta <= 0 or self.advantage_clip <= 0:
            raise ValueError(f"beta and advantage_clip must be positive, got {self.beta} and {self.advantage_clip}")


class DiffusionNFT:
    """Samples come from the plain ODE of a slow copy of the policy; no likelihoods are needed."""

    def __init__(self, settings: NFTSettings, policy: Policy) -> None:
        self.settings = settings
        self.old = Ema(policy, linear_decay(settings.old_decay_rate, settings.old_decay_limit))

    def collect(self, policy: Policy, conditioning: Conditioning, noise: Tensor, draws: Draws, step: int) -> Rollout:
        """Sample the ODE with the old policy."""
        s = self.settings
        with self.old.applied(policy):
            return rollout(policy, conditioning, noise, policy.sigmas(s.steps), micro_batch=s.micro_batch)

    def losses(
        self,
        policy: Policy,
        rollout: Rollout,
        conditioning: Conditioning,
        advantages: Tensor,
        draws: Draws,
    ) -> Iterator[LossTerm]:
        """mean [ r |x0+ - x0|^2 / w+ + (1 - r) |x0- - x0|^2 / w- ] / beta + penalty |v - v_base|^2.

        x0+ and x0- are estimates from x_t = (1 - t) x0 + t eps, eps of the law that rollouts start from, with
        velocities v+ = beta v + (1 - beta) v_old and v- = (1 + beta) v_old - beta v; w = mean |estimate - x0| without
        gradient; means over valid samples and times.
        """
        s = self.settings
        here = slice(draws.first, draws.first + len(rollout))
        valid = valid_by_process(advantages, len(rollout))
        own = advantages[here]
        times = stratified_times(len(advantages), s.times, s.time_range, draws.shared)[:, here]
        parts = valid_chunks(valid, s.micro_batch)
        units = [(k, part) for k in range(s.times) for part in parts]
        for update in split_evenly(units, s.updates):
            total = sum(int(valid[:, part].sum()) for _, part in update)
            for index, (k, part) in enumerate(update):
                losses, statistics = self._loss(
                    policy, rollout, conditioning, own, times[k], _valid_rows(own, part), draws
                )
                yield LossTerm(losses.sum() / total, statistics, len(losses), index == len(update) - 1)

    def after_step(self, policy: Policy) -> None:
        """Move the old policy towards the present one."""
        self.old.update(policy)

    def state_dict(self) -> dict[str, Tensor | int]:
        """The old policy."""
        return self.old.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor | int]) -> None:
        """Put the old policy back."""
        self.old.load_state_dict(state)

    def _loss(
        self,
        policy: Policy,
        rollout: Rollout,
        conditioning: Conditioning,
        advantages: Tensor,
        times: Tensor,
        valid: Tensor,
        draws: Draws,
    ) -> tuple[Tensor, dict[str, float]]:
        s = self.settings
        rows = valid if len(valid) else torch.zeros(1, dtype=torch.int64)  # the network must run here as elsewhere
        x0 = rollout.latents[rows.to(rollout.latents.device)]
        text = conditioning.index(rows.to(conditioning.embeds.device))
        certainty = advantages[rows.to(advantages.device)].nan_to_num() / (2 * s.advantage_clip)
        good = (certainty + 0.5).clamp(0, 1).to(x0.device)
        t = times[rows].to(x0.device)
        level = t.reshape(-1, *[1] * (x0.ndim - 1))
        eps = (draws.noise(rows.tolist(), x0.shape[1:]) if len(valid) else torch.zeros(x0.shape)).to(x0.device)
        x = (1 - level) * x0 + level * eps

        with torch.no_grad():
            with self.old.applied(policy):
                old = policy.velocity(x, t, text)
            base = None
            if s.penalty:
                with policy.base():
                    base = policy.velocity(x, t, text)
        velocity = policy.velocity(x, t, text)
        positive = _estimate_error(x - level * (s.beta * velocity + (1 - s.beta) * old), x0)
        negative = _estimate_error(x - level * ((1 + s.beta) * old - s.beta * velocity), x0)
        losses = (good * positive + (1 - good) * negative) / s.beta
        if not len(valid):
            return losses[:0], {}
        statistics = {
            "policy_loss": float(losses.detach().mean()),
            "old_distance": float((velocity.detach() - old).square().mean()),
        }
        if base is not None:
            distance = (velocity - base).square().flatten(1).mean(1)
            losses = losses + s.penalty * distance
            statistics["base_distance"] = float(distance.detach().mean())
        return losses, statistics


def stratified_times(batch: int, times: int, time_range: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Noise levels [times, batch], uniform in ``time_range``, spread over the batch and over each sample's times.

    Row k has one value in each of ``batch`` equal strata, and a sample's values follow each other at 1 / times of the
    range, plus jitter within the stratum.
    """
    place = torch.randperm(batch, generator=generator, device=generator.device).cpu()
    jitter = torch.rand(times, batch, generator=generator, device=generator.device).cpu()
    shift = torch.arange(times)[:, None] / times
    low, high = time_range
    return low + (high - low) * (((place + jitter) / batch + shift) % 1.0)


def _valid_rows(advantages: Tensor, part: slice) -> Tensor:
    return torch.arange(len(advantages))[part][advantages[part].isfinite().cpu()]


def _estimate_error(estimate: Tensor, x0: Tensor) -> Tensor:
    error = (estimate - x0).flatten(1)
    scale = error.detach().abs().mean(1).clamp_min(1e-5)
    return error.square().mean(1) / scale
