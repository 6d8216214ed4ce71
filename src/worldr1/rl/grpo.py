"""Flow-GRPO (arXiv 2505.05470): clipped policy gradient on the stochastic steps of the sampler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from worldr1.policy.base import Conditioning, Policy
from worldr1.rl.draws import Draws
from worldr1.rl.objectives import LossTerm, split_evenly, valid_by_process, valid_chunks
from worldr1.sampling.rollout import Rollout, rollout
from worldr1.sampling.stepper import Law, Step, log_prob, stochastic_step


@dataclass(frozen=True)
class GRPOSettings:
    """Settings of :class:`FlowGRPO`.

    Attributes:
        steps: sampler steps.
        window: stochastic (and trained) steps per rollout; ``steps`` makes it the full Flow-GRPO.
        window_range: [first, end) steps between which the window lies.
        eta: amount of noise of the stochastic steps.
        law: ``"sde"`` (Flow-GRPO) or ``"cps"`` (Flow-CPS).
        clip: the ratio is clipped to [1 - clip, 1 + clip].
        kl: weight of the divergence from the frozen base; 0 saves its network evaluation.
        epochs: passes over a rollout.
        updates: optimizer steps per pass.
        micro_batch: samples per network evaluation, in sampling and training alike; None takes the whole batch.
        seed: of the window's place.
        guard: GRPO-Guard (arXiv 2510.22319): ratios with mean 1 and one spread at all noise levels (equation 8), and
            losses over the step's length, so that gradients weigh noise levels alike (equation 12, for Flow-GRPO). Its
            ratios lie far nearer to 1: clip at 2e-6 to 4e-6.

    Raises:
        ValueError: for a window that does not fit its range, counts below 1, or ``guard`` under another law than "sde".
    """

    steps: int = 10
    window: int = 2
    window_range: tuple[int, int] = (0, 5)
    eta: float = 0.7
    law: Law = "sde"
    clip: float = 1e-3
    kl: float = 0.0
    epochs: int = 1
    updates: int = 1
    micro_batch: int | None = None
    seed: int = 0
    guard: bool = False

    def __post_init__(self) -> None:
        first, end = self.window_range
        if not (first >= 0 and 1 <= self.window <= end - first and end <= self.steps):
            raise ValueError(
                f"a window of {self.window} steps must fit into window_range {self.window_range} of {self.steps} steps"
            )
        if self.epochs < 1 or self.updates < 1 or (self.micro_batch is not None and self.micro_batch < 1):
            raise ValueError("epochs, updates and micro_batch must be at least 1")
        if self.guard and self.law != "sde":
            raise ValueError(f"guard normalises the ratios of the law 'sde', not those of {self.law!r}")


class FlowGRPO:
    """Flow-GRPO, and Flow-GRPO-Fast when the window is shorter than the path."""

    def __init__(self, settings: GRPOSettings) -> None:
        self.settings = settings

    def window(self, step: int) -> tuple[int, int]:
        """The stochastic steps [first, end) of training step ``step``: the same in every group and process."""
        first, end = self.settings.window_range
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + step)
        start = int(torch.randint(first, end - self.settings.window + 1, (1,), generator=generator))
        return start, start + self.settings.window

    def collect(self, policy: Policy, conditioning: Conditioning, noise: Tensor, draws: Draws, step: int) -> Rollout:
        """Sample with the current weights, stochastic inside the window of ``step``."""
        s = self.settings
        return rollout(
            policy,
            conditioning,
            noise,
            policy.sigmas(s.steps),
            self.window(step),
            s.eta,
            draws.members,
            law=s.law,
            micro_batch=s.micro_batch,
        )

    def losses(
        self,
        policy: Policy,
        rollout: Rollout,
        conditioning: Conditioning,
        advantages: Tensor,
        draws: Draws,
    ) -> Iterator[LossTerm]:
        """-min(A ratio, A clip(ratio)) + kl x KL, averaged over the valid samples and the window's steps.

        Updates take the window's steps in random order, all samples at one step before the next. ``guard`` samples the
        old means anew first, where more than one update follows.
        """
        s = self.settings
        valid = valid_by_process(advantages, len(rollout))
        own = advantages[draws.first : draws.first + len(rollout)]
        parts = valid_chunks(valid, s.micro_batch)
        means = {}
        if s.guard and s.epochs * s.updates > 1:
            with torch.no_grad():
                places = [(j, part) for j in range(len(rollout.steps)) for part in parts]
                means = {(j, p.start): self._step(policy, rollout, conditioning, j, p).mean for j, p in places}
        for _ in range(s.epochs):
            order = torch.randperm(len(rollout.steps), generator=draws.shared).tolist()
            for update in split_evenly([(j, part) for j in order for part in parts], s.updates):
                total = sum(int(valid[:, part].sum()) for _, part in update)
                for index, (j, part) in enumerate(update):
                    mean = means.get((j, part.start))
                    losses, statistics = self._loss(policy, rollout, conditioning, own, j, part, mean)
                    yield LossTerm(losses.sum() / total, statistics, len(losses), index == len(update) - 1)

    def after_step(self, policy: Policy) -> None:
        """Nothing to do."""

    def state_dict(self) -> dict[str, Tensor | int]:
        """Empty: there is no state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor | int]) -> None:
        """Nothing to put back.

        Raises:
            ValueError: if there is something.
        """
        if state:
            raise ValueError(f"Flow-GRPO has no state, got {sorted(state)}")

    def _step(self, policy: Policy, rollout: Rollout, conditioning: Conditioning, j: int, part: slice) -> Step:
        i, x = rollout.steps[j], rollout.states[j, part]
        sigma, sigma_next = rollout.sigmas[i], rollout.sigmas[i + 1]
        velocity = policy.velocity(x, sigma.to(x.device).expand(len(x)), conditioning.index(part))
        return stochastic_step(self.settings.law, x, velocity, sigma, sigma_next, self.settings.eta)

    def _loss(
        self,
        policy: Policy,
        rollout: Rollout,
        conditioning: Conditioning,
        advantages: Tensor,
        j: int,
        part: slice,
        old_mean: Tensor | None,
    ) -> tuple[Tensor, dict[str, float]]:
        s = self.settings
        x_next = rollout.states[j + 1, part]
        valid = advantages[part].isfinite().to(x_next.device)
        advantage = advantages[part].to(x_next.device)[valid]
        statistics: dict[str, float] = {}

        base_mean = None
        if s.kl:
            with torch.no_grad(), policy.base():
                base_mean = self._step(policy, rollout, conditioning, j, part).mean
        step = self._step(policy, rollout, conditioning, j, part)
        change = log_prob(s.law, x_next, step.mean, step.std) - rollout.log_probs[j, part]
        if s.guard:
            change = regulated(change, step, step.mean.detach() if old_mean is None else old_mean)
        ratio = change[valid].exp()
        clipped = ratio.clamp(1 - s.clip, 1 + s.clip)
        losses = -torch.minimum(advantage * ratio, advantage * clipped)
        if s.guard:
            losses = losses / (rollout.sigmas[rollout.steps[j]] - rollout.sigmas[rollout.steps[j] + 1]).to(losses)
        if not len(losses):
            return losses, {}
        statistics["policy_loss"] = float(losses.detach().mean())
        if base_mean is not None:
            kl = ((step.mean - base_mean).square() / (2 * step.std.square())).flatten(1).mean(1)[valid]
            losses = losses + s.kl * kl
            statistics["kl"] = float(kl.detach().mean())
        ratio = ratio.detach()
        statistics["ratio_mean"] = float(ratio.mean())
        statistics["ratio_min"] = float(ratio.min())
        statistics["ratio_max"] = float(ratio.max())
        statistics["clip_fraction"] = float(((ratio - 1).abs() > s.clip).float().mean())
        return losses, statistics


def regulated(change: Tensor, step: Step, old_mean: Tensor) -> Tensor:
    """GRPO-Guard's log-ratios [B]: s (change + mean (mu - mu_old)^2 / (2 s^2)), which is the mean of (mu - mu_old) eps.

    Equation 8 of arXiv 2510.22319, whose sigma_t sqrt(dt) is s. The second term takes away that a Gaussian's log-ratio
    is negative on average, the factor s that its spread depends on the noise level.

    Args:
        change: [B] log-ratios, averaged over dimensions.
        step: of the current weights; s is its standard deviation.
        old_mean: [B, ...] mu of the sampling weights.
    """
    std = step.std.flatten()
    shift = (step.mean - old_mean).square().flatten(1).mean(1)
    return std * (change + shift / (2 * std.square()))
