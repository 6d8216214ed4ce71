"""The shape of a recipe's pipeline: its networks without weights, and its policy over them on the meta device."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from worldr1.policy.adapters import adapter_of, make_policy
from worldr1.policy.diffusers_policy import ADAPTER, DiffusersPolicy, LoraSettings
from worldr1.policy.lora_files import SECOND
from worldr1.recipes.settings import ModelSettings
from worldr1.recipes.weights import examine

_CLASSES = {
    "WanPipeline": ("WanTransformer3DModel", "AutoencoderKLWan"),
    "CogVideoXPipeline": ("CogVideoXTransformer3DModel", "AutoencoderKLCogVideoX"),
}
"""Transformer and autoencoder of diffusers, by the pipeline's class."""


@dataclass(frozen=True)
class PipelineShape:
    """A pipeline without weights.

    Attributes:
        transformer: arguments of its transformer's class.
        vae: arguments of its autoencoder's class.
        text_parameters: of the text encoder.
        pipeline: its class in diffusers, one that a policy stands over.
        experts: transformers of this shape, of which one works at a time.
        per_token: whether every token has a time of its own (`expand_timesteps`).
    """

    transformer: Mapping[str, Any]
    vae: Mapping[str, Any]
    text_parameters: int
    pipeline: str = "WanPipeline"
    experts: int = 1
    per_token: bool = False

    def build_transformer(self, layers: int | None = None) -> Any:
        """One transformer on the meta device, with all of its layers or so many."""
        return self._build(0, self.transformer if layers is None else {**self.transformer, "num_layers": layers})

    def build_vae(self) -> Any:
        """The autoencoder on the meta device."""
        return self._build(1, self.vae)

    def build_policy(
        self, model: ModelSettings, layers: int | None = None, checkpointing: bool = False
    ) -> DiffusersPolicy:
        """The recipe's policy on the meta device, over one expert, in one dtype and without guidance."""
        import diffusers

        dtype = torch.bfloat16 if model.dtype == "bfloat16" else torch.float32
        network = self.build_transformer(layers)
        _cast(network, dtype)
        pipeline = getattr(diffusers, self.pipeline)(
            tokenizer=None,
            text_encoder=None,
            vae=self.build_vae(),
            transformer=network,
            scheduler=_scheduler(self.pipeline),
            **({"expand_timesteps": True} if self.per_token else {}),
        )
        pipeline.text_encoder = torch.nn.Identity()
        lora = LoraSettings(model.rank, model.alpha, model.targets) if model.adapter == "lora" else None
        with torch.device("meta"):
            policy = make_policy(pipeline, 1.0, model.max_tokens, lora, gradient_checkpointing=checkpointing)
        _cast(network, dtype)
        if dtype == torch.bfloat16:
            for name, module in network.named_modules():
                if name.endswith(f"lora_A.{ADAPTER}"):
                    module.register_forward_pre_hook(_as_autocast)
        return policy

    def _build(self, part: int, arguments: Mapping[str, Any]) -> Any:
        import diffusers

        with torch.device("meta"):
            return getattr(diffusers, _CLASSES[self.pipeline][part])(**arguments)


def shape_of(model: ModelSettings) -> PipelineShape:
    """The shape of a recipe's pipeline.

    Raises:
        ValueError: the pipeline is neither on this machine nor one whose shape is known, or no policy stands over it.
    """
    from worldr1.planning.published import PUBLISHED

    if model.path in PUBLISHED:
        return PUBLISHED[model.path]
    if model.path == "tiny":
        from worldr1.tinyworld import pipeline_dir

        return _read(Path(pipeline_dir()))
    found = examine("policy", model.path, model.revision)
    if found.place is None:
        known = ", ".join(PUBLISHED)
        raise ValueError(
            f"the shape of {model.path} is not known before it is here, and it {found.problem}; "
            + (f"get it with: {found.command}" if found.command else "give another path")
            + f"; known without are {known}"
        )
    return _read(found.place)


def parameters_of(module: torch.nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def trainable_parameters(shape: PipelineShape, model: ModelSettings) -> int:
    """How many parameters the recipe trains, of all experts together; all layers train as many."""

    def trained(layers: int) -> int:
        return sum(parameter.numel() for parameter in shape.build_policy(model, layers).trainable_parameters())

    layers, first = int(shape.transformer["num_layers"]), trained(1)
    return shape.experts * (first + (layers - 1) * (trained(2) - first))


def _as_autocast(_: torch.nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
    """What an adapter sees: its input in its own float32, of which autocast makes, and keeps, a bfloat16 copy."""
    return inputs[0].float().to(torch.bfloat16)


def _cast(network: torch.nn.Module, dtype: torch.dtype) -> None:
    for parameter in network.parameters():
        parameter.data = parameter.data.to(dtype)


def _scheduler(pipeline: str) -> Any:
    """One that the policy takes; no size depends on it."""
    from diffusers import CogVideoXDDIMScheduler, FlowMatchEulerDiscreteScheduler

    if pipeline == "WanPipeline":
        return FlowMatchEulerDiscreteScheduler(shift=3.0)
    return CogVideoXDDIMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True)


def _read(folder: Path) -> PipelineShape:
    import transformers

    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    adapter_of(index["_class_name"])
    encoder = getattr(transformers, index["text_encoder"][1])
    with torch.device("meta"):
        text = encoder(encoder.config_class.from_pretrained(folder / "text_encoder"))
    return PipelineShape(
        _arguments(folder / "transformer" / "config.json"),
        _arguments(folder / "vae" / "config.json"),
        parameters_of(text),
        pipeline=index["_class_name"],
        experts=2 if (index.get(SECOND) or [None])[0] else 1,
        per_token=bool(index.get("expand_timesteps")),
    )


def _arguments(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    return {key: value for key, value in content.items() if not key.startswith("_")}
