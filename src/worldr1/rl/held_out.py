"""Evaluation while training goes on: held-out prompts, the same noise each time, the averaged weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from worldr1.data.atomic import whole_directory, write_text
from worldr1.evaluation.video import write_video
from worldr1.policy.base import Policy
from worldr1.recipes.settings import Recipe
from worldr1.rl.batch import Batch, fixed_batch
from worldr1.rl.scoring import Composer, decode, reward_means, score
from worldr1.sampling.rollout import rollout


class HeldOut:
    """A fixed set of prompts and noise, on which a policy is scored again and again.

    Args:
        policy: gives the latents' shape.
        recipe: clip, noise, sampling and evaluation settings.
        prompts: the held-out prompts, in order.
        samples: directory for the first `evaluation.videos` videos of each evaluation.
    """

    def __init__(self, policy: Policy, recipe: Recipe, prompts: Sequence[str], samples: Path) -> None:
        self._recipe = recipe
        self._samples = samples
        clip = recipe.clip
        shape = policy.latent_shape(clip.frames, clip.height, clip.width)
        self._batch: Batch = fixed_batch(prompts, clip.frames, shape, recipe.noise, recipe.evaluation.seed)

    def evaluate(self, policy: Policy, composer: Composer, step: int) -> dict[str, float]:
        """Sample by the plain ODE, score with all components and keep some videos. Returns the metrics."""
        sampling = self._recipe.sampling
        noise = self._batch.noise.to(policy.device)
        conditioning = policy.encode(self._batch.prompts)
        made = rollout(policy, conditioning, noise, policy.sigmas(sampling.steps), micro_batch=sampling.micro_batch)
        videos = decode(policy, made.latents, sampling.micro_batch)
        kept = self._recipe.evaluation.videos
        self._samples.mkdir(parents=True, exist_ok=True)
        write_text(self._samples / "prompts.json", json.dumps(self._batch.prompts[:kept], indent=1))
        with whole_directory(self._samples / f"step-{step:08d}") as folder:
            for index, video in enumerate(videos[:kept]):
                write_video(folder / f"{index:02d}.mp4", video)
        return reward_means(score(composer, self._batch, videos))
