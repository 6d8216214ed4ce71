"""What every policy over a diffusers pipeline shares: prompts, guidance, adapters, the frozen base, saved weights."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.nn.attention import SDPBackend, sdpa_kernel

from worldr1.policy.base import Conditioning
from worldr1.policy.lora_files import SECOND, save_lora
from worldr1.policy.sharding import fill, shard, whole
from worldr1.policy.swap import swapped

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

ADAPTER = "default"
FIRST = "transformer"


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


class DiffusersPolicy(ABC):
    """A diffusers text-to-video pipeline that samplers and objectives can train; a `Policy` once a family is filled in.

    The pipeline's transformers are changed in place: frozen with adapters on them, or (``lora=None``) trained in full
    beside a frozen copy. Trainable parameters are fp32, and so are the velocities, whatever the dtype of the weights.
    A policy that only samples (``samples_only``) leaves the weights as they are and copies none: it trains nothing, and
    is its own base.

    Args:
        pipeline: the pipeline; move it to its device before.
        guidance: scale of classifier-free guidance; 1 leaves it out (one network evaluation instead of two).
        max_sequence_length: tokens to which every prompt is padded, as in the pipeline's ``__call__``.
        lora: adapters to train, or None to train the transformers in full.
        autocast: dtype in which the network runs, for example ``torch.bfloat16``; None runs it as its weights are.
        negative_prompt: what guidance points away from.
        gradient_checkpointing: recompute activations in the backward pass.
        samples_only: never to be trained; without ``lora``.
        guidance_2: scale of the second of two experts; None takes ``guidance``. Neither is guided where that is 1.

    Raises:
        ValueError: for ``lora`` together with ``samples_only``, and for ``guidance_2`` without a second transformer.
    """

    blocks = "blocks"
    """The attribute of a transformer that holds its layers."""

    def __init__(
        self,
        pipeline: Any,
        guidance: float = 1.0,
        max_sequence_length: int = 512,
        lora: LoraSettings | None = None,
        autocast: torch.dtype | None = None,
        negative_prompt: str = "",
        gradient_checkpointing: bool = False,
        samples_only: bool = False,
        guidance_2: float | None = None,
    ) -> None:
        if samples_only and lora is not None:
            raise ValueError("a policy that only samples trains no adapter: give lora or samples_only, not both")
        self.pipeline = pipeline
        if guidance_2 is not None and getattr(pipeline, SECOND, None) is None:
            raise ValueError("guidance_2 guides the second of two experts, which this pipeline lacks; leave it out")
        self.guidance = float(guidance)
        self.guidance_2 = self.guidance if guidance_2 is None else float(guidance_2)
        self.max_sequence_length = max_sequence_length
        self.lora = lora
        self.samples_only = samples_only
        self.autocast = autocast
        self.negative_prompt = negative_prompt
        self._embeds: dict[str, Tensor] = {}
        self._in_base = False
        self._sharded = False
        pipeline.vae.requires_grad_(False).eval()
        pipeline.text_encoder.requires_grad_(False).eval()
        found = {name: getattr(pipeline, name, None) for name in (FIRST, SECOND)}
        self._networks = {name: network.eval() for name, network in found.items() if network is not None}
        self._transformer = self._networks[FIRST]
        self._classes = {name: type(network) for name, network in self._networks.items()}
        for network in self._networks.values():
            network.requires_grad_(False)
            if gradient_checkpointing:
                network.enable_gradient_checkpointing()
            if not samples_only:
                _make_trainable(network, lora)
        self._dtype = self._transformer.dtype
        self._take_stock()

    @property
    def device(self) -> torch.device:
        """Device of the transformer."""
        return self._transformer.device

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Videos [B, T, 3, H, W], fp32 in [0, 1], of ``latents`` [B, C, t, h, w], exactly as the pipeline does."""

    @abstractmethod
    def compress(self, videos: Tensor) -> Tensor:
        """Latents [B, C, t, h, w] of ``videos`` [B, T, 3, H, W] in [0, 1], the posterior's mode; no gradient.

        ``decode`` takes them back, as well as the autoencoder can.
        """

    @abstractmethod
    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(C, T, H, W) of the latents of one video; raises ValueError for sizes that the model cannot make."""

    @abstractmethod
    def sigmas(self, steps: int) -> Tensor:
        """The sampling schedule, fp32 [steps + 1], from 1 to 0; raises ValueError if ``steps`` is below 1."""

    @abstractmethod
    def _network(self, latents: Tensor, sigma: Tensor, embeds: Tensor) -> Tensor:
        """Velocity fp32 [B, C, T, H, W] of latents of this shape at ``sigma`` [B], for embeddings [B, L, D]."""

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
        """Velocity v = eps - x0, guided when ``guidance`` is not 1, by the scale of each sample's expert.

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
            velocity = unconditional + self._guidance(sigma) * (velocity - unconditional)
        return velocity

    def _guidance(self, sigma: Tensor) -> Tensor:
        """Scale of guidance [B, 1, 1, 1, 1] at ``sigma`` [B]."""
        return torch.full_like(sigma, self.guidance, dtype=torch.float32).reshape(-1, 1, 1, 1, 1)

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

    def extrapolated(self, scale: float) -> AbstractContextManager[None]:
        """Inside it the present weights lie ``scale`` times as far from the base (ExPO, arXiv 2404.16792).

        An adapter's product B A is scaled by its B, as a pipeline's adapter weight does. Use it without gradients.
        """
        if scale == 1.0:
            return nullcontext()
        present = self._trainable.items()
        if self.lora:
            values = [p.detach() * scale if ".lora_B." in name else p.detach() for name, p in present]
        else:
            values = [base + scale * (p.detach() - base) for base, (_, p) in zip(self._frozen, present, strict=True)]
        return swapped(self.trainable_parameters(), values)

    def trainable_parameters(self) -> list[Parameter]:
        """The adapters' parameters, or all of the transformers', in the transformers' order."""
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
        """Spread the transformers' weights over the processes of ``mesh`` (FSDP2).

        Before any optimizer or copy of the parameters; from then on all processes must run the network together.
        """
        for network in self._networks.values():
            shard(network, list(getattr(network, self.blocks)), mesh)
        self._sharded = True
        self._take_stock()

    def save(self, directory: str | Path | None) -> None:
        """Write what was trained.

        With adapters: ``pytorch_lora_weights.safetensors`` for the pipeline's ``load_lora_weights``, alpha / rank
        multiplied in, and a second file for a second transformer. Without: the whole pipeline for ``from_pretrained``.
        No directory: only give parts of the weights.

        Raises:
            ValueError: by a policy that only samples.
        """
        if self.samples_only:
            raise ValueError("this policy only samples: it has trained nothing that could be saved")
        gathered = {name: whole(tensor).cpu() for name, tensor in self._trainable.items()} if self._sharded else None
        if directory is None:
            return
        if self.lora is None:
            pipeline = self.pipeline if gathered is None else self._with_weights(gathered)
            pipeline.save_pretrained(str(directory))
            return
        from peft.utils import get_peft_model_state_dict

        for name, network in self._networks.items():
            state = None if gathered is None else _of(name, gathered)
            layers = get_peft_model_state_dict(network, state_dict=state, adapter_name=ADAPTER)
            save_lora(self.pipeline, directory, layers, network.peft_config[ADAPTER], second=name == SECOND)

    def _take_stock(self) -> None:
        """Find the trainable parameters and, without adapters, copy them as the frozen base."""
        self._trainable: dict[str, Parameter] = {
            _prefix(place) + name: parameter
            for place, network in self._networks.items()
            for name, parameter in network.named_parameters()
            if parameter.requires_grad
        }
        self._frozen = [] if self.lora else [parameter.detach().clone() for parameter in self._trainable.values()]

    def _with_weights(self, weights: Mapping[str, Tensor]) -> Any:
        """The pipeline with ordinary transformers of these weights in place of those spread over processes."""
        plain = copy.copy(self.pipeline)
        for name, network in self._networks.items():
            with torch.device("meta"):
                transformer = self._classes[name].from_config(network.config)
            transformer.load_state_dict(_of(name, weights), assign=True)
            plain.register_modules(**{name: transformer})
        return plain

    def _embed(self, prompt: str) -> Tensor:
        if prompt not in self._embeds:
            with torch.no_grad():
                embeds, _ = self.pipeline.encode_prompt(
                    prompt, do_classifier_free_guidance=False, max_sequence_length=self.max_sequence_length
                )
            words = int(embeds[0].any(dim=-1).sum())
            self._embeds[prompt] = embeds[:, :words].to("cpu", self._dtype, copy=True)
        embeds = self._embeds[prompt].to(self.device)
        return nn.functional.pad(embeds, (0, 0, 0, self.max_sequence_length - embeds.shape[1]))

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
        with ExitStack() as after:
            for network in self._networks.values():
                network.disable_adapters()
                after.callback(network.enable_adapters)
            yield


def check_sides(height: int, width: int, multiples: tuple[int, int]) -> None:
    """Raises ValueError unless both sides, in pixels, are positive multiples."""
    for name, side, multiple in (("height", height, multiples[0]), ("width", width, multiples[1])):
        if side < 1 or side % multiple:
            raise ValueError(f"{name} must be a positive multiple of {multiple}, got {side}")


def _prefix(place: str) -> str:
    return "" if place == FIRST else f"{place}."


def _of(place: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of one transformer, by their names in it."""
    if place == FIRST:
        return {name: tensor for name, tensor in tensors.items() if not name.startswith(_prefix(SECOND))}
    prefix = _prefix(place)
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _make_trainable(transformer: Any, lora: LoraSettings | None) -> None:
    if lora is None:
        transformer.requires_grad_(True)
    else:
        from peft import LoraConfig

        config = LoraConfig(
            r=lora.rank, lora_alpha=lora.alpha, target_modules=list(lora.targets), init_lora_weights="gaussian"
        )
        transformer.add_adapter(config, adapter_name=ADAPTER)
    for parameter in transformer.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
