"""What every video policy offers to samplers, objectives and the trainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import Parameter


@dataclass(frozen=True)
class Conditioning:
    """Text embeddings of a batch of prompts.

    Attributes:
        embeds: [B, L, D] prompt embeddings, zero beyond each prompt's length.

    Raises:
        ValueError: if ``embeds`` does not have three dimensions.
    """

    embeds: Tensor

    def __post_init__(self) -> None:
        if self.embeds.ndim != 3:
            raise ValueError(f"Conditioning.embeds must be [B, L, D], got shape {tuple(self.embeds.shape)}")

    def __len__(self) -> int:
        return self.embeds.shape[0]

    def repeat(self, n: int) -> Conditioning:
        """Each prompt ``n`` times, the copies next to each other: [B, L, D] to [B * n, L, D], group after group."""
        return Conditioning(self.embeds.repeat_interleave(n, dim=0))

    def index(self, idx: Tensor | slice) -> Conditioning:
        """The prompts at ``idx`` (a slice, an integer tensor [N] or a mask [B])."""
        return Conditioning(self.embeds[idx])


class Policy(Protocol):
    """A flow-matching video model: x_sigma = (1 - sigma) x0 + sigma eps, velocity v = eps - x0, sigma from 1 to 0."""

    @property
    def device(self) -> torch.device:
        """Where latents, sigmas and embeddings live."""
        ...

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Embeddings of ``prompts``, one row each; no gradient."""
        ...

    def velocity(self, latents: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        """Velocity of the current weights, fp32 [B, C, T, H, W], at ``latents`` [B, C, T, H, W] and ``sigma`` [B]."""
        ...

    def base(self) -> AbstractContextManager[None]:
        """Inside it :meth:`velocity` is the frozen base model. Use it without gradients."""
        ...

    def extrapolated(self, scale: float) -> AbstractContextManager[None]:
        """Inside it the present weights lie ``scale`` times as far from the base (1 changes nothing). No gradients."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Videos [B, T, 3, H, W] in [0, 1] of ``latents`` [B, C, t, h, w]; no gradient."""
        ...

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(C, T, H, W) of the latents of one video of ``frames`` frames of ``height`` x ``width`` pixels."""
        ...

    def sigmas(self, steps: int) -> Tensor:
        """The sampling schedule, fp32 [steps + 1], from 1 to 0."""
        ...

    def trainable_parameters(self) -> list[Parameter]:
        """What the optimizer updates, always in the same order."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """The trainable parameters by name."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what :meth:`state_dict` gave, in place."""
        ...

    def save(self, directory: str | Path | None) -> None:
        """Write the trained weights so that the model family's own pipeline loads them.

        Where weights are spread over processes all must call it; those that give no directory only give their parts.
        """
        ...
