"""The shapes of a recipe's pipeline, from published configurations or from the files of a directory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from worldr1.planning.meter import Reading, measure
from worldr1.policy.wan_configs import WAN_SHAPES
from worldr1.recipes.settings import ClipSettings, ModelSettings
from worldr1.recipes.weights import examine

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan, WanTransformer3DModel

_TEMPORAL, _SPATIAL = 4, 8
_STEADY = 4
"""From this many latent frames on, every further one costs the autoencoder the same."""


@dataclass(frozen=True)
class PipelineShape:
    """A pipeline without weights.

    Attributes:
        transformer: arguments of ``WanTransformer3DModel``.
        vae: arguments of ``AutoencoderKLWan``.
        text_parameters: of the text encoder.
    """

    transformer: Mapping[str, Any]
    vae: Mapping[str, Any]
    text_parameters: int

    def build_transformer(self, layers: int | None = None) -> WanTransformer3DModel:
        """The transformer on the meta device, with all of its layers or so many."""
        from diffusers import WanTransformer3DModel

        chosen = dict(self.transformer) if layers is None else {**self.transformer, "num_layers": layers}
        with torch.device("meta"):
            return WanTransformer3DModel(**chosen)

    def build_vae(self) -> AutoencoderKLWan:
        """The autoencoder on the meta device."""
        from diffusers import AutoencoderKLWan

        with torch.device("meta"):
            return AutoencoderKLWan(**self.vae)


def shape_of(model: ModelSettings) -> PipelineShape:
    """The shape of a recipe's pipeline.

    Raises:
        ValueError: the pipeline is neither on this machine nor one whose shape is known.
    """
    if model.path in WAN_SHAPES:
        known = WAN_SHAPES[model.path]
        return PipelineShape(known.transformer, {}, known.text_parameters)
    if model.path == "tiny":
        from worldr1.tinyworld import pipeline_dir

        return _read(Path(pipeline_dir()))
    place = examine("policy", model.path, model.revision).place
    if place is None:
        known_names = ", ".join(WAN_SHAPES)
        raise ValueError(f"the shape of {model.path} is not known before it is here; known are {known_names}")
    return _read(place)


def parameters_of(module: torch.nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def measure_forward(shape: PipelineShape, model: ModelSettings, clip: ClipSettings) -> Reading:
    """One evaluation of the transformer for one video, without gradient."""
    return _over_layers(shape, lambda layers: _evaluate(shape, model, clip, layers, None))


def measure_training(shape: PipelineShape, model: ModelSettings, clip: ClipSettings, checkpointing: bool) -> Reading:
    """One evaluation with gradient and its backward pass for one video."""
    return _over_layers(shape, lambda layers: _evaluate(shape, model, clip, layers, checkpointing))


def measure_decode(shape: PipelineShape, clip: ClipSettings, tiling: bool) -> Reading:
    """The decoding of one video in float32."""
    vae = shape.build_vae().requires_grad_(False)
    frames = (clip.frames - 1) // _TEMPORAL + 1
    if not tiling:
        return _decode(vae, frames, clip.height, clip.width)
    rows = _tiles(clip.height, vae.tile_sample_min_height, vae.tile_sample_stride_height)
    columns = _tiles(clip.width, vae.tile_sample_min_width, vae.tile_sample_stride_width)
    tile = _decode(vae, frames, max(rows), max(columns))
    video = 4.0 * 3 * clip.frames * clip.height * clip.width
    return Reading(tile.flops * sum(rows) * sum(columns) / (max(rows) * max(columns)), tile.peak + 3 * video)


def _tiles(side: int, length: int, stride: int) -> list[int]:
    return [min(length, side - start) for start in range(0, side, stride)]


def _decode(vae: AutoencoderKLWan, frames: int, height: int, width: int) -> Reading:
    """All latent frames beyond the first few cost the same."""

    def decode(count: int) -> Reading:
        def compute() -> None:
            latents = torch.empty(1, vae.config.z_dim, count, height // _SPATIAL, width // _SPATIAL)
            vae.decode(latents, return_dict=False)

        with torch.no_grad():
            return measure(compute)

    if frames <= _STEADY + 1:
        return decode(frames)
    return decode(_STEADY).extrapolated(decode(_STEADY + 1), frames - _STEADY)


def _over_layers(shape: PipelineShape, evaluate: Callable[[int], Reading]) -> Reading:
    """All layers are alike: what two and three of them take tells what all of them take."""
    layers = int(shape.transformer["num_layers"])
    if layers <= 3:
        return evaluate(layers)
    return evaluate(2).extrapolated(evaluate(3), layers - 2)


def _evaluate(
    shape: PipelineShape, model: ModelSettings, clip: ClipSettings, layers: int, checkpointing: bool | None
) -> Reading:
    """One evaluation; `checkpointing` None leaves gradients out."""
    network = shape.build_transformer(layers)
    dtype = torch.bfloat16 if model.dtype == "bfloat16" else torch.float32
    for parameter in network.parameters():
        parameter.data = parameter.data.to(dtype)
    _make_trainable(network, model)
    if checkpointing:
        network.enable_gradient_checkpointing()
    config = network.config
    latents = (clip.frames - 1) // _TEMPORAL + 1, clip.height // _SPATIAL, clip.width // _SPATIAL
    with torch.device("meta"):
        video = torch.empty(1, config.in_channels, *latents, dtype=dtype)
        text = torch.empty(1, model.max_tokens, config.text_dim, dtype=dtype)
        time = torch.empty(1)

    def compute() -> None:
        output = network(hidden_states=video, timestep=time, encoder_hidden_states=text, return_dict=False)[0]
        if checkpointing is not None:
            output.float().square().mean().backward()

    with torch.set_grad_enabled(checkpointing is not None):
        return measure(compute)


def _make_trainable(network: WanTransformer3DModel, model: ModelSettings) -> None:
    if model.adapter == "full":
        return
    from peft import LoraConfig

    network.requires_grad_(False)
    with torch.device("meta"):
        network.add_adapter(LoraConfig(r=model.rank, lora_alpha=model.alpha, target_modules=list(model.targets)))


def trainable_parameters(shape: PipelineShape, model: ModelSettings) -> int:
    """How many parameters the recipe trains."""
    network = shape.build_transformer()
    _make_trainable(network, model)
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def shape_is_known(model: ModelSettings) -> bool:
    """Whether `shape_of` tells all of a pipeline: Wan2.1, or another of its build."""
    if model.path in WAN_SHAPES or model.path == "tiny":
        return True
    place = examine("policy", model.path, model.revision).place
    return place is not None and _is_wan21(place)


def _is_wan21(folder: Path) -> bool:
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    second = (index.get("transformer_2") or [None])[0]
    return index["_class_name"] == "WanPipeline" and not second and not index.get("expand_timesteps")


def _read(folder: Path) -> PipelineShape:
    if not _is_wan21(folder):
        raise ValueError(f"the plan knows pipelines built as Wan2.1; {folder} holds another kind")
    from transformers import UMT5Config, UMT5EncoderModel

    with torch.device("meta"):
        text = UMT5EncoderModel(UMT5Config.from_pretrained(folder / "text_encoder"))
    return PipelineShape(
        _arguments(folder / "transformer" / "config.json"),
        _arguments(folder / "vae" / "config.json"),
        parameters_of(text),
    )


def _arguments(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    return {key: value for key, value in content.items() if not key.startswith("_")}
