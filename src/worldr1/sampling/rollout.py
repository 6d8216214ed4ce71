"""From noise to latents, with a window of stochastic steps in an otherwise deterministic path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from worldr1.policy.base import Conditioning, Policy
from worldr1.sampling.stepper import Law, log_prob, ode_step, stochastic_step

Observer = Callable[[int, Tensor], None]
Generators = torch.Generator | Sequence[torch.Generator] | None


@dataclass(frozen=True)
class Rollout:
    """What sampling leaves behind for training.

    Attributes:
        latents: [B, C, T, H, W] final latents.
        states: [w + 1, B, C, T, H, W] states at both ends of every stochastic step; empty along w without a window.
        log_probs: [w, B] of the stochastic steps under the sampling weights.
        steps: indices of the stochastic steps in ``sigmas``; step i goes from sigmas[i] to sigmas[i + 1].
        sigmas: [S + 1] the whole schedule.
    """

    latents: Tensor
    states: Tensor
    log_probs: Tensor
    steps: tuple[int, ...]
    sigmas: Tensor

    def __len__(self) -> int:
        return self.latents.shape[0]

    @staticmethod
    def join(parts: Sequence[Rollout]) -> Rollout:
        """One rollout of several, by the same schedule and window, one after another."""
        return Rollout(
            latents=torch.cat([part.latents for part in parts]),
            states=torch.cat([part.states for part in parts], dim=1),
            log_probs=torch.cat([part.log_probs for part in parts], dim=1),
            steps=parts[0].steps,
            sigmas=parts[0].sigmas,
        )


@torch.no_grad()
def rollout(
    policy: Policy,
    conditioning: Conditioning,
    noise: Tensor,
    sigmas: Tensor,
    window: tuple[int, int] | None = None,
    eta: float = 0.7,
    generator: Generators = None,
    *,
    law: Law = "sde",
    micro_batch: int | None = None,
    observe: Observer | None = None,
) -> Rollout:
    """Sample along ``sigmas``: Euler steps of the ODE, stochastic ones inside ``window`` (Flow-GRPO-Fast).

    A window over all steps is Flow-GRPO, none the plain ODE. Only the window's states are kept. Before the window,
    samples next to each other that start from the same noise and text are one: the network sees them once.

    Args:
        policy: where the velocity comes from.
        conditioning: of B prompts.
        noise: [B, C, T, H, W], the state at sigmas[0].
        sigmas: [S + 1] decreasing, from 1 to 0.
        window: (first, last + 1) stochastic steps, 0 <= first < last + 1 <= S, shared by the whole batch.
        eta: amount of noise of the stochastic steps.
        generator: of their noise, drawn on its own device: one for the batch, or one for each of the B samples, whose
            noise then does not depend on the others; None uses torch's global one.
        law: kind of the stochastic steps.
        micro_batch: how many samples go through the network at once; None takes all.
        observe: called with (i, state at sigmas[i]) for i = 0 ... S.

    Raises:
        ValueError: for a schedule that does not decrease, a window outside it, eta <= 0 with a window, or (``"cps"``) a
            window that holds the step to sigma 0, which has no noise; or another number of generators than samples.
    """
    _check(sigmas, window, eta, law)
    if isinstance(generator, Sequence) and len(generator) != len(noise):
        raise ValueError(f"{len(generator)} generators for {len(noise)} samples; give one each, or one for all")
    first, end = window or (0, 0)
    x = noise.float()
    members = _members(x, conditioning) if first else None
    if members is not None:
        alone = torch.cat([members.new_ones(1), members.diff()]).bool()
        x, text = x[alone], conditioning.index(alone)
    states: list[Tensor] = []
    log_probs: list[Tensor] = []
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        if members is not None and i == first:
            x, members = x[members], None
        if observe is not None:
            observe(i, x if members is None else x[members])
        velocity = _velocity(policy, x, sigma, conditioning if members is None else text, micro_batch)
        if not first <= i < end:
            x = ode_step(x, velocity, sigma, sigma_next)
            continue
        step = stochastic_step(law, x, velocity, sigma, sigma_next, eta, _normal_like(x, generator))
        rows = chunks(len(x), micro_batch)
        log_probs.append(torch.cat([log_prob(law, step.next[row], step.mean[row], step.std) for row in rows]))
        states = states or [x]
        states.append(step.next)
        x = step.next
    if observe is not None:
        observe(len(sigmas) - 1, x)
    return Rollout(
        latents=x,
        states=torch.stack(states) if states else x.new_empty(0, *x.shape),
        log_probs=torch.stack(log_probs) if log_probs else x.new_empty(0, len(x)),
        steps=tuple(range(first, end)),
        sigmas=sigmas,
    )


def _members(noise: Tensor, conditioning: Conditioning) -> Tensor | None:
    """Which of the distinct samples each of the B is [B]; None when all are distinct."""
    same = (noise[1:] == noise[:-1]).flatten(1).all(1)
    same &= (conditioning.embeds[1:] == conditioning.embeds[:-1]).flatten(1).all(1).to(same.device)
    if not bool(same.any()):
        return None
    return torch.cat([same.new_zeros(1), ~same]).long().cumsum(0)


def chunks(batch: int, micro_batch: int | None) -> Iterator[slice]:
    """Slices that cut ``batch`` samples into runs of ``micro_batch`` (the last may be shorter)."""
    size = micro_batch or batch
    for start in range(0, batch, size):
        yield slice(start, min(start + size, batch))


def _velocity(policy: Policy, x: Tensor, sigma: Tensor, conditioning: Conditioning, micro_batch: int | None) -> Tensor:
    parts = []
    for part in chunks(len(x), micro_batch):
        levels = sigma.to(x.device).expand(len(x[part]))
        parts.append(policy.velocity(x[part], levels, conditioning.index(part)).float())
    return torch.cat(parts)


def _normal_like(x: Tensor, generator: Generators) -> Tensor:
    if isinstance(generator, Sequence):
        return torch.stack([torch.randn(x.shape[1:], generator=one, device=one.device) for one in generator]).to(
            x.device
        )
    device = x.device if generator is None else generator.device
    return torch.randn(x.shape, generator=generator, device=device).to(x.device)


def _check(sigmas: Tensor, window: tuple[int, int] | None, eta: float, law: Law) -> None:
    if sigmas.ndim != 1 or len(sigmas) < 2 or not bool((sigmas.diff() < 0).all()):
        raise ValueError(f"sigmas must be [S + 1] and decrease strictly, got {sigmas.tolist()}")
    if law not in ("sde", "cps"):
        raise ValueError(f"law must be 'sde' or 'cps', got {law!r}")
    if window is None:
        return
    steps = len(sigmas) - 1
    if not 0 <= window[0] < window[1] <= steps:
        raise ValueError(f"window must satisfy 0 <= first < end <= {steps} (the number of steps), got {window}")
    if eta <= 0:
        raise ValueError(f"a window of stochastic steps needs eta > 0, got {eta}")
    if law == "cps" and float(sigmas[window[1]]) == 0.0:
        raise ValueError("under 'cps' the step to sigma 0 has no noise: end the window before it")
