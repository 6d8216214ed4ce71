"""From rewards to advantages within groups of samples of one prompt."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FLAT = 1e-6
"""A group whose rewards deviate less than this has nothing to tell its members apart by."""


@dataclass(frozen=True)
class Advantages:
    """Advantages of a batch of groups.

    Attributes:
        values: [B] fp32; nan for members without a reward and for all members of skipped groups.
        flat_groups: groups skipped because their rewards are all the same.
        small_groups: groups skipped because fewer than two members have a reward.
        missing: members without a reward.
    """

    values: Tensor
    flat_groups: int
    small_groups: int
    missing: int

    @property
    def valid(self) -> Tensor:
        """[B] bool: which samples to train on."""
        return self.values.isfinite()

    @property
    def skipped_groups(self) -> int:
        """Groups that contribute nothing."""
        return self.flat_groups + self.small_groups


def group_advantages(
    rewards: Tensor, group_size: int, *, clip: float = 5.0, eps: float = 1e-4, global_std: bool = False
) -> Advantages:
    """A = (r - mean of the group) / (std + eps), clipped to +-``clip`` (GRPO, arXiv 2402.03300, section 4.1.2).

    Mean and (population) standard deviation are over the members that have a reward. Groups with fewer than two of them
    and groups whose rewards are all the same are skipped and counted.

    Args:
        rewards: [B], the members of a group next to each other; not finite where scoring failed.
        group_size: members per group, a divisor of B.
        clip: bound of the absolute advantage.
        eps: added to the standard deviation.
        global_std: divide by the standard deviation of the centred rewards of all groups that are not skipped.

    Raises:
        ValueError: if ``rewards`` is not [B] with B a multiple of ``group_size`` (at least 2).
    """
    if rewards.ndim != 1 or group_size < 2 or rewards.numel() % group_size or not rewards.numel():
        raise ValueError(
            f"rewards must be [B] with B a multiple of group_size >= 2, got {list(rewards.shape)} and {group_size}"
        )
    grouped = rewards.detach().double().reshape(-1, group_size)
    present = grouped.isfinite()
    count = present.sum(1, keepdim=True)
    grouped = grouped.where(present, torch.nan)
    centred = grouped - grouped.nanmean(1, keepdim=True)
    std = centred.square().nanmean(1, keepdim=True).sqrt()
    small = (count < 2).squeeze(1)
    flat = (std <= FLAT).squeeze(1) & ~small
    centred[small | flat] = torch.nan
    if global_std:
        std = centred.square().nanmean().sqrt()
    values = (centred / (std + eps)).clamp(-clip, clip)
    return Advantages(
        values=values.flatten().float(),
        flat_groups=int(flat.sum()),
        small_groups=int(small.sum()),
        missing=int((~present).sum()),
    )
