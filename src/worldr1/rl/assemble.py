"""From a recipe to the parts of a run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from worldr1.data.prompts import load_prompts
from worldr1.data.promptset import same_text
from worldr1.planning.readiness import obstacles, refuse
from worldr1.recipes.settings import Recipe
from worldr1.rl.assemble_policy import load_policy, training_device
from worldr1.rl.batch import TrainingPrompts
from worldr1.rl.distributed import World
from worldr1.rl.grpo import FlowGRPO, GRPOSettings
from worldr1.rl.nft import DiffusionNFT, NFTSettings
from worldr1.rl.objectives import Objective
from worldr1.rl.seeds import Stream, seed_of
from worldr1.rl.trainer import Parts

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from worldr1.policy.base import Policy
    from worldr1.rewards.compose import RewardComposer
    from worldr1.rewards.types import Composer

_DYNAMIC_SHARE = 6
"""One dynamic prompt for so many main ones (about 500 for 3,000, as World-R1 has)."""


def assemble(recipe: Recipe, world: World | None = None) -> Parts:
    """Load and build all that a recipe names, for this process of `world`.

    What can be told to be missing or wrong without loading weights is told first, the same as the dry run tells.

    Raises:
        FileNotFoundError: a model, critic or prompt file is missing.
        ImportError: a package is missing.
        ValueError: something in them is wrong, or the GPU's memory is too little.
    """
    refuse(obstacles(recipe, training_device() == "cuda"))
    prompts, evaluation = training_prompts(recipe), held_out(recipe)
    _warn_of_leaks(prompts, evaluation)
    spread = world is not None and world.size > 1 and recipe.parallel.strategy == "fsdp"
    if not spread:
        _check_memory(recipe)
    policy = load_policy(recipe, [*prompts.main, *prompts.dynamic, *evaluation])
    if world is not None and spread:
        policy.shard(world.mesh())
    return Parts(policy, build_objective(recipe, policy), build_scorer(recipe), prompts, evaluation)


def _warn_of_leaks(prompts: TrainingPrompts, evaluation: Sequence[str]) -> None:
    trained = {same_text(prompt) for prompt in (*prompts.main, *prompts.dynamic)}
    leaked = [prompt for prompt in evaluation if same_text(prompt) in trained]
    if leaked:
        logger.warning(
            "%d of %d held-out prompts are training prompts too, first %r: evaluation while training does not tell "
            "what the model makes of others",
            len(leaked),
            len(evaluation),
            leaked[0],
        )


def _check_memory(recipe: Recipe) -> None:
    from worldr1.planning.budget import gpu_bytes, host_bytes, memory_obstacles, memory_warnings
    from worldr1.planning.plan import make_plan

    available = gpu_bytes()
    if recipe.model.path == "tiny" or available is None:
        return
    plan = make_plan(recipe)
    refuse(memory_obstacles(plan, available))
    for warning in memory_warnings(plan, available, host_bytes()):
        logger.warning(warning)


def build_objective(recipe: Recipe, policy: Policy) -> Objective:
    """The objective that the recipe names."""
    sampling = recipe.sampling
    if recipe.objective.name == "grpo":
        grpo = recipe.objective.grpo
        return FlowGRPO(
            GRPOSettings(
                steps=sampling.steps,
                window=sampling.window,
                window_range=sampling.window_range,
                eta=sampling.eta,
                law=sampling.law,
                clip=grpo.clip,
                kl=grpo.kl,
                guard=grpo.guard,
                epochs=grpo.epochs,
                updates=grpo.updates,
                micro_batch=sampling.micro_batch,
                seed=seed_of(Stream.WINDOW, recipe.seed) % 2**31,
            )
        )
    nft = recipe.objective.nft
    settings = NFTSettings(
        steps=sampling.steps,
        times=nft.times,
        time_range=nft.time_range,
        beta=nft.beta,
        advantage_clip=recipe.advantage.bound,
        penalty=nft.penalty,
        old_decay_rate=nft.old_decay_rate,
        old_decay_limit=nft.old_decay_limit,
        updates=nft.updates,
        micro_batch=sampling.micro_batch,
    )
    return DiffusionNFT(settings, policy)


def training_prompts(recipe: Recipe) -> TrainingPrompts:
    """The prompts of both phases."""
    prompts = recipe.prompts
    return TrainingPrompts(
        load_prompts(prompts.main, prompts.count, recipe.seed),
        load_prompts(prompts.dynamic, max(1, prompts.count // _DYNAMIC_SHARE), recipe.seed, dynamic=True),
    )


def held_out(recipe: Recipe) -> list[str]:
    """The prompts of evaluation while training: scenes of the test split, or a file as it is."""
    evaluation = recipe.evaluation
    prompts = (
        load_prompts(evaluation.source, evaluation.prompts, evaluation.seed, split="test") if evaluation.prompts else []
    )
    return prompts[: evaluation.prompts]


def build_scorer(recipe: Recipe) -> Composer:
    """The reward where the recipe's `pool` computes it: in this process, or by workers of a Ray cluster.

    Raises:
        ImportError: Ray is not installed; the sentence names the command.
    """
    pool = recipe.pool
    if pool.kind == "ray":
        from worldr1.rewards.pool.ray_workers import ray_pool

        return ray_pool(recipe.reward, pool)
    composer = build_composer(recipe)
    if pool.batch is None:
        return composer
    from worldr1.rewards.compose import InBatches

    return InBatches(composer, pool.batch)


def build_composer(recipe: Recipe) -> RewardComposer:
    """The reward that the recipe names, on this machine's GPU if it has one; raises as `registry.build_composer`."""
    from worldr1.rewards.registry import build_composer as build

    return build(recipe.reward, training_device())
