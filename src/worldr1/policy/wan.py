"""Wan as a policy: a thin adapter over a diffusers ``WanPipeline``, of Wan2.1 and Wan2.2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from worldr1.policy.diffusers_policy import FIRST, DiffusersPolicy, LoraSettings, check_sides
from worldr1.policy.lora_files import SECOND

if TYPE_CHECKING:
    from diffusers.pipelines.wan.pipeline_wan import WanPipeline

__all__ = ["LoraSettings", "WanPolicy", "flow_shift"]


class WanPolicy(DiffusersPolicy):
    """Wan text to video: Wan2.1, the two experts of Wan2.2-T2V-A14B, and Wan2.2-TI2V-5B with its time per token.

    With two experts the first one takes the noise levels from ``boundary_ratio`` up and the second those below. Both
    carry adapters and both learn where samples pass; ``guidance`` is the scale of the first, ``guidance_2`` that of the
    second, as in ``WanPipeline``. Arguments are those of `DiffusersPolicy`.

    Raises:
        ValueError: for schedulers without a constant flow shift, a pipeline that lacks one of two experts, and as
            `DiffusersPolicy`.
    """

    def __init__(self, pipeline: WanPipeline, *args: Any, **settings: Any) -> None:
        boundary = pipeline.config["boundary_ratio"]
        lacking = [name for name in (FIRST, SECOND) if getattr(pipeline, name, None) is None]
        if FIRST in lacking or (boundary is not None and lacking):
            raise ValueError(f"the pipeline has boundary_ratio={boundary}, but {lacking[0]} is missing")
        super().__init__(pipeline, *args, **settings)
        self.shift = flow_shift(pipeline.scheduler.config)
        self._scale = pipeline.scheduler.config.num_train_timesteps
        self._boundary = None if boundary is None else boundary * self._scale
        self._per_token = bool(pipeline.config["expand_timesteps"])

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

    @torch.no_grad()
    def compress(self, videos: Tensor) -> Tensor:
        """Latents [B, C, t, h, w], normalised, of ``videos`` [B, T, 3, H, W] in [0, 1]: the posterior's mode."""
        vae = self.pipeline.vae
        shape = (1, vae.config.z_dim, 1, 1, 1)
        latents: Tensor = vae.encode((videos * 2 - 1).transpose(1, 2).to(vae.device, vae.dtype)).latent_dist.mode()
        mean, std = (torch.tensor(v).view(shape) for v in (vae.config.latents_mean, vae.config.latents_std))
        return (latents - mean.to(latents)) / std.to(latents)

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(C, T, H, W) of the latents of one video.

        Raises:
            ValueError: if frames is not 1 plus a multiple of the temporal factor, or a side no multiple of the patch.
        """
        config = self._transformer.config
        temporal, spatial = self.pipeline.vae_scale_factor_temporal, self.pipeline.vae_scale_factor_spatial
        if frames < 1 or (frames - 1) % temporal:
            raise ValueError(f"frames must be 1 plus a multiple of {temporal}, got {frames}")
        check_sides(height, width, (spatial * config.patch_size[1], spatial * config.patch_size[2]))
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

    def _network(self, latents: Tensor, sigma: Tensor, embeds: Tensor) -> Tensor:
        timestep = sigma.float() * self._scale
        if self._boundary is None:
            return self._evaluate(FIRST, latents, timestep, embeds)
        noisy = self._noisy(sigma)
        experts = [(FIRST, noisy.nonzero()[:, 0]), (SECOND, (~noisy).nonzero()[:, 0])]
        shares = [(name, rows) for name, rows in experts if len(rows)]
        parts = [self._evaluate(name, latents[rows], timestep[rows], embeds[rows]) for name, rows in shares]
        order = torch.cat([rows for _, rows in shares]).argsort()
        return torch.cat(parts)[order]

    def _guidance(self, sigma: Tensor) -> Tensor:
        scale = super()._guidance(sigma)
        if self._boundary is None:
            return scale
        return torch.where(self._noisy(sigma).reshape(scale.shape), scale, self.guidance_2)

    def _noisy(self, sigma: Tensor) -> Tensor:
        """Which samples [B] are the first expert's."""
        return sigma.float() * self._scale >= self._boundary

    def _evaluate(self, name: str, latents: Tensor, timestep: Tensor, embeds: Tensor) -> Tensor:
        network = self._networks[name]
        if self._per_token:
            tokens = [side // patch for side, patch in zip(latents.shape[2:], network.config.patch_size, strict=True)]
            timestep = timestep[:, None].expand(-1, tokens[0] * tokens[1] * tokens[2])
        with self._precision():
            output: Tensor = network(
                hidden_states=latents.to(self._dtype),
                timestep=timestep,
                encoder_hidden_states=embeds,
                return_dict=False,
            )[0]
        return output.float()


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
