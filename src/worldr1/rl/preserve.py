"""Prior preservation: on dynamic prompts the policy stays what it was, while it learns on the others.

The 3D reward wants worlds that stand still, and what it teaches on camera prompts spreads to prompts that ask for
motion; the general reward of the dynamic phase does not see motion and cannot hold it. So the frozen base samples
dynamic prompts once, and every update is held to the base's velocity on noised copies of these samples (the prior
preservation of DreamBooth, arXiv 2208.12242, with the base's velocity in place of the sample's own).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from worldr1.data.atomic import whole_directory
from worldr1.policy.base import Policy
from worldr1.recipes.settings import Recipe
from worldr1.rl.batch import fixed_batch
from worldr1.rl.distributed import World
from worldr1.rl.draws import step_draws
from worldr1.rl.nft import stratified_times
from worldr1.rl.objectives import LossTerm
from worldr1.rl.seeds import Stream, seed_of
from worldr1.sampling.rollout import chunks, rollout

logger = logging.getLogger(__name__)

_TIME_RANGE = (0.05, 1.0)
SAMPLES_AT_ONCE = 32
"""How many the base samples together, where no micro-batch is told."""
_FILE = "latents.safetensors"


def preservation_of(
    policy: Policy, recipe: Recipe, prompts: Sequence[str], place: Path, world: World | None = None
) -> Preservation | None:
    """What a run asks for: arguments as of `Preservation`; None without a weight."""
    if not recipe.preserve.weight:
        return None
    if not place.is_dir():
        count = len(prompts[: recipe.preserve.samples])
        logger.info("the base samples %d dynamic prompts, which it shall go on to make so", count)
    return Preservation(policy, recipe, prompts, place, world)


class Preservation:
    """The base's samples of dynamic prompts, and the loss that keeps the policy's velocity there.

    Args:
        policy: whose base samples; it is asked for the latents' shape.
        recipe: `preserve`, clip, noise, sampling and seed are used.
        prompts: dynamic prompts; the first `preserve.samples` are used.
        place: directory of the samples. They are made when it does not exist, so that a resumed run has the same ones.
        world: the processes that share the work; None is this one alone.
    """

    def __init__(
        self, policy: Policy, recipe: Recipe, prompts: Sequence[str], place: Path, world: World | None = None
    ) -> None:
        self._settings, self._seed = recipe.preserve, recipe.seed
        self._micro_batch = recipe.sampling.micro_batch
        self._prompts = list(prompts[: recipe.preserve.samples])
        self._world = world = world or World()
        if not world.agree(place.is_dir()):
            latents = self._sample(policy, recipe)
            if world.main:
                with whole_directory(place) as folder:
                    save_file({"latents": latents}, folder / _FILE)
            world.barrier()
        self._latents = load_file(place / _FILE)["latents"]

    def losses(self, policy: Policy, step: int) -> Iterator[LossTerm]:
        """weight |v(x_t, t) - v_base(x_t, t)|^2, mean over a few samples and their elements, in micro-batches.

        x_t = (1 - t) x0 + t eps with base samples x0, chosen by (seed, step), and t spread over [0.05, 1]. The losses
        of all processes add up to it; where samples cannot be shared out evenly, the last comes again and counts 0.
        """
        s = self._settings
        count = min(s.per_step, len(self._latents))
        here = self._world.share(count)
        draws = step_draws(Stream.PRESERVE, self._seed, step, len(here), here.start)
        chosen = torch.randperm(len(self._latents), generator=draws.shared)[:count]
        places = torch.tensor(here).clamp(max=count - 1)
        rows, times = chosen[places], stratified_times(count, 1, _TIME_RANGE, draws.shared)[0, places]
        for part in chunks(len(here), self._micro_batch):
            x0, t = self._latents[rows[part]].to(policy.device), times[part].to(policy.device)
            level = t.reshape(-1, *[1] * (x0.ndim - 1))
            eps = draws.normal(range(part.start, part.stop), x0.shape[1:]).to(policy.device)
            x = (1 - level) * x0 + level * eps
            text = policy.encode([self._prompts[int(row)] for row in rows[part]])
            with torch.no_grad(), policy.base():
                kept = policy.velocity(x, t, text)
            distance = (policy.velocity(x, t, text) - kept).square().flatten(1).mean(1)
            distance = distance[: max(0, count - here[part.start])]
            statistics = {"preserved_distance": float(distance.detach().mean())} if len(distance) else {}
            yield LossTerm(s.weight * distance.sum() / count, statistics, len(distance), end_of_update=False)

    def _sample(self, policy: Policy, recipe: Recipe) -> Tensor:
        clip, sampling = recipe.clip, recipe.sampling
        shape = policy.latent_shape(clip.frames, clip.height, clip.width)
        count = len(self._prompts)
        seed, here = seed_of(Stream.PRESERVE, recipe.seed) % 2**31, self._world.share(count)
        batch = fixed_batch(self._prompts, clip.frames, shape, recipe.noise, seed, here)
        made = []
        for part in chunks(len(batch.prompts), sampling.micro_batch or SAMPLES_AT_ONCE):
            text, noise = policy.encode(batch.prompts[part]), batch.noise[part].to(policy.device)
            with policy.base():
                made.append(rollout(policy, text, noise, policy.sigmas(sampling.steps)).latents.cpu())
        return self._world.gather(torch.cat(made))[:count]
