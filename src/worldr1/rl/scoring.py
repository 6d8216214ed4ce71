"""From latents to scored videos."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from worldr1.policy.base import Policy
from worldr1.rewards.compose import InBatches
from worldr1.rewards.types import Composer, Sample, Scores
from worldr1.rl.batch import Batch
from worldr1.rl.distributed import World
from worldr1.sampling.rollout import chunks


def decode(policy: Policy, latents: Tensor, micro_batch: int | None = None) -> Tensor:
    """Videos [B, T, 3, H, W] on the CPU of latents [B, C, t, h, w], `micro_batch` at a time."""
    parts = [policy.decode(latents[part]).cpu() for part in chunks(len(latents), micro_batch)]
    return torch.cat(parts)


def decoded(
    policy: Policy, latents: Tensor, composer: Composer, micro_batch: int | None = None
) -> Iterator[tuple[slice, Tensor]]:
    """Videos of latents [B, C, t, h, w] as `decode` gives them, with their places, as many as are scored at once.

    Of a composer in batches no more than one batch is in memory; of any other all come together.
    """
    for part in chunks(len(latents), composer.batch if isinstance(composer, InBatches) else None):
        yield part, decode(policy, latents[part], micro_batch)


def samples_of(batch: Batch, videos: Tensor) -> list[Sample]:
    """The videos [B, T, 3, H, W] of a batch with what was asked for."""
    rows = zip(videos, batch.prompts, batch.trajectories, strict=True)
    return [Sample(video, prompt, trajectory) for video, prompt, trajectory in rows]


def score(composer: Composer, batch: Batch, videos: Tensor, use_3d: bool = True) -> Scores:
    """Score the videos [B, T, 3, H, W] of a batch.

    Raises:
        ValueError: the composer gave another number of scores.
    """
    scores = composer(samples_of(batch, videos), use_3d=use_3d)
    if scores.total.shape != (len(videos),):
        raise ValueError(f"the reward gave {list(scores.total.shape)} totals for {len(videos)} videos")
    return scores


def gather_scores(world: World, scores: Scores) -> Scores:
    """The scores of all processes, by rank."""
    components = {name: world.gather(values) for name, values in scores.components.items()}
    return Scores(components, world.gather(scores.total))


def first_scores(scores: Scores, count: int) -> Scores:
    """The scores of the first `count` videos."""
    return Scores({name: values[:count] for name, values in scores.components.items()}, scores.total[:count])


def reward_means(scores: Scores) -> dict[str, float]:
    """Means over the videos that have a score, and the share that has none."""
    named: Mapping[str, Tensor] = {"total": scores.total, **scores.components}
    means = {f"reward/{name}": float(values.double().nanmean()) for name, values in named.items()}
    return {**means, "missing": float((~scores.total.isfinite()).double().mean())}
