"""CogVideoX as a policy: a thin adapter over a diffusers ``CogVideoXPipeline``, seen as flow matching.

CogVideoX is trained on y = a x0 + b eps with a^2 + b^2 = 1 and predicts v = a eps - b x0. Divided by a + b, y is the
state x_sigma = (1 - sigma) x0 + sigma eps of a flow with sigma = b / (a + b); its velocity is eps - x0 =
(b - a) y + (a + b) v, and an Euler step of it is a DDIM step of the original, exactly.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from worldr1.policy.diffusers_policy import DiffusersPolicy, check_sides

if TYPE_CHECKING:
    from diffusers.pipelines.cogvideo.pipeline_cogvideox import CogVideoXPipeline


class CogVideoXPolicy(DiffusersPolicy):
    """CogVideoX and CogVideoX1.5 text to video; arguments are those of `DiffusersPolicy`.

    CogVideoX1.5 sees latent frames in pairs: one frame more leads the latents, which is sampled like the others and
    dropped before they are decoded, as the pipeline does.

    Raises:
        ValueError: for a scheduler that does not predict v or does not begin at pure noise, and for ``lora`` together
            with ``samples_only``.
    """

    blocks = "transformer_blocks"

    def __init__(self, pipeline: CogVideoXPipeline, *args: Any, **settings: Any) -> None:
        config = pipeline.scheduler.config
        if config.prediction_type != "v_prediction" or not config.rescale_betas_zero_snr:
            raise ValueError(
                "CogVideoXPolicy needs a scheduler with prediction_type='v_prediction' and "
                f"rescale_betas_zero_snr=True, got {config.prediction_type!r} and {config.rescale_betas_zero_snr}"
            )
        super().__init__(pipeline, *args, **settings)
        signal = pipeline.scheduler.alphas_cumprod.double().sqrt()
        noise = (1 - signal.square()).sqrt()
        self._levels = (noise / (signal + noise)).to(self.device)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Videos [B, T, 3, H, W], fp32 in [0, 1], of ``latents`` [B, C, t, h, w], as ``CogVideoXPipeline`` does."""
        vae = self.pipeline.vae
        lead = 1 if latents.shape[2] % 2 == 0 else 0
        latents = latents[:, :, lead:].to(vae.device, vae.dtype)
        video = vae.decode(1 / self.pipeline.vae_scaling_factor_image * latents).sample
        return (video * 0.5 + 0.5).clamp(0, 1).transpose(1, 2).float()

    @torch.no_grad()
    def compress(self, videos: Tensor) -> Tensor:
        """Latents [B, C, t, h, w], scaled, of ``videos`` [B, T, 3, H, W] in [0, 1]: the posterior's mode.

        They lack the frame that leads in CogVideoX1.5, which is no part of the video.
        """
        vae = self.pipeline.vae
        latents: Tensor = vae.encode((videos * 2 - 1).transpose(1, 2).to(vae.device, vae.dtype)).latent_dist.mode()
        return self.pipeline.vae_scaling_factor_image * latents

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(C, T, H, W) of the latents of one video; T counts the frame that leads in CogVideoX1.5.

        Raises:
            ValueError: if frames is not 1 plus a multiple of twice the temporal factor (the autoencoder decodes latent
                frames in pairs after the first), or a side no multiple of the patch.
        """
        config = self._transformer.config
        temporal, spatial = self.pipeline.vae_scale_factor_temporal, self.pipeline.vae_scale_factor_spatial
        if frames < 1 or (frames - 1) % (2 * temporal):
            raise ValueError(f"frames must be 1 plus a multiple of {2 * temporal}, got {frames}")
        check_sides(height, width, (spatial * config.patch_size,) * 2)
        latent_frames = (frames - 1) // temporal + 1
        lead = -latent_frames % (config.patch_size_t or 1)
        return config.in_channels, latent_frames + lead, height // spatial, width // spatial

    def sigmas(self, steps: int) -> Tensor:
        """The flow's levels at the timesteps of the pipeline's scheduler, then 0; fp32 [steps + 1].

        Raises:
            ValueError: if ``steps`` is below 1, or the scheduler does not begin at pure noise.
        """
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        scheduler = copy.deepcopy(self.pipeline.scheduler)
        scheduler.set_timesteps(steps)
        levels = self._levels[scheduler.timesteps.to(self.device)]
        if float(levels[0]) != 1.0:
            raise ValueError("the scheduler does not begin at pure noise; give it timestep_spacing='trailing'")
        return torch.cat([levels, levels.new_zeros(1)]).float()

    def _network(self, latents: Tensor, sigma: Tensor, embeds: Tensor) -> Tensor:
        level = sigma.double().reshape(-1, 1, 1, 1, 1)
        scale = (level.square() + (1 - level).square()).rsqrt()
        signal, noise = ((1 - level) * scale).float(), (level * scale).float()
        state = latents.float() * scale.float()
        with self._precision():
            output: Tensor = self._transformer(
                hidden_states=state.transpose(1, 2).to(self._dtype),
                timestep=self._timesteps(sigma),
                encoder_hidden_states=embeds,
                image_rotary_emb=self._rotary(latents),
                return_dict=False,
            )[0]
        return (noise - signal) * state + (signal + noise) * output.transpose(1, 2).float()

    def _timesteps(self, sigma: Tensor) -> Tensor:
        """The whole timesteps [B] nearest to flow levels [B]: the network has seen no others."""
        return (self._levels[None] - sigma.double()[:, None]).abs().argmin(dim=1)

    def _rotary(self, latents: Tensor) -> tuple[Tensor, Tensor] | None:
        if not self._transformer.config.use_rotary_positional_embeddings:
            return None
        frames, height, width = latents.shape[2:]
        spatial = self.pipeline.vae_scale_factor_spatial
        embeddings: tuple[Tensor, Tensor] = self.pipeline._prepare_rotary_positional_embeddings(
            height * spatial, width * spatial, frames, self.device
        )
        return embeddings
