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
from worldr1.rewards.types import Composer
from worldr1.rl.batch import Batch, fixed_batch
from worldr1.rl.distributed import World
from worldr1.rl.scoring import decode, first_scores, gather_scores, reward_means, score
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
        videos = decode(policy, made.latents, sampling.micro_batch)
        self._keep(videos, step)
        scores = gather_scores(self._world, score(composer, self._batch, videos))
        return reward_means(first_scores(scores, len(self._prompts)))

    def _keep(self, videos: Tensor, step: int) -> None:
        each = len(videos)
        kept = min(self._recipe.evaluation.videos, len(self._prompts))
        wanted = (self._world.bring(videos[index % each], owner=index // each) for index in range(kept))
        if not self._world.main:
            deque(wanted, maxlen=0)
            return
        self._samples.mkdir(parents=True, exist_ok=True)
        write_text(self._samples / "prompts.json", json.dumps(self._prompts[:kept], indent=1))
        with whole_directory(self._samples / f"step-{step:08d}") as folder:
            for index, video in enumerate(wanted):
                write_video(folder / f"{index:02d}.mp4", video)
