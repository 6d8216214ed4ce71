"""From a recipe's model section to a policy on its device."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from worldr1.recipes.settings import ModelSettings, Recipe
from worldr1.recipes.weights import place_of
from worldr1.rl.seeds import Stream, seed_of

if TYPE_CHECKING:
    from worldr1.policy.cached_text import CachedTextEncoder
    from worldr1.policy.diffusers_policy import DiffusersPolicy

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def training_device() -> str:
    """ "cuda" where there is one, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def load_policy(recipe: Recipe, prompts: Sequence[str] = ()) -> DiffusersPolicy:
    """The policy of a recipe; the run's seed draws the adapter's first weights.

    Args:
        recipe: its model, sampling and seed are used.
        prompts: with `model.embeds_cache` these are encoded now, after which the text encoder leaves memory.

    Raises:
        FileNotFoundError: the weights are missing; the sentence names the command that gets them.
    """
    policy = wrap(_load(_place(recipe.model.path, recipe.model.revision), recipe), recipe)
    if recipe.model.embeds_cache is not None:
        encode_all(policy, prompts)
    return policy


def load_sampler(name: str, recipe: Recipe) -> DiffusersPolicy:
    """A model that only samples, in the precision and with the settings in which a recipe trains.

    Args:
        name: 'tiny', a run directory, a diffusers directory, or a hub name.
        recipe: its model (but for path and revision) and sampling are used.

    Raises:
        FileNotFoundError: as `load_policy`, and for a run that has not saved what it trained.
    """
    from worldr1.pipelines import base_and_adapter

    base, adapter = base_and_adapter(name)
    whole = torch.float32 if recipe.model.adapter == "full" else None
    return wrap(_load(_place(base), recipe, adapter, whole), recipe, samples_only=True)


def wrap(pipeline: Any, recipe: Recipe, samples_only: bool = False) -> DiffusersPolicy:
    """A pipeline, loaded and on its device, as the policy that a recipe asks for; or as one that only samples."""
    from worldr1.policy.adapters import make_policy
    from worldr1.policy.diffusers_policy import LoraSettings

    model: ModelSettings = recipe.model
    if model.vae_tiling:
        pipeline.vae.enable_tiling()
    if model.vae_slicing:
        pipeline.vae.enable_slicing()
    checkpointing = model.gradient_checkpointing
    adapts = model.adapter == "lora" and not samples_only
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(Stream.WEIGHTS, recipe.seed))
        return make_policy(
            pipeline,
            recipe.sampling.guidance,
            model.max_tokens,
            LoraSettings(model.rank, model.alpha, model.targets) if adapts else None,
            autocast=_autocast(model, pipeline.transformer.device.type),
            gradient_checkpointing=pipeline.transformer.device.type == "cuda"
            if checkpointing is None
            else checkpointing,
            samples_only=samples_only,
            guidance_2=recipe.sampling.guidance_2,
        )


def encode_all(policy: DiffusersPolicy, prompts: Sequence[str]) -> None:
    """Encode prompts, which the policy remembers; a text encoder that is cached on disk then leaves memory."""
    from worldr1.policy.cached_text import CachedTextEncoder

    distinct = list(dict.fromkeys([*prompts, policy.negative_prompt]))
    for index, prompt in enumerate(distinct, start=1):
        policy.encode([prompt])
        if index % 500 == 0:
            logger.info("%d of %d prompts encoded", index, len(distinct))
    encoder = policy.pipeline.text_encoder
    if isinstance(encoder, CachedTextEncoder):
        encoder.release()


def _place(name: str, revision: str | None = None) -> str:
    return name if name == "tiny" else str(place_of(name, revision))


def _load(path: str, recipe: Recipe, lora: Path | None = None, transformer_dtype: torch.dtype | None = None) -> Any:
    """A pipeline in a recipe's precision, with its text encoder or one cached on disk."""
    from worldr1.pipelines import load_pipeline

    model, device = recipe.model, training_device()
    dtype, cached = DTYPES[model.dtype], model.embeds_cache is not None
    pipeline = load_pipeline(path, lora, dtype, device, not cached, transformer_dtype)
    if model.embeds_cache is not None:
        pipeline.text_encoder = _cached_encoder(path, Path(model.embeds_cache), dtype, device)
    return pipeline


def _autocast(model: ModelSettings, device: str) -> torch.dtype | None:
    """16-bit type in which the network runs, or None."""
    fast = device == "cuda" or torch.cpu._is_avx512_bf16_supported()
    if model.dtype == "bfloat16" or (model.autocast == "auto" and fast):
        return torch.bfloat16
    return None


def _cached_encoder(path: str, directory: Path, dtype: torch.dtype, device: str) -> CachedTextEncoder:
    from worldr1.policy.cached_text import CachedTextEncoder

    where = path
    if path == "tiny":
        from worldr1.tinyworld import pipeline_dir

        where = str(pipeline_dir())

    def load() -> torch.nn.Module:
        import transformers
        from diffusers import DiffusionPipeline

        logger.info("loading the text encoder of %s", path)
        kind = getattr(transformers, DiffusionPipeline.load_config(where)["text_encoder"][1])
        encoder = kind.from_pretrained(where, subfolder="text_encoder", dtype=dtype, use_safetensors=True)
        return encoder.to(device)

    return CachedTextEncoder(load, directory, where, dtype, device)
