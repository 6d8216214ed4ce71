"""Pipelines by name, directory or run, and the settings that suit them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from worldr1.policy.adapters import adapter_of
from worldr1.policy.lora_files import find_lora, load_lora
from worldr1.recipes import load_recipe
from worldr1.recipes.settings import ClipSettings, NoiseSettings, Recipe
from worldr1.recipes.weights import full_name, place_of

_TINY_PARAMETERS = 50_000_000
_WAN = ClipSettings(frames=81, height=480, width=832)
_COGVIDEOX = ClipSettings(frames=49, height=480, width=720)


@dataclass(frozen=True)
class GenerationDefaults:
    """What a pipeline was trained for, where a caller says nothing else."""

    clip: ClipSettings
    noise: NoiseSettings
    steps: int
    guidance: float
    max_tokens: int


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Without diffusers' bars and its complaint about the name of an argument, which older versions need."""
    from diffusers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch_dtype", category=FutureWarning)
            yield
    finally:
        if bars:
            logging.enable_progress_bar()


def load_pipeline(
    name: str | Path = "tiny",
    lora: str | Path | None = None,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    text_encoder: bool = True,
    transformer_dtype: torch.dtype | None = None,
    lora_scale: float = 1.0,
) -> Any:
    """Load a diffusers pipeline of a class that a policy stands over (`WanPipeline`, `CogVideoXPipeline`).

    Args:
        name: "tiny" (the shipped pipeline), a diffusers directory, a run directory of `worldr1 train` (its trained
            model), or a hub name such as "Wan-AI/Wan2.1-T2V-1.3B-Diffusers" whose weights are on this machine:
            nothing is downloaded, and the error names the command that does.
        lora: directory or .safetensors file of an adapter to put on it, with its own alpha.
        dtype: of the transformer and the text encoder; the autoencoder stays float32.
        device: where it shall run.
        text_encoder: load it too; without, the pipeline's is None until another is put there.
        transformer_dtype: of the transformer alone, where it shall differ from `dtype`.
        lora_scale: weight of the adapter, the run's or `lora`; above 1 it extrapolates what was trained.

    Raises:
        FileNotFoundError: the name is neither a directory nor can it be a hub name, or there is no adapter.
        ValueError: the pipeline is of another class, the adapter is damaged or does not fit, or there is none to scale.
    """
    base, trained = base_and_adapter(name)
    where, lora = _directory_of(str(base)), lora or trained
    adapter = None if lora is None else find_lora(Path(lora))
    if adapter is None and lora_scale != 1.0:
        raise ValueError(
            f"{name} has no adapter that a scale of {lora_scale} could apply to; give one, or leave it out"
        )
    return _loaded(where, adapter, dtype, device, text_encoder, transformer_dtype, lora_scale)


@_quiet_loading()
def _loaded(
    where: str,
    adapter: Path | None,
    dtype: torch.dtype,
    device: str,
    text_encoder: bool,
    transformer_dtype: torch.dtype | None,
    lora_scale: float,
) -> Any:
    """As `load_pipeline`, from the directory that holds the pipeline."""
    from diffusers import DiffusionPipeline

    adapter_of(DiffusionPipeline.load_config(where)["_class_name"])
    without = {} if text_encoder else {"text_encoder": None}
    dtypes = {"default": transformer_dtype or dtype, "text_encoder": dtype, "vae": torch.float32}
    pipeline = DiffusionPipeline.from_pretrained(where, torch_dtype=dtypes, **without)
    pipeline.set_progress_bar_config(disable=True)
    if adapter is not None:
        load_lora(pipeline, adapter, lora_scale)
    return pipeline.to(device)


def defaults_of(pipeline: Any) -> GenerationDefaults:
    """Those of the recipe 'tiny' for transformers below 50 million parameters, those of the model's family above."""
    if sum(parameter.numel() for parameter in pipeline.transformer.parameters()) >= _TINY_PARAMETERS:
        noise, config = NoiseSettings(strength=0.5), pipeline.transformer.config
        if type(pipeline).__name__ == "CogVideoXPipeline":
            newer = config.patch_size_t is not None
            clip = ClipSettings(frames=81, height=768, width=1360) if newer else _COGVIDEOX
            return GenerationDefaults(clip, noise, steps=50, guidance=6.0, max_tokens=config.max_text_seq_length)
        clip = ClipSettings(frames=121, height=704, width=1280) if pipeline.config["expand_timesteps"] else _WAN
        return GenerationDefaults(clip, noise, steps=50, guidance=5.0, max_tokens=512)
    tiny = load_recipe("tiny")
    return GenerationDefaults(tiny.clip, tiny.noise, tiny.sampling.steps, tiny.sampling.guidance, tiny.model.max_tokens)


def base_of(recipe: Recipe) -> str:
    """The name by which `load_pipeline` finds the base of a recipe, in the revision that the recipe asks for.

    Raises:
        FileNotFoundError: that revision is not on this machine.
    """
    model = recipe.model
    return model.path if model.revision is None else str(place_of(model.path, model.revision))


def base_and_adapter(name: str | Path) -> tuple[str, Path | None]:
    """What a name stands for: of a run directory its base and its adapter, or its whole pipeline; else itself.

    Raises:
        FileNotFoundError: the run has not saved what it trained, or its base is not on this machine.
    """
    run = Path(name)
    if not (run / "recipe.yaml").is_file():
        return str(name), None
    if (run / "pipeline").is_dir():
        return str(run / "pipeline"), None
    if (run / "lora").is_dir():
        return base_of(load_recipe(run / "recipe.yaml")), run / "lora"
    raise FileNotFoundError(f"{run} holds no trained model yet; finish it with `worldr1 train --resume {run}`")


def _directory_of(name: str) -> str:
    """The directory of a whole pipeline: 'tiny', a directory, a hub name, or the short one of a known model.

    Raises:
        FileNotFoundError: it is not on this machine; the sentence names the command that gets it.
    """
    if name == "tiny":
        from worldr1.tinyworld import pipeline_dir

        if not (pipeline_dir() / "model_index.json").is_file():
            raise FileNotFoundError(f"{pipeline_dir()} holds no pipeline; build it with `worldr1 tinyworld build`")
        return str(pipeline_dir())
    path = Path(name)
    if path.is_dir():
        if not (path / "model_index.json").is_file():
            raise FileNotFoundError(f"{path} is no diffusers pipeline: it holds no model_index.json")
        return str(path)
    name = full_name(name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise FileNotFoundError(f"no model '{name}'; give 'tiny', a directory, or a hub name such as owner/model")
    return str(place_of(name))
