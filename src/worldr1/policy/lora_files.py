"""Adapters from disk onto a diffusers pipeline, with the scale that they were trained at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from diffusers.pipelines.wan.pipeline_wan import WanPipeline

USUAL_NAME = "pytorch_lora_weights.safetensors"
_DIFFUSERS_PREFIX = "transformer."
_UP = ("lora_B", "lora_up", "lora.up")


def find_lora(where: Path) -> Path:
    """The weights of an adapter: the file itself, or the one in its directory.

    Raises:
        FileNotFoundError: when there is none.
        ValueError: when a directory holds several, none of them with diffusers' usual name.
    """
    if where.is_file() and where.suffix == ".safetensors":
        return where
    if (where / USUAL_NAME).is_file():
        return where / USUAL_NAME
    found = sorted(where.glob("*.safetensors")) if where.is_dir() else []
    if not found:
        raise FileNotFoundError(f"no adapter in {where}; it must hold {USUAL_NAME}")
    if len(found) > 1:
        raise ValueError(f"{where} holds several adapters; name one of {', '.join(path.name for path in found)}")
    return found[0]


def load_lora(pipeline: WanPipeline, file: Path) -> None:
    """Put an adapter on a pipeline's transformer: W + (alpha / rank) B A.

    Alpha is read from wherever the file has it: diffusers' metadata, or one ``.alpha`` beside each pair of matrices.
    A file without any means alpha = rank, as everywhere in diffusers.

    Args:
        pipeline: to put it on.
        file: a .safetensors of diffusers, or of the trainers whose layout diffusers converts.

    Raises:
        ValueError: when the file is damaged, or is no adapter for this transformer.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(str(file))
    except SafetensorError as error:
        raise ValueError(f"{file} is no .safetensors file, or is damaged: {error}") from error
    if not any("lora" in name for name in state):
        raise ValueError(f"{file} holds no adapter: none of its {len(state)} tensors has 'lora' in its name")
    try:
        if any(name.startswith(_DIFFUSERS_PREFIX) and name.endswith(".alpha") for name in state):
            pipeline.load_lora_weights(fold_alphas(state))
        else:
            pipeline.load_lora_weights(str(file.parent), weight_name=file.name, use_safetensors=True)
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"{file} does not fit this model's transformer: {error}") from error
    if not getattr(pipeline.transformer, "peft_config", None):
        raise ValueError(f"{file} holds no adapter for this model's transformer")


def fold_alphas(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Adapters with their alphas multiplied in: B becomes (alpha / rank) B, and the ``.alpha`` entries are left out."""
    alphas = {name.removesuffix(".alpha"): float(value) for name, value in state.items() if name.endswith(".alpha")}
    folded = {}
    for name, tensor in state.items():
        if name.endswith(".alpha"):
            continue
        place = next((name.find(f".{up}") for up in _UP if f".{up}" in name), -1)
        alpha = alphas.get(name[:place]) if place > 0 else None
        folded[name] = tensor if alpha is None or tensor.ndim < 2 else tensor * (alpha / tensor.shape[1])
    return folded
