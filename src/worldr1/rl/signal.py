"""What the advantages are taken of: the total reward, or components brought to one scale within each group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from worldr1.rewards.types import Scores
from worldr1.rl.advantage import FLAT

Normalisation = Literal["none", "group"]


def training_signal(
    scores: Scores, weights: Mapping[str, float], group_size: int, normalise: Normalisation = "none"
) -> Tensor:
    """Rewards [B] to compare within groups; nan where a video has no total.

    Args:
        scores: of B videos, the members of a group next to each other.
        weights: of the components; those without one count 1.
        group_size: members per group, a divisor of B.
        normalise: "none" gives the total. "group" gives the weighted sum of (component - group's mean) / group's
            standard deviation, over the members that have a total; a component that is all the same within a group
            adds nothing there. What a component then weighs does not depend on its spread.

    Raises:
        ValueError: B is no multiple of `group_size`.
    """
    if scores.total.numel() % group_size:
        raise ValueError(f"{scores.total.numel()} rewards are no whole number of groups of {group_size}")
    if normalise == "none":
        return scores.total
    present = scores.total.isfinite()
    signal = torch.zeros(scores.total.shape, dtype=torch.float64)
    for name, values in scores.components.items():
        centred, spread = _centred(values.double().where(present, torch.nan), group_size)
        flat = ~(spread > FLAT)
        share = (centred / spread.where(~flat, 1.0)).masked_fill(flat.expand_as(centred), 0.0)
        signal = signal + weights.get(name, 1.0) * share.flatten()
    return signal.where(present, torch.nan)


def component_spreads(scores: Scores, group_size: int) -> dict[str, float]:
    """Mean over groups of each component's standard deviation within the group: what it can teach before its weight."""
    return {
        f"reward_std/{name}": float(_centred(values.double(), group_size)[1].nanmean())
        for name, values in scores.components.items()
    }


def silent_sentence(scores: Scores, step: int) -> str:
    """Why no video of a step has a reward, and what to do."""
    silent = [name for name, values in scores.components.items() if not bool(values.isfinite().any())]
    count = scores.total.numel()
    if not silent:
        return f"step {step}: none of {count} videos has a reward: each lacks some component; look at samples/"
    names, first = ", ".join(silent), silent[0]
    return (
        f"step {step}: none of {count} videos has a reward, as {names} gave no number for any of them; see that its "
        f"model is sound, or leave it out with --reward.{first} 0"
    )


def _centred(values: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
    """Values [G, group_size] less their group's mean, and the groups' standard deviations [G, 1], nan left out."""
    grouped = values.reshape(-1, group_size)
    grouped = grouped.where(grouped.isfinite(), torch.nan)
    centred = grouped - grouped.nanmean(1, keepdim=True)
    return centred, centred.square().nanmean(1, keepdim=True).sqrt()
