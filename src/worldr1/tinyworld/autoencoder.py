"""The tiny video autoencoder: a real `AutoencoderKLWan` (space x8, time x4), trained on rendered clips by its ELBO."""

from __future__ import annotations

import copy
import logging
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from worldr1.tinyworld.checkpoint import load_checkpoint, save_checkpoint
from worldr1.tinyworld.optim import MuonAdamW, split_parameters
from worldr1.tinyworld.threads import Replicas, one_thread_each

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


@dataclass(frozen=True)
class AutoencoderSettings:
    """How to train the autoencoder.

    Attributes:
        steps: optimiser steps.
        frames: frames of all training examples of one replica's step together.
        window: frames per training example (4k + 1), cut at random places.
        whole_share: last share of the steps, in which examples are whole clips; without it the decoder fails on latent
            frames later than any that it saw.
        lr: peak learning rate; warmup: steps until it is reached; it falls along a cosine to `final_lr` of itself.
        ema: decay of the averaged weights, which are the result.
        seed: of batches and posterior noise.
        save_every: steps between checkpoints.
        bf16: convolutions in bfloat16.
    """

    steps: int = 4_500
    frames: int = 51
    window: int = 9
    whole_share: float = 0.3
    lr: float = 1e-2
    warmup: int = 100
    final_lr: float = 0.01
    ema: float = 0.995
    seed: int = 0
    save_every: int = 250
    bf16: bool = True

    def rate(self, step: int) -> float:
        """Learning rate of one step."""
        falling = self.final_lr + (1 - self.final_lr) * 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.lr * min(1.0, (step + 1) / self.warmup) * falling


def elbo_loss(vae: AutoencoderKLWan, clips: Tensor, noise: Tensor, bf16: bool) -> Tensor:
    """Squared error, a little absolute error, and the weighted divergence from N(0,1), per pixel value.

    Args:
        clips: [N,3,T,H,W] in [-1,1]; noise: standard normal, [N,C,t,h,w].
    """
    with torch.autocast(clips.device.type, torch.bfloat16, enabled=bf16):
        posterior = vae.encode(clips).latent_dist
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        decoded = vae.decode(mean + (0.5 * logvar).exp() * noise).sample.float()
    error = decoded - clips
    kl = 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).sum() / clips.numel()
    return error.square().mean() + 0.02 * error.abs().mean() + KL_WEIGHT * kl


def train_autoencoder(
    vae: AutoencoderKLWan,
    videos: Tensor,
    settings: AutoencoderSettings,
    directory: Path,
    device: str = "cpu",
    replicas: int = 1,
    on_progress: Callable[[float], None] | None = None,
) -> AutoencoderKLWan:
    """Train in place and return the averaged weights. Continues from `directory` when it holds a checkpoint.

    Args:
        vae: the autoencoder.
        videos: uint8 [N,T,3,H,W].
        replicas: copies that compute gradients side by side, one CPU thread each.
        on_progress: called with the fraction done.
    """
    vae.to(device).train()
    average = copy.deepcopy(vae).requires_grad_(False)
    optimizer = MuonAdamW(*split_parameters(vae), settings.lr)
    start = load_checkpoint(directory, vae, average, optimizer)
    team = Replicas(vae, replicas)
    team.spread()
    frames, height, width = videos.shape[1], videos.shape[3], videos.shape[4]
    running = math.nan
    with team.running():
        for step in range(start, settings.steps):
            generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
            span = settings.window if step < (1 - settings.whole_share) * settings.steps else frames
            shards = []
            for _ in range(replicas):
                index = torch.randint(len(videos), (max(1, settings.frames // span),), generator=generator)
                first = int(torch.randint(frames - span + 1, (1,), generator=generator))
                clips = videos[index, first : first + span].float().div_(127.5).sub_(1.0).transpose(1, 2)
                shape = (len(clips), CHANNELS, (span + 3) // 4, height // 8, width // 8)
                shards.append((clips.to(device), torch.randn(shape, generator=generator).to(device)))
            losses = team.gradients(lambda model, shard: elbo_loss(model, *shard, settings.bf16), shards)
            torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
            optimizer.step(settings.rate(step))
            team.spread()
            done = step + 1
            decay = min(settings.ema, done / (done + 20))
            with torch.no_grad():
                torch._foreach_lerp_(list(average.parameters()), list(vae.parameters()), 1.0 - decay)
            loss = sum(losses) / len(losses)
            running = loss if math.isnan(running) else 0.98 * running + 0.02 * loss
            if done % 50 == 0:
                log.info("autoencoder step %d of %d: loss %.5f", done, settings.steps, running)
                if on_progress:
                    on_progress(done / settings.steps)
            if done % settings.save_every == 0 or done == settings.steps:
                save_checkpoint(directory, done, vae, average, optimizer)
    return average.cpu().eval().requires_grad_(False)


@torch.no_grad()
def _modes(vae: AutoencoderKLWan, videos: Tensor) -> Tensor:
    clips = videos.float().div_(127.5).sub_(1.0).transpose(1, 2)
    return vae.encode(clips).latent_dist.mode()


def encode(vae: AutoencoderKLWan, videos: Tensor, batch: int = 16, workers: int = 1) -> Tensor:
    """Posterior modes of uint8 videos [N,T,3,H,W] as un-normalised latents [N,C,t,h,w] float32.

    Args:
        batch: clips that go through the encoder at once; workers: CPU threads that each take a batch.
    """
    if workers == 1:
        return torch.cat([_modes(vae, chunk) for chunk in videos.split(batch)])
    # The encoder keeps its causal cache in itself: one copy for each thread.
    local = threading.local()

    def with_own_copy(chunk: Tensor) -> Tensor:
        if not hasattr(local, "vae"):
            local.vae = copy.deepcopy(vae)
        return _modes(local.vae, chunk)

    with one_thread_each(workers), ThreadPoolExecutor(workers) as pool:
        return torch.cat(list(pool.map(with_own_copy, videos.split(batch))))


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
