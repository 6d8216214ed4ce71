"""Small policies, most with closed-form velocities, for tests of sampling and objectives. Latents [B, C, 1, 1, 1]."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from worldr1.policy.base import Conditioning
from worldr1.rl.draws import Draws


def draws(seed: int, count: int) -> Draws:
    """One generator for ``count`` samples and for what they share: quick to make for many samples."""
    one = torch.Generator().manual_seed(seed)
    return Draws(one, (one,) * count)


class ToyPolicy(nn.Module):
    """Trains ``forward(x, sigma)`` in full; the base is a copy from the start; prompts mean nothing."""

    channels = 1
    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self._current: list[nn.Module] = [self]

    def freeze_base(self) -> None:
        """Call it once the parameters stand."""
        self._frozen = [copy.deepcopy(self).requires_grad_(False)]

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        return Conditioning(torch.zeros(len(prompts), 1, 1))

    def velocity(self, latents: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        assert len(latents) == len(sigma) == len(conditioning)
        return self._current[-1].forward(latents, sigma.reshape(-1, 1, 1, 1, 1))

    @contextlib.contextmanager
    def base(self) -> Iterator[None]:
        self._current.append(self._frozen[0])
        yield
        self._current.pop()

    def decode(self, latents: Tensor) -> Tensor:
        return latents

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        return self.channels, frames, height, width

    def sigmas(self, steps: int) -> Tensor:
        return torch.linspace(1, 0, steps + 1)

    def trainable_parameters(self) -> list[Parameter]:
        return list(self.parameters())

    def save(self, directory: str | Path) -> None:
        raise NotImplementedError

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:  # type: ignore[override]
        super().load_state_dict(state)


class LinearPolicy(ToyPolicy):
    """velocity = x W^T + b over the channels."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.channels = channels
        self.weight = Parameter(0.3 * torch.randn(channels, channels))
        self.bias = Parameter(0.1 * torch.randn(channels))
        self.freeze_base()

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        flat = x.reshape(len(x), -1)
        return (flat @ self.weight.T + self.bias).reshape(x.shape)


class MixturePolicy(ToyPolicy):
    """The exact velocity of a mixture of N(-2, 0.4^2) and N(2, 0.4^2) on the line; the logit of the latter learns."""

    means = (-2.0, 2.0)
    std = 0.4

    def __init__(self, logit: float = 0.0) -> None:
        super().__init__()
        self.logit = Parameter(torch.tensor(logit))
        self.freeze_base()

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        log_weights = nn.functional.logsigmoid(torch.stack([-self.logit, self.logit]))
        variance = ((1 - sigma) * self.std) ** 2 + sigma**2
        residuals = [x - (1 - sigma) * mean for mean in self.means]
        log_density = [w - r.square() / (2 * variance) for w, r in zip(log_weights, residuals, strict=True)]
        responsibility = torch.softmax(torch.stack(log_density), dim=0)
        velocity = torch.zeros_like(x)
        for p, mean, residual in zip(responsibility, self.means, residuals, strict=True):
            data = mean + (1 - sigma) * self.std**2 / variance * residual
            noise = sigma / variance * residual
            velocity = velocity + p * (noise - data)
        return velocity

    def sample_data(self, count: int) -> Tensor:
        """[count, 1, 1, 1, 1] straight from the mixture."""
        means = torch.tensor(self.means)[(torch.rand(count) < torch.sigmoid(self.logit.detach())).long()]
        return (means + self.std * torch.randn(count)).reshape(-1, 1, 1, 1, 1)

    def cdf(self, x: Tensor, sigma: float = 0.0) -> Tensor:
        """Of the marginal at ``sigma``, float64."""
        weight = float(torch.sigmoid(self.logit.detach()))
        std = math.sqrt(((1 - sigma) * self.std) ** 2 + sigma**2)
        low, high = (torch.special.ndtr((x.double() - (1 - sigma) * mean) / std) for mean in self.means)
        return (1 - weight) * low + weight * high


class NetworkPolicy(ToyPolicy):
    """A small network, for learning from samples."""

    channels = 2

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(self.channels + 4, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
        )

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        s = sigma.flatten(1)
        features = [x.flatten(1), s, s.square(), torch.sin(4 * s), torch.cos(4 * s)]
        return self.net(torch.cat(features, 1)).reshape(x.shape)
