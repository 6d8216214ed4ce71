"""Evaluation while training goes on: held-out prompts, the same noise each time, the averaged weights."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from worldr1.data.atomic import whole_directory, write_text
from worldr1.evaluation.video import write_video
from worldr1.policy.base import Policy
from worldr1.recipes.settings import Recipe
from worldr1.rewards.compose import joined
from worldr1.rewards.types import Composer
from worldr1.rl.batch import Batch, fixed_batch
from worldr1.rl.distributed import World
from worldr1.rl.scoring import decoded, first_scores, gather_scores, reward_means, score
from worldr1.sampling.rollout import rollout


class HeldOut:
    """A fixed set of prompts and noise, on which a policy is scored again and again.

    Args:
        policy: gives the latents' shape.
        recipe: clip, noise, sampling and evaluation settings.
        prompts: the held-out prompts, in order.
        samples: directory for the first `evaluation.videos` videos of each evaluation.
        world: the processes that share the prompts; the main one writes.
    """

    def __init__(self, policy: Policy, recipe: Recipe, prompts: Sequence[str], samples: Path, world: World) -> None:
        self._recipe = recipe
        self._prompts = tuple(prompts)
        self._samples = samples
        self._world = world
        clip = recipe.clip
        shape = policy.latent_shape(clip.frames, clip.height, clip.width)
        here = world.share(len(prompts))
        self._batch: Batch = fixed_batch(prompts, clip.frames, shape, recipe.noise, recipe.evaluation.seed, here)

    def evaluate(self, policy: Policy, composer: Composer, step: int) -> dict[str, float]:
        """Sample by the plain ODE, score with all components and keep some videos. Returns the metrics."""
        sampling = self._recipe.sampling
        noise = self._batch.noise.to(policy.device)
        conditioning = policy.encode(self._batch.prompts)
        made = rollout(policy, conditioning, noise, policy.sigmas(sampling.steps), micro_batch=sampling.micro_batch)
        first: list[Tensor] = []
        parts = []
        for part, videos in decoded(policy, made.latents, composer, sampling.micro_batch):
            first.extend(videos[: max(0, self._kept - len(first))].clone())
            parts.append(score(composer, self._batch.rows(part), videos))
        self._keep(first, len(made.latents), step)
        scores = gather_scores(self._world, joined(parts))
        return reward_means(first_scores(scores, len(self._prompts)))

    @property
    def _kept(self) -> int:
        return min(self._recipe.evaluation.videos, len(self._prompts))

    def _keep(self, first: Sequence[Tensor], each: int, step: int) -> None:
        """Write the first videos of all processes, of which each made so many and has `first`."""
        kept = self._kept
        wanted = (self._world.bring(first[index % each], owner=index // each) for index in range(kept))
        if not self._world.main:
            deque(wanted, maxlen=0)
            return
        self._samples.mkdir(parents=True, exist_ok=True)
        write_text(self._samples / "prompts.json", json.dumps(self._prompts[:kept], indent=1))
        with whole_directory(self._samples / f"step-{step:08d}") as folder:
            for index, video in enumerate(wanted):
                write_video(folder / f"{index:02d}.mp4", video)
