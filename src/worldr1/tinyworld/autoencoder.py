"""The tiny video autoencoder: a real `AutoencoderKLWan` (space x8, time x4), trained on rendered clips by its ELBO."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan

log = logging.getLogger(__name__)

CHANNELS = 16
KL_WEIGHT = 0.003
"""Twice the pixel variance that the ELBO assumes ([-1, 1] scale): 31 dB. Larger blurs, smaller roughens the latents."""


def make_autoencoder() -> AutoencoderKLWan:
    """An untrained `AutoencoderKLWan` of 1.9 M parameters: patch 2, two further halvings, 16 latent channels."""
    from diffusers import AutoencoderKLWan

    return AutoencoderKLWan(
        base_dim=16,
        z_dim=CHANNELS,
        dim_mult=[1, 2, 4],
        num_res_blocks=1,
        temperal_downsample=[True, True],
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=8,
        scale_factor_temporal=4,
        latents_mean=[0.0] * CHANNELS,
        latents_std=[1.0] * CHANNELS,
    )


def train_autoencoder(
    vae: AutoencoderKLWan,
    videos: Tensor,
    steps: int,
    seed: int,
    frames_a_step: int = 48,
    window: int = 9,
    whole_share: float = 0.3,
    peak_lr: float = 2e-3,
    bf16: bool = True,
    device: str = "cpu",
    on_progress: Callable[[float], None] | None = None,
) -> None:
    """Train in place.

    Args:
        vae: the autoencoder.
        videos: uint8 [N,T,3,H,W].
        steps: optimiser steps; the learning rate falls to nearly zero along them.
        seed: of batches and posterior noise.
        frames_a_step: frames of all training examples of a step together.
        window: frames per training example (4k + 1), cut at random places.
        whole_share: last share of the steps, in which examples are whole clips; without it the decoder fails on latent
            frames later than any that it saw.
        on_progress: called with the fraction done.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(vae.parameters(), peak_lr, betas=(0.9, 0.98), weight_decay=1e-4)
    running = math.nan
    vae.to(device).train()
    for step in range(steps):
        fraction = step / steps
        rate = peak_lr * min(1.0, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * fraction)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        span = window if fraction < 1.0 - whole_share else videos.shape[1]
        index = torch.randint(len(videos), (max(1, frames_a_step // span),), generator=generator)
        start = int(torch.randint(videos.shape[1] - span + 1, (1,), generator=generator))
        clips = videos[index, start : start + span].float().div_(127.5).sub_(1.0).transpose(1, 2).to(device)
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            posterior = vae.encode(clips).latent_dist
            mean, logvar = posterior.mean.float(), posterior.logvar.float()
            noise = torch.randn(mean.shape, generator=generator).to(device)
            decoded = vae.decode(mean + (0.5 * logvar).exp() * noise).sample.float()
        error = decoded - clips
        kl = 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).sum() / clips.numel()
        loss = error.square().mean() + 0.02 * error.abs().mean() + KL_WEIGHT * kl
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        mse = error.detach().square().mean().item()
        running = mse if step == 0 else 0.98 * running + 0.02 * mse
        if (step + 1) % 50 == 0:
            psnr = -10 * math.log10(running / 4)
            log.info("autoencoder step %d of %d: PSNR %.2f dB, KL %.3f nats a pixel", step + 1, steps, psnr, kl.item())
            if on_progress:
                on_progress(fraction)
    vae.cpu().eval().requires_grad_(False)


@torch.no_grad()
def encode(vae: AutoencoderKLWan, videos: Tensor, batch: int = 16) -> Tensor:
    """Posterior modes of uint8 videos [N,T,3,H,W] as un-normalised latents [N,C,t,h,w] float32."""
    parts = []
    for chunk in videos.split(batch):
        clips = chunk.float().div_(127.5).sub_(1.0).transpose(1, 2)
        parts.append(vae.encode(clips).latent_dist.mode())
    return torch.cat(parts)


@torch.no_grad()
def fit_latent_scale(vae: AutoencoderKLWan, videos: Tensor) -> None:
    """Set `latents_mean` and `latents_std` in the config, so that normalised posterior samples have unit variance.

    Taken over samples, not modes: a channel that the encoder left unused then stays near zero instead of being
    blown up to unit variance.
    """
    means, variances = [], []
    for chunk in videos.split(16):
        clips = chunk.float().div_(127.5).sub_(1.0).transpose(1, 2)
        posterior = vae.encode(clips).latent_dist
        means.append(posterior.mean)
        variances.append(posterior.var)
    mean, var = torch.cat(means), torch.cat(variances)
    axes = (0, 2, 3, 4)
    std = (mean.var(axes) + var.mean(axes)).sqrt()
    vae.register_to_config(latents_mean=mean.mean(axes).tolist(), latents_std=std.tolist())


def normalise(vae: AutoencoderKLWan, latents: Tensor) -> Tensor:
    """Un-normalised latents [N,C,t,h,w] to the scale in which the transformer works."""
    mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1)
    std = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1)
    return (latents - mean) / std
