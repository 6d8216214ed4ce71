"""Adapters on disk and from there onto a diffusers pipeline, with the scale that they were trained at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from peft import LoraConfig

USUAL_NAME = "pytorch_lora_weights.safetensors"
SECOND = "transformer_2"
SECOND_NAME = "pytorch_lora_weights_2.safetensors"
"""Beside the usual file: the adapter of a pipeline's second transformer."""
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
    found = [path for path in found if path.name != SECOND_NAME] or found
    if len(found) > 1:
        raise ValueError(f"{where} holds several adapters; name one of {', '.join(path.name for path in found)}")
    return found[0]


def save_lora(
    pipeline: Any, directory: str | Path, layers: Mapping[str, Tensor], config: LoraConfig, second: bool = False
) -> None:
    """Write an adapter that every reader applies at the strength that it was trained at.

    alpha / rank is multiplied into the B matrices and the file says alpha = rank, since many readers of diffusers'
    layout (ComfyUI, converters) look neither at its metadata nor for an alpha, and apply B A as it is.

    Args:
        pipeline: whose layout is written.
        directory: to write USUAL_NAME into.
        layers: matrices A and B by the names that peft gives them.
        config: peft's; rank and alpha are read from it.
        second: of the pipeline's second transformer, into SECOND_NAME.
    """
    strength = config.lora_alpha / config.r
    pipeline.save_lora_weights(
        str(directory),
        transformer_lora_layers={
            name: matrix * strength if ".lora_B." in name else matrix for name, matrix in layers.items()
        },
        transformer_lora_adapter_metadata={**config.to_dict(), "lora_alpha": config.r},
        weight_name=SECOND_NAME if second else USUAL_NAME,
    )


def load_lora(pipeline: Any, file: Path, scale: float = 1.0) -> None:
    """Put an adapter on a pipeline's transformer: W + scale (alpha / rank) B A.

    A pipeline of two transformers (Wan2.2) finds the second one's adapter beside it, in SECOND_NAME, if there is one.
    Alpha is read from wherever the file has it: diffusers' metadata, or one ``.alpha`` beside each pair of matrices.
    A file without any means alpha = rank, as everywhere in diffusers.

    Args:
        pipeline: to put it on.
        file: a .safetensors of diffusers, or of the trainers whose layout diffusers converts.
        scale: diffusers' adapter weight; above 1 it extrapolates what was trained.

    Raises:
        ValueError: when the file is damaged, or is no adapter for this transformer.
    """
    _load_into(pipeline, "transformer", file, scale)
    second = file.with_name(SECOND_NAME)
    if second.is_file() and second != file and getattr(pipeline, SECOND, None) is not None:
        _load_into(pipeline, SECOND, second, scale)


def _load_into(pipeline: Any, place: str, file: Path, scale: float) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(str(file))
    except SafetensorError as error:
        raise ValueError(f"{file} is no .safetensors file, or is damaged: {error}") from error
    if not any("lora" in name for name in state):
        raise ValueError(f"{file} holds no adapter: none of its {len(state)} tensors has 'lora' in its name")
    chosen = {"load_into_transformer_2": True} if place == SECOND else {}
    try:
        if any(name.startswith(_DIFFUSERS_PREFIX) and name.endswith(".alpha") for name in state):
            pipeline.load_lora_weights(fold_alphas(state), **chosen)
        else:
            pipeline.load_lora_weights(str(file.parent), weight_name=file.name, use_safetensors=True, **chosen)
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"{file} does not fit this model's transformer: {error}") from error
    network = getattr(pipeline, place)
    if not getattr(network, "peft_config", None):
        raise ValueError(f"{file} holds no adapter for this model's transformer")
    if scale != 1.0:
        network.set_adapters(network.active_adapters(), scale)


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
