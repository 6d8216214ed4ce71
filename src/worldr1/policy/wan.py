"""Wan as a policy: a thin adapter over a diffusers ``WanPipeline``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.attention import SDPBackend, sdpa_kernel

from worldr1.policy.base import Conditioning
from worldr1.policy.sharding import fill, shard, whole
from worldr1.policy.swap import swapped

if TYPE_CHECKING:
    from diffusers.pipelines.wan.pipeline_wan import WanPipeline
    from torch.distributed.device_mesh import DeviceMesh

ADAPTER = "default"


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters of the transformer.

    Attributes:
        rank: inner dimension.
        alpha: the adapter's output is scaled by ``alpha / rank``.
        targets: names (endings) of the linear layers that get one.
    """

    rank: int = 32
    alpha: int = 64
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")


class WanPolicy:
    """A diffusers ``WanPipeline`` (Wan2.1 text to video) that samplers and objectives can train.

    The pipeline's transformer is changed in place: frozen with adapters on it, or (``lora=None``) trained in full
    beside a frozen copy. Trainable parameters are fp32, and so are the velocities, whatever the dtype of the weights.
    A policy that only samples (``samples_only``) leaves the weights as they are and copies none: it trains nothing, and
    is its own base.

    Args:
        pipeline: the pipeline; move it to its device before.
        guidance: scale of classifier-free guidance; 1 leaves it out (one network evaluation instead of two).
        max_sequence_length: tokens to which every prompt is padded, as in ``WanPipeline.__call__``.
        lora: adapters to train, or None to train the whole transformer.
        autocast: dtype in which the network runs, for example ``torch.bfloat16``; None runs it as its weights are.
        negative_prompt: what guidance points away from.
        gradient_checkpointing: recompute activations in the backward pass.
        samples_only: never to be trained; without ``lora``.

    Raises:
        ValueError: for pipelines of two transformers or of per-token timesteps (Wan2.2), for schedulers without a
            constant flow shift, and for ``lora`` together with ``samples_only``.
    """

    def __init__(
        self,
        pipeline: WanPipeline,
        guidance: float = 1.0,
        max_sequence_length: int = 512,
        lora: LoraSettings | None = None,
        autocast: torch.dtype | None = None,
        negative_prompt: str = "",
        gradient_checkpointing: bool = False,
        samples_only: bool = False,
    ) -> None:
        if samples_only and lora is not None:
            raise ValueError("a policy that only samples trains no adapter: give lora or samples_only, not both")
        boundary, per_token = pipeline.config["boundary_ratio"], pipeline.config["expand_timesteps"]
        if boundary is not None or per_token:
            raise ValueError(
                "WanPolicy takes pipelines with one transformer and one timestep per video (Wan2.1), but this one has "
                f"boundary_ratio={boundary} and expand_timesteps={per_token}"
            )
        self.pipeline = pipeline
        self.guidance = float(guidance)
        self.max_sequence_length = max_sequence_length
        self.lora = lora
        self.samples_only = samples_only
        self.autocast = autocast
        self.negative_prompt = negative_prompt
        self.shift = flow_shift(pipeline.scheduler.config)
        self._embeds: dict[str, Tensor] = {}
        self._in_base = False
        self._sharded = False
        self._transformer = pipeline.transformer.eval()
        pipeline.vae.requires_grad_(False).eval()
        pipeline.text_encoder.requires_grad_(False).eval()
        if gradient_checkpointing:
            self._transformer.enable_gradient_checkpointing()
        self._transformer.requires_grad_(False)
        self._trainable = {} if samples_only else _make_trainable(self._transformer, lora)
        self._dtype = self._transformer.dtype
        self._frozen = [] if lora else [parameter.detach().clone() for parameter in self._trainable.values()]

    @property
    def device(self) -> torch.device:
        """Device of the transformer."""
        return self._transformer.device

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Embeddings [B, max_sequence_length, D] by the pipeline's own prompt encoding.

        Every prompt is encoded once, alone, and remembered, so that its embedding depends on nothing but itself.

        Raises:
            ValueError: for a bare string or no prompts.
        """
        if isinstance(prompts, str) or not prompts:
            raise ValueError(f"encode needs a non-empty sequence of prompts, got {prompts!r}")
        return Conditioning(torch.cat([self._embed(prompt) for prompt in prompts]))

    def velocity(self, latents: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        """Velocity v = eps - x0, guided when ``guidance`` is not 1.

        Args:
            latents: [B, C, T, H, W].
            sigma: [B], in [0, 1].
            conditioning: of B prompts.

        Returns:
            fp32 [B, C, T, H, W].

        Raises:
            ValueError: if the batch sizes differ.
        """
        batch = latents.shape[0]
        if sigma.shape != (batch,) or len(conditioning) != batch:
            raise ValueError(
                f"velocity needs sigma [{batch}] and {batch} prompts for {batch} latents, "
                f"got sigma {list(sigma.shape)} and {len(conditioning)} prompts"
            )
        velocity = self._network(latents, sigma, conditioning.embeds)
        if self.guidance != 1.0:
            negative = self._embed(self.negative_prompt).expand(batch, -1, -1)
            unconditional = self._network(latents, sigma, negative)
            velocity = unconditional + self.guidance * (velocity - unconditional)
        return velocity

    @contextmanager
    def base(self) -> Iterator[None]:
        """Inside it :meth:`velocity` is the frozen base: adapters off, or the weights of the start. May be nested."""
        if self._in_base:
            yield
            return
        self._in_base = True
        try:
            with self._adapters_off() if self.lora else swapped(self.trainable_parameters(), self._frozen):
                yield
        finally:
            self._in_base = False

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Videos [B, T, 3, H, W], fp32 in [0, 1], of ``latents`` [B, C, t, h, w], exactly as ``WanPipeline`` does."""
        vae = self.pipeline.vae
        latents = latents.to(vae.device, vae.dtype)
        shape = (1, vae.config.z_dim, 1, 1, 1)
        mean = torch.tensor(vae.config.latents_mean).view(shape).to(latents)
        inverse_std = 1.0 / torch.tensor(vae.config.latents_std).view(shape).to(latents)
        video = vae.decode(latents / inverse_std + mean, return_dict=False)[0]
        return (video * 0.5 + 0.5).clamp(0, 1).transpose(1, 2).float()

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(C, T, H, W) of the latents of one video.

        Raises:
            ValueError: if frames is not 1 plus a multiple of the temporal factor, or a side no multiple of the patch.
        """
        config = self._transformer.config
        temporal, spatial = self.pipeline.vae_scale_factor_temporal, self.pipeline.vae_scale_factor_spatial
        if frames < 1 or (frames - 1) % temporal:
            raise ValueError(f"frames must be 1 plus a multiple of {temporal}, got {frames}")
        for name, side, patch in (("height", height, config.patch_size[1]), ("width", width, config.patch_size[2])):
            if side < 1 or side % (spatial * patch):
                raise ValueError(f"{name} must be a positive multiple of {spatial * patch}, got {side}")
        return config.in_channels, (frames - 1) // temporal + 1, height // spatial, width // spatial

    def sigmas(self, steps: int) -> Tensor:
        """Wan's schedule ``shift s / (1 + (shift - 1) s)`` on ``s = linspace(1, 0, steps + 1)``; fp32 [steps + 1].

        Raises:
            ValueError: if ``steps`` is below 1.
        """
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        s = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
        return (self.shift * s / (1 + (self.shift - 1) * s)).to(self.device, torch.float32)

    def trainable_parameters(self) -> list[Parameter]:
        """The adapters' parameters, or all of the transformer's, in the transformer's order."""
        return list(self._trainable.values())

    def state_dict(self) -> dict[str, Tensor]:
        """The trainable parameters by name (references, not copies)."""
        return {name: parameter.detach() for name, parameter in self._trainable.items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy ``state`` into the trainable parameters; the base stays as it is.

        Raises:
            ValueError: if the names differ from those of :meth:`state_dict`.
        """
        if state.keys() != self._trainable.keys():
            different = sorted(state.keys() ^ self._trainable.keys())
            raise ValueError(
                f"the state does not fit this policy: {len(different)} names differ, first {different[0]!r}"
            )
        for name, parameter in self._trainable.items():
            fill(parameter, state[name])

    def shard(self, mesh: DeviceMesh) -> None:
        """Spread the transformer's weights over the processes of ``mesh`` (FSDP2).

        Before any optimizer or copy of the parameters; from then on all processes must run the network together.
        """
        shard(self._transformer, list(self._transformer.blocks), mesh)
        self._sharded = True
        named = self._transformer.named_parameters()
        self._trainable = {name: parameter for name, parameter in named if parameter.requires_grad}
        self._frozen = [] if self.lora else [parameter.detach().clone() for parameter in self._trainable.values()]

    def save(self, directory: str | Path | None) -> None:
        """Write what was trained.

        With adapters: ``pytorch_lora_weights.safetensors`` for ``WanPipeline.load_lora_weights``, alpha included.
        Without: the whole pipeline for ``WanPipeline.from_pretrained``. No directory: only give parts of the weights.

        Raises:
            ValueError: by a policy that only samples.
        """
        if self.samples_only:
            raise ValueError("this policy only samples: it has trained nothing that could be saved")
        gathered = {name: whole(tensor).cpu() for name, tensor in self._trainable.items()} if self._sharded else None
        if directory is None:
            return
        if self.lora is None:
            pipeline = self.pipeline if gathered is None else _with_weights(self.pipeline, gathered)
            pipeline.save_pretrained(str(directory))
            return
        from peft.utils import get_peft_model_state_dict

        layers = get_peft_model_state_dict(self._transformer, state_dict=gathered, adapter_name=ADAPTER)
        self.pipeline.save_lora_weights(
            str(directory),
            transformer_lora_layers=layers,
            transformer_lora_adapter_metadata=self._transformer.peft_config[ADAPTER].to_dict(),
        )

    def _embed(self, prompt: str) -> Tensor:
        if prompt not in self._embeds:
            with torch.no_grad():
                embeds, _ = self.pipeline.encode_prompt(
                    prompt, do_classifier_free_guidance=False, max_sequence_length=self.max_sequence_length
                )
            words = int(embeds[0].any(dim=-1).sum())
            self._embeds[prompt] = embeds[:, :words].to("cpu", self._dtype, copy=True)
        embeds = self._embeds[prompt].to(self.device)
        return torch.nn.functional.pad(embeds, (0, 0, 0, self.max_sequence_length - embeds.shape[1]))

    def _network(self, latents: Tensor, sigma: Tensor, embeds: Tensor) -> Tensor:
        timestep = sigma.float() * self.pipeline.scheduler.config.num_train_timesteps
        with self._precision():
            output = self._transformer(
                hidden_states=latents.to(self._dtype),
                timestep=timestep,
                encoder_hidden_states=embeds,
                return_dict=False,
            )[0]
        return output.float()

    @contextmanager
    def _precision(self) -> Iterator[None]:
        if self.autocast is None:
            yield
            return
        # The CPU's flash attention in 16 bits prepares a matrix product per head and sample: far slower than the plain.
        # A checkpoint is recomputed outside of this context and must meet the same kernel as before.
        chosen = self.device.type == "cpu" and not self._transformer.is_gradient_checkpointing
        plain = sdpa_kernel(SDPBackend.MATH) if chosen else nullcontext()
        with torch.autocast(self.device.type, self.autocast), plain:
            yield

    @contextmanager
    def _adapters_off(self) -> Iterator[None]:
        self._transformer.disable_adapters()
        try:
            yield
        finally:
            self._transformer.enable_adapters()


def flow_shift(config: Mapping[str, Any]) -> float:
    """The constant shift of a flow scheduler's config (``shift`` of flow-Euler, ``flow_shift`` of UniPC and DPM).

    Raises:
        ValueError: if the shift depends on the resolution or there is none.
    """
    if config.get("use_dynamic_shifting"):
        raise ValueError("the scheduler shifts sigmas by resolution (use_dynamic_shifting); a constant shift is needed")
    for key in ("shift", "flow_shift"):
        if config.get(key) is not None:
            return float(config[key])
    raise ValueError("the scheduler's config has neither `shift` nor `flow_shift`; use a flow-matching scheduler")


def _with_weights(pipeline: WanPipeline, weights: Mapping[str, Tensor]) -> WanPipeline:
    """The pipeline with an ordinary transformer of these weights in place of one that is spread over processes."""
    from diffusers import WanTransformer3DModel

    with torch.device("meta"):
        transformer = WanTransformer3DModel.from_config(pipeline.transformer.config)
    transformer.load_state_dict(dict(weights), assign=True)
    return type(pipeline)(**{**pipeline.components, "transformer": transformer})


def _make_trainable(transformer: torch.nn.Module, lora: LoraSettings | None) -> dict[str, Parameter]:
    if lora is None:
        transformer.requires_grad_(True)
    else:
        from peft import LoraConfig

        config = LoraConfig(
            r=lora.rank, lora_alpha=lora.alpha, target_modules=list(lora.targets), init_lora_weights="gaussian"
        )
        transformer.add_adapter(config, adapter_name=ADAPTER)  # type: ignore[operator]
    trainable = {name: parameter for name, parameter in transformer.named_parameters() if parameter.requires_grad}
    for parameter in trainable.values():
        parameter.data = parameter.data.float()
    return trainable
