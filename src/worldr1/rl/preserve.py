"""Prior preservation: on dynamic prompts the policy stays what it was, while it learns on the others.

The 3D reward wants worlds that stand still, and what it teaches on camera prompts spreads to prompts that ask for
motion; the general reward of the dynamic phase does not see motion and cannot hold it. So the frozen base samples
dynamic prompts once, and every update is held to these samples (the prior preservation of DreamBooth, arXiv
2208.12242), to the base's velocity on noised copies of them, or between. Most of what the base draws does not hold
together, and a policy that must keep drawing that on some prompts unlearns it slowly on the others: so of several
samples of each prompt the one with the highest reward is kept, which costs no motion.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from worldr1.camera.trajectory import Trajectory
from worldr1.data.atomic import whole_directory
from worldr1.data.checksums import SUMS, sha256, verify_sums, write_sums
from worldr1.policy.base import Policy
from worldr1.recipes.settings import Recipe
from worldr1.rewards.types import Composer
from worldr1.rl.batch import fixed_batch, noise_law
from worldr1.rl.distributed import World
from worldr1.rl.draws import step_draws
from worldr1.rl.nft import stratified_times
from worldr1.rl.objectives import LossTerm
from worldr1.rl.scoring import decode, score
from worldr1.rl.seeds import Stream, seed_of
from worldr1.sampling.rollout import chunks, rollout

logger = logging.getLogger(__name__)

_TIME_RANGE = (0.05, 1.0)
SAMPLES_AT_ONCE = 32
"""How many the base samples together, where no micro-batch is told."""
_FILE = "latents.safetensors"


def preservation_of(
    policy: Policy,
    recipe: Recipe,
    prompts: Sequence[str],
    composer: Composer,
    place: Path,
    world: World | None = None,
) -> Preservation | None:
    """What a run asks for: its samples made, or read where the run has them already; None without a weight.

    Args:
        policy: whose base samples.
        recipe: `preserve`, clip, noise, sampling and seed are used.
        prompts: dynamic prompts; the first `preserve.samples` are used.
        composer: the whole reward, which chooses between `preserve.candidates`.
        place: directory of the samples and of their checksum. They are made when it does not exist, so that a resumed
            run has the same ones, and made again when they are damaged.
        world: the processes that share the work; None is this one alone.

    Raises:
        ValueError: no candidate of a prompt has a reward, or the samples are damaged and those made again are others.
    """
    settings, world = recipe.preserve, world or World()
    if not settings.weight:
        return None
    prompts = list(prompts[: settings.samples])
    made = world.agree(place.is_dir())
    damage = world.agree(_damage(place) if made and world.main else "")
    if damage:
        logger.warning("%s; the base makes its samples again", damage)
    elif not made:
        logger.info("the base samples %d dynamic prompts, which it shall go on to make so", len(prompts))
    if damage or not made:
        latents = base_samples(policy, recipe, prompts, composer, world)
        if damage and not world.agree(world.main and _were_stored(latents, place)):
            raise ValueError(
                f"{damage}, and the samples that the base makes here are not the same, bit for bit; put the file back "
                f"from a copy, or remove {place} to go on with these"
            )
        if world.main:
            _store(latents, place)
        world.barrier()
    return Preservation(recipe, prompts, _stored(place), world)


def base_samples(policy: Policy, recipe: Recipe, prompts: Sequence[str], composer: Composer, world: World) -> Tensor:
    """Of `preserve.candidates` samples of the base for each prompt, the one with the highest reward: [N, C, t, h, w].

    Raises:
        ValueError: no candidate of a prompt has a reward.
    """
    clip, sampling, candidates = recipe.clip, recipe.sampling, recipe.preserve.candidates
    shape = policy.latent_shape(clip.frames, clip.height, clip.width)
    asked = [prompt for prompt in prompts for _ in range(candidates)]
    seed, here = seed_of(Stream.PRESERVE, recipe.seed) % 2**31, world.share(len(asked))
    batch = fixed_batch(asked, clip.frames, shape, recipe.noise, seed, here)
    made, rewards = [], []
    for part in chunks(len(batch.prompts), sampling.micro_batch or SAMPLES_AT_ONCE):
        rows = batch.rows(part)
        text, noise = policy.encode(rows.prompts), rows.noise.to(policy.device)
        with policy.base():
            latents = rollout(policy, text, noise, policy.sigmas(sampling.steps)).latents
        made.append(latents.cpu())
        if candidates > 1:
            rewards.append(score(composer, rows, decode(policy, latents, sampling.micro_batch)).total)
    latents = world.gather(torch.cat(made))[: len(asked)]
    if candidates == 1:
        return latents
    total = world.gather(torch.cat(rewards))[: len(asked)].nan_to_num(nan=-torch.inf).reshape(-1, candidates)
    best = total.max(1)
    if not bool(best.values.isfinite().all()):
        prompt = prompts[int(best.values.isfinite().logical_not().nonzero()[0])]
        raise ValueError(f"prior preservation: none of the base's {candidates} videos of {prompt!r} has a reward")
    return latents[torch.arange(len(prompts)) * candidates + best.indices]


def _store(latents: Tensor, place: Path) -> None:
    with whole_directory(place) as folder:
        save_file({"latents": latents}, folder / _FILE)
        write_sums(folder, (_FILE,))


def _damage(place: Path) -> str:
    """What is wrong with stored samples; empty if nothing, or where an older version stored them without checksum."""
    if (place / SUMS).is_file() and not (place / _FILE).is_file():
        return f"{place / _FILE} is missing"
    try:
        verify_sums(place, (_FILE,))
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def _were_stored(latents: Tensor, place: Path) -> bool:
    """Whether damaged samples were these: by their checksum, or as they are where the checksum is what is damaged."""
    digest, file = hashlib.sha256(save({"latents": latents})).hexdigest(), place / _FILE
    return digest.encode() in (place / SUMS).read_bytes() or (file.is_file() and digest == sha256(file))


def _stored(place: Path) -> Tensor:
    try:
        return load_file(place / _FILE)["latents"]
    except (SafetensorError, FileNotFoundError, KeyError) as error:
        raise ValueError(f"{place / _FILE} is damaged: {error}; remove {place} to have the same made again") from error


class Preservation:
    """The loss that keeps the policy near the base's samples of dynamic prompts.

    Args:
        recipe: `preserve`, clip, noise, `sampling.micro_batch` and seed are used.
        prompts: of the samples.
        latents: the samples [N, C, t, h, w], as of `base_samples`.
        world: the processes that share the work; None is this one alone.
    """

    def __init__(self, recipe: Recipe, prompts: Sequence[str], latents: Tensor, world: World | None = None) -> None:
        self._settings, self._seed = recipe.preserve, recipe.seed
        self._frames, self._noise = recipe.clip.frames, recipe.noise
        self._micro_batch = recipe.sampling.micro_batch
        self._prompts, self._latents, self._world = prompts, latents, world or World()

    def losses(self, policy: Policy, step: int) -> Iterator[LossTerm]:
        """weight |v(x_t, t) - kept|^2, mean over a few samples and their elements, in micro-batches.

        kept = own (eps - x0) + (1 - own) v_base(x_t, t) at x_t = (1 - t) x0 + t eps, with `preserve.own`, base samples
        x0 chosen by (seed, step), t spread over [0.05, 1], and eps of the law that sampling starts from. The losses
        of all processes add up to it; where samples cannot be shared out evenly, the last comes again and counts 0.
        """
        s = self._settings
        count = min(s.per_step, len(self._latents))
        here = self._world.share(count)
        draws = step_draws(Stream.PRESERVE, self._seed, step, len(here), here.start)
        chosen = torch.randperm(len(self._latents), generator=draws.shared)[:count]
        places = torch.tensor(here).clamp(max=count - 1)
        rows, times = chosen[places], stratified_times(count, 1, _TIME_RANGE, draws.shared)[0, places]
        trajectories = [Trajectory.from_prompt(self._prompts[int(row)], self._frames) for row in rows]
        draws = replace(draws, law=noise_law(trajectories, self._latents.shape[1:], self._noise))
        for part in chunks(len(here), self._micro_batch):
            x0, t = self._latents[rows[part]].to(policy.device), times[part].to(policy.device)
            level = t.reshape(-1, *[1] * (x0.ndim - 1))
            eps = draws.noise(range(part.start, part.stop), x0.shape[1:]).to(policy.device)
            x = (1 - level) * x0 + level * eps
            text = policy.encode([self._prompts[int(row)] for row in rows[part]])
            kept = eps - x0
            if s.own < 1.0:
                with torch.no_grad(), policy.base():
                    kept = torch.lerp(policy.velocity(x, t, text), kept, s.own)
            distance = (policy.velocity(x, t, text) - kept).square().flatten(1).mean(1)
            distance = distance[: max(0, count - here[part.start])]
            statistics = {"preserved_distance": float(distance.detach().mean())} if len(distance) else {}
            yield LossTerm(s.weight * distance.sum() / count, statistics, len(distance), end_of_update=False)
