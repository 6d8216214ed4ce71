"""From a recipe to the parts of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from worldr1.data.prompts import load_prompts
from worldr1.recipes.settings import ModelSettings, Recipe
from worldr1.rl.batch import TrainingPrompts
from worldr1.rl.grpo import FlowGRPO, GRPOSettings
from worldr1.rl.nft import DiffusionNFT, NFTSettings
from worldr1.rl.objectives import Objective
from worldr1.rl.seeds import Stream, seed_of
from worldr1.rl.trainer import Parts

if TYPE_CHECKING:
    from worldr1.policy.base import Policy
    from worldr1.policy.wan import WanPolicy
    from worldr1.rewards.compose import RewardComposer
    from worldr1.rewards.types import Reward

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_DYNAMIC_SHARE = 6
"""One dynamic prompt for so many main ones (about 500 for 3,000, as World-R1 has)."""


def assemble(recipe: Recipe) -> Parts:
    """Load and build all that a recipe names.

    Raises:
        FileNotFoundError: a model, critic or prompt file is missing.
        ValueError: something in them is wrong.
    """
    policy = load_policy(recipe.model, recipe.sampling.guidance, recipe.seed)
    return Parts(
        policy, build_objective(recipe, policy), build_composer(recipe), training_prompts(recipe), held_out(recipe)
    )


def load_policy(model: ModelSettings, guidance: float, seed: int) -> WanPolicy:
    """The policy of a recipe; the seed draws the adapter's first weights."""
    from worldr1.pipelines import load_pipeline
    from worldr1.policy.wan import LoraSettings, WanPolicy

    dtype = _DTYPES[model.dtype]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipeline = load_pipeline(model.path, dtype=dtype, device=device)
    lora = LoraSettings(model.rank, model.alpha, model.targets) if model.adapter == "lora" else None
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(Stream.WEIGHTS, seed))
        return WanPolicy(
            pipeline,
            guidance,
            model.max_tokens,
            lora,
            autocast=None if dtype == torch.float32 else dtype,
            gradient_checkpointing=device == "cuda",
        )


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
    """The prompts of evaluation while training; scenes that no training ever saw."""
    evaluation = recipe.evaluation
    prompts = (
        load_prompts(evaluation.source, evaluation.prompts, evaluation.seed, split="test") if evaluation.prompts else []
    )
    return prompts[: evaluation.prompts]


def build_composer(recipe: Recipe) -> RewardComposer:
    """The reward that the recipe names, with the reconstructor that it needs.

    Raises:
        FileNotFoundError: the weights of a critic are missing.
    """
    from worldr1.reconstruction.stereo import StereoReconstructor
    from worldr1.rewards.compose import RewardComposer
    from worldr1.rewards.general import GeneralReward
    from worldr1.rewards.meta import MetaReward
    from worldr1.rewards.recon import ReconReward
    from worldr1.rewards.traj import TrajReward
    from worldr1.tinyworld.critic import critics_dir

    settings = recipe.reward
    folder = critics_dir() if settings.critics == "tiny" else Path(settings.critics)
    makers: dict[str, Callable[[], Reward]] = {
        "meta": lambda: MetaReward.from_directory(folder),
        "recon": lambda: ReconReward(sharpness=settings.sharpness),
        "traj": TrajReward,
        "general": lambda: GeneralReward.from_directory(folder),
    }
    rewards = {name: makers[name]() for name in settings.weights}
    return RewardComposer(rewards, settings.weights, StereoReconstructor())
