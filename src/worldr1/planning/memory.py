"""Memory by stage on the policy's GPU, and of the machine beside it, in bytes."""

from __future__ import annotations

from dataclasses import dataclass

from worldr1.planning.evaluations import Preserved
from worldr1.planning.rewards import RewardCost
from worldr1.recipes.settings import Recipe
from worldr1.rl.preserve import SAMPLES_AT_ONCE

_TRAINED_BYTES = 4 * (1 + 1 + 2 + 1)
"""A trained parameter in float32: itself, its gradient, AdamW's two moments, its moving average."""


@dataclass(frozen=True)
class Stage:
    """Memory of one stage on the policy's GPU, in bytes: what stays there, and what only the stage needs."""

    name: str
    resident: float
    transient: float

    @property
    def total(self) -> float:
        """Bytes at the stage's peak."""
        return self.resident + self.transient


def micro_batch(recipe: Recipe) -> int:
    """Videos that go through the network together."""
    return recipe.sampling.micro_batch or recipe.schedule.groups * recipe.schedule.group_size


def scored_at_once(recipe: Recipe) -> int:
    """Videos that are decoded and scored together."""
    return recipe.pool.batch or recipe.schedule.groups * recipe.schedule.group_size


def weights_bytes(recipe: Recipe, parameters: dict[str, int]) -> dict[str, float]:
    """Bytes that stay on the GPU after loading; the text encoder only where nothing caches its embeddings.

    With adapter 'full' the trained parameters' own copy stands for the frozen base that is kept beside them.
    """
    width = 2 if recipe.model.dtype == "bfloat16" else 4
    copies = _TRAINED_BYTES + (4 if recipe.objective.name == "nft" else 0)
    full = recipe.model.adapter == "full"
    return {
        "transformer": 4.0 * parameters["transformer"] if full else float(width * parameters["transformer"]),
        "trained_and_optimiser": float(copies * parameters["trained"]),
        "vae": 4.0 * parameters["vae"],
        "text_encoder": 0.0 if recipe.model.embeds_cache else float(width * parameters["text_encoder"]),
    }


def stages(
    recipe: Recipe,
    preserved: Preserved | None,
    weights: dict[str, float],
    rewards: list[RewardCost],
    forward: float,
    decode: float,
    training: float,
    parameters: dict[str, int],
) -> list[Stage]:
    """What is on the policy's GPU, where workers of a pool are not counted, in the order in which it is loaded.

    The policy comes first, and the text encoder while prompts are encoded; then the reward, the optimiser's state and
    the averages, all of which stay to the end.

    Args:
        recipe: the recipe.
        preserved: how much prior preservation there is.
        weights: as `weights_bytes` gives them.
        rewards: cost of each reward model.
        forward, decode: peak of one video's evaluation, and of its decoding.
        training: peak of an update.
        parameters: of each part.
    """
    policy = sum(weights.values())
    bare = policy - weights["trained_and_optimiser"] + 4.0 * parameters["trained"]
    rewards = rewards if recipe.pool.kind == "local" else []
    resident = policy + sum(cost.weights for cost in rewards)
    scenes = scored_at_once(recipe) * sum(cost.kept for cost in rewards)
    at_once = micro_batch(recipe)
    width = 2 if recipe.model.dtype == "bfloat16" else 4
    encoder = float(width * parameters["text_encoder"]) if recipe.model.embeds_cache else 0.0
    sampled = min(preserved.samples, recipe.sampling.micro_batch or SAMPLES_AT_ONCE) if preserved else 0
    return [
        Stage("encode prompts", bare, encoder),
        *([Stage("preserve", resident, forward * sampled)] if preserved else []),
        Stage("rollout", resident, forward * at_once),
        Stage("decode", resident, decode * (1 if recipe.model.vae_slicing else at_once)),
        Stage("rewards", resident, scenes + max((cost.activations for cost in rewards), default=0.0)),
        Stage("update", resident, training),
    ]


def host_bytes(
    recipe: Recipe, weights: dict[str, float], parameters: dict[str, int], rewards: list[RewardCost]
) -> dict[str, float]:
    """Models are read on the CPU before they move, Depth Anything 3 in float32.

    Of the videos that are scored at once there are up to three copies: those scored last, those being decoded, and
    their stack, and the first videos of an evaluation are kept until they are written.
    """
    encoder = parameters["text_encoder"] * (2.0 if recipe.model.dtype == "bfloat16" else 4.0)
    policy = weights["transformer"] + weights["vae"] + weights["text_encoder"]
    here = rewards if recipe.pool.kind == "local" else []
    models = [cost.weights * (2 if cost.name == "reconstructor" else 1) for cost in here]
    clip, evaluation = recipe.clip, recipe.evaluation
    video = 4.0 * 3 * clip.frames * clip.height * clip.width
    kept = min(evaluation.videos, evaluation.prompts)
    return {"loading": max(policy, encoder, *models), "videos": video * (3 * scored_at_once(recipe) + kept)}
