"""A step's videos and their scores: one after the other, or both at once where others score."""

from __future__ import annotations

import time
from dataclasses import dataclass

from worldr1.policy.base import Conditioning, Policy
from worldr1.rewards.compose import joined
from worldr1.rewards.types import Composer, PooledComposer, Scores
from worldr1.rl.batch import Batch
from worldr1.rl.draws import Draws
from worldr1.rl.objectives import Objective
from worldr1.rl.scoring import decode, decoded, samples_of, score
from worldr1.sampling.rollout import Rollout, chunks


@dataclass(frozen=True)
class Scored:
    """What a step learns from.

    Attributes:
        rollout: of B samples.
        scores: of their videos.
        sampled: the moment, by `time.perf_counter`, when the last of them was there, as if none were scored before.
        hidden: share, in [0, 1], of the seconds of scoring in which the next videos were sampled.
    """

    rollout: Rollout
    scores: Scores
    sampled: float
    hidden: float = 0.0


def sample_and_score(
    policy: Policy,
    objective: Objective,
    composer: Composer,
    batch: Batch,
    conditioning: Conditioning,
    draws: Draws,
    step: int,
    use_3d: bool,
    micro_batch: int | None,
) -> Scored:
    """Sample the videos of training step ``step`` and score them.

    Workers that score for this process get each `micro_batch` of videos as soon as it is there. Nothing else changes:
    these go through the network together in any case.

    Raises:
        ValueError: the composer gave another number of scores than there are videos.
    """
    if not isinstance(composer, PooledComposer):
        made = objective.collect(policy, conditioning, batch.noise.to(policy.device), draws, step)
        scores_of_parts, seconds = [], 0.0
        for part, videos in decoded(policy, made.latents, composer, micro_batch):
            began = time.perf_counter()
            scores_of_parts.append(score(composer, batch.rows(part), videos, use_3d))
            seconds += time.perf_counter() - began
        return Scored(made, joined(scores_of_parts), time.perf_counter() - seconds)
    parts = []
    with composer.begin(use_3d) as scoring:
        for part in chunks(len(batch.prompts), micro_batch):
            noise = batch.noise[part].to(policy.device)
            made = objective.collect(policy, conditioning.index(part), noise, draws.rows(part), step)
            scoring.add(samples_of(batch.rows(part), decode(policy, made.latents)))
            parts.append(made)
        sampled = time.perf_counter()
        scores = scoring.finish()
    waited = time.perf_counter() - sampled
    return Scored(Rollout.join(parts), scores, sampled, max(0.0, 1.0 - waited / max(scoring.seconds, 1e-9)))
