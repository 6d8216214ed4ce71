"""Single sampling steps: the flow ODE, its SDE with the same marginals, and coefficient-preserving sampling.

All are stateless functions of the state, the velocity and two noise levels; a multistep solver with a private history
would undo what is done between its steps. Sigma runs from 1 (noise) to 0 (data), so d = sigma_next - sigma < 0, and all
arithmetic is fp32. Sigmas are scalars or [B] tensors; states and velocities are [B, ...].
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Law = Literal["sde", "cps"]

NEARLY_ONE = 1.0 - 1e-4
"""At and above this sigma, sigma / (1 - sigma) explodes and the next sigma stands in for it."""


class Step(NamedTuple):
    """One stochastic step: ``next`` was drawn from a Gaussian of mean ``mean`` and standard deviation ``std``.

    Attributes:
        mean: [B, ...].
        std: [B, 1, ...], broadcastable to ``mean``.
        next: [B, ...].
    """

    mean: Tensor
    std: Tensor
    next: Tensor


def ode_step(x: Tensor, velocity: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """Euler step x + d v of the flow ODE; fp32 [B, ...]."""
    sigma, sigma_next = _level(sigma, x), _level(sigma_next, x)
    return x.float() + (sigma_next - sigma) * velocity.float()


def sde_step(
    x: Tensor, velocity: Tensor, sigma: Tensor, sigma_next: Tensor, eta: float, noise: Tensor | None = None
) -> Step:
    """Euler-Maruyama step of the flow SDE (Flow-GRPO, arXiv 2505.05470, equations 9 and 10).

    g = eta sqrt(sigma / (1 - sigma)), mean = x + [v + g^2 / (2 sigma) (x + (1 - sigma) v)] d, std = g sqrt(-d). At
    sigma = 1 (and within 1e-4 of it: some schedules begin at 0.999999) g takes the next sigma.

    Args:
        x: [B, ...] state at ``sigma``.
        velocity: [B, ...] at ``x``.
        sigma: scalar or [B], above 0.
        sigma_next: scalar or [B], below ``sigma``.
        eta: amount of noise; 0 is the Euler step, bit for bit.
        noise: [B, ...] standard normal, or None for ``next`` = ``mean``.
    """
    sigma, sigma_next = _level(sigma, x), _level(sigma_next, x)
    x, velocity = x.float(), velocity.float()
    level = torch.where(sigma >= NEARLY_ONE, sigma_next, sigma)
    g2 = eta**2 * level / (1 - level)
    d = sigma_next - sigma
    mean = x * (1 + g2 * d / (2 * sigma)) + velocity * (d * (1 + g2 * (1 - sigma) / (2 * sigma)))
    std = (g2 * -d).sqrt()
    return Step(mean, std, _draw(mean, std, noise))


def cps_step(
    x: Tensor, velocity: Tensor, sigma: Tensor, sigma_next: Tensor, eta: float, noise: Tensor | None = None
) -> Step:
    """Coefficient-preserving step (Flow-CPS, arXiv 2509.05952): signal and noise get exactly their next levels.

    std = sigma_next sin(eta pi / 2), mean = (1 - sigma_next) x0 + sqrt(sigma_next^2 - std^2) eps with the estimates
    x0 = x - sigma v and eps = x + (1 - sigma) v. Arguments as in :func:`sde_step`, with ``eta`` in [0, 1].
    """
    sigma, sigma_next = _level(sigma, x), _level(sigma_next, x)
    x, velocity = x.float(), velocity.float()
    std = sigma_next * math.sin(eta * math.pi / 2)
    kept = sigma_next * math.cos(eta * math.pi / 2)
    mean = (1 - sigma_next) * (x - sigma * velocity) + kept * (x + (1 - sigma) * velocity)
    return Step(mean, std, _draw(mean, std, noise))


def stochastic_step(
    law: Law, x: Tensor, velocity: Tensor, sigma: Tensor, sigma_next: Tensor, eta: float, noise: Tensor | None = None
) -> Step:
    """:func:`sde_step` or :func:`cps_step`, by ``law``."""
    step = sde_step if law == "sde" else cps_step
    return step(x, velocity, sigma, sigma_next, eta, noise)


def log_prob(law: Law, x_next: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Log-probability [B] of ``x_next``, averaged over its dimensions (a sum over millions of them is unstable).

    ``"sde"``: the Gaussian log-density. ``"cps"``: -mean((x' - mean)^2), which leaves out the scale, as Flow-CPS does.
    """
    error = (x_next.float() - mean).square()
    if law == "cps":
        return -error.flatten(1).mean(1)
    density = -error / (2 * std.square()) - std.log() - 0.5 * math.log(2 * math.pi)
    return density.flatten(1).mean(1)


def _level(sigma: Tensor, x: Tensor) -> Tensor:
    sigma = sigma.to(x.device, torch.float32)
    return sigma.reshape(-1, *[1] * (x.ndim - 1))


def _draw(mean: Tensor, std: Tensor, noise: Tensor | None) -> Tensor:
    return mean if noise is None else mean + std * noise.float()
