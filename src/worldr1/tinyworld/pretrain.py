"""Pre-training of the tiny Wan transformer by flow matching: resumable, on CPU in hours, on a GPU in minutes."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from worldr1.tinyworld.checkpoint import load_checkpoint, save_checkpoint
from worldr1.tinyworld.latents import LatentSet
from worldr1.tinyworld.optim import MuonAdamW, split_parameters
from worldr1.tinyworld.pipeline import MAX_TOKENS
from worldr1.tinyworld.threads import Replicas

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel
    from transformers import UMT5EncoderModel

log = logging.getLogger(__name__)

Batch: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]
"""Clean latents [B,C,t,h,w], noise of the same shape, sigma [B], tokens [B,MAX_TOKENS]."""
COMPILING_STEPS = 2
"""Steps in which `torch.compile` sees every replica alone; it deadlocks when two threads compile."""
LONG_TEXT = 512
"""Text length to which `WanPipeline` pads by default; training sees it now and then, so that padding means nothing."""


@dataclass(frozen=True)
class PretrainSettings:
    """How to pre-train.

    Attributes:
        steps: optimiser steps; batch: clips a step.
        lr: peak learning rate (AdamW's scale; Muon is matched to it); warmup: steps until it is reached; cooldown: last
            share of the steps, over which it falls linearly to zero.
        text_dropout: share of clips without caption, for classifier-free guidance.
        long_text_every: one step in so many pads the text to `LONG_TEXT`.
        ema: decay of the averaged weights, which are the result.
        sigma_mean, sigma_std: of the logit-normal law of training noise levels.
        seed: of batches, noise and initial weights.
        save_every: steps between checkpoints.
        bf16: matrix products in bfloat16.
        compile: use torch.compile.
    """

    steps: int = 15_000
    batch: int = 64
    lr: float = 4e-3
    warmup: int = 200
    cooldown: float = 0.35
    text_dropout: float = 0.1
    long_text_every: int = 24
    ema: float = 0.999
    sigma_mean: float = 0.6
    sigma_std: float = 1.2
    seed: int = 0
    save_every: int = 300
    bf16: bool = True
    compile: bool = True


class TextToVelocity(nn.Module):
    """Text encoder and transformer trained as one; both are the real classes."""

    def __init__(self, transformer: WanTransformer3DModel, text_encoder: UMT5EncoderModel) -> None:
        super().__init__()
        self.transformer = transformer
        self.text_encoder = text_encoder

    def forward(self, latents: Tensor, sigma: Tensor, tokens: Tensor, padding: int) -> Tensor:
        """Velocity [B,C,t,h,w] at `sigma` [B] for `tokens` [B,MAX_TOKENS]; text is zero-padded as in `WanPipeline`."""
        mask = (tokens != 0).to(torch.int64)
        text = self.text_encoder(input_ids=tokens, attention_mask=mask).last_hidden_state * mask.unsqueeze(-1)
        text = F.pad(text, (0, 0, 0, padding - text.shape[1]))
        return self.transformer(latents, sigma * 1000.0, text, return_dict=False)[0]


def learning_rate(settings: PretrainSettings, step: int) -> float:
    """Warm-up, plateau, linear cooldown."""
    left = (settings.steps - step) / max(1.0, settings.cooldown * settings.steps)
    return settings.lr * min(1.0, (step + 1) / settings.warmup, left)


def make_optimizer(model: TextToVelocity, lr: float) -> MuonAdamW:
    """Muon for the matrices of the transformer's blocks, AdamW for everything else."""
    matrices, _ = split_parameters(model.transformer.blocks)
    chosen = {id(p) for p in matrices}
    return MuonAdamW(matrices, [p for p in model.parameters() if id(p) not in chosen], lr)


def velocity_loss(network: Callable[..., Tensor], batch: Batch, padding: int, bf16: bool) -> Tensor:
    """Mean squared error of the velocity at random noise levels.

    Args:
        network: called as `TextToVelocity.forward`.
        batch: clean latents [B,C,t,h,w], noise of the same shape, sigma [B], tokens [B,MAX_TOKENS].
        padding: text length.
    """
    clean, noise, sigma, tokens = batch
    level = sigma.view(-1, 1, 1, 1, 1)
    # The CPU's flash attention in bfloat16 prepares a matrix product per head and sample: 16 times slower at this size.
    attention = [SDPBackend.MATH] if clean.device.type == "cpu" else [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
    with sdpa_kernel(attention), torch.autocast(clean.device.type, torch.bfloat16, enabled=bf16):
        velocity = network((1 - level) * clean + level * noise, sigma, tokens, padding)
    return F.mse_loss(velocity.float(), noise - clean)


def draw_batch(
    corpus: LatentSet, settings: PretrainSettings, empty_tokens: Tensor, generator: torch.Generator
) -> Batch:
    """Clean latents, noise, sigma and tokens of one step."""
    index = torch.randint(len(corpus.latents), (settings.batch,), generator=generator)
    clean = corpus.latents[index].float()
    tokens = corpus.tokens[index].long()
    dropped = torch.rand(settings.batch, generator=generator) < settings.text_dropout
    tokens[dropped] = empty_tokens.long()
    logits = torch.randn(settings.batch, generator=generator) * settings.sigma_std + settings.sigma_mean
    noise = torch.randn(clean.shape, generator=generator)
    return clean, noise, torch.sigmoid(logits), tokens


def pretrain(
    model: TextToVelocity,
    data: Callable[[], LatentSet],
    settings: PretrainSettings,
    directory: Path,
    empty_tokens: Tensor,
    device: str = "cpu",
    replicas: int = 1,
    on_progress: Callable[[float], None] | None = None,
) -> TextToVelocity:
    """Train and return the averaged weights. Continues from `directory` when it holds a checkpoint.

    Args:
        model: transformer and text encoder, changed in place.
        data: reads the corpus; called again at every checkpoint, so that shards written meanwhile join in.
        empty_tokens: [MAX_TOKENS] tokens of the empty caption.
        replicas: copies that compute gradients side by side, one CPU thread each.
        on_progress: called with the fraction done.
    """
    model = model.to(device)
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = make_optimizer(model, settings.lr)
    start = load_checkpoint(directory, model, average, optimizer)
    team = Replicas(model, replicas)
    team.spread()
    networks = {id(m): torch.compile(m) if settings.compile else m for m in team.models}
    corpus = data()
    running = math.nan
    with team.running():
        clock, clock_step = time.monotonic(), start
        for step in range(start, settings.steps):
            generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
            batch = tuple(x.to(device) for x in draw_batch(corpus, settings, empty_tokens, generator))
            padding = LONG_TEXT if (step + 1) % settings.long_text_every == 0 else MAX_TOKENS

            def loss(one: TextToVelocity, shard: Batch, padding: int = padding) -> Tensor:
                network = networks[id(one)] if padding == MAX_TOKENS else one
                return velocity_loss(network, shard, padding, settings.bf16)

            shards = list(zip(*(x.chunk(replicas) for x in batch), strict=True))
            compiling = settings.compile and step < start + COMPILING_STEPS
            if settings.compile and step == start + COMPILING_STEPS:
                torch.compiler.set_stance("eager_on_recompile")
            losses = team.gradients(loss, shards, one_by_one=compiling)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step(learning_rate(settings, step))
            team.spread()
            done = step + 1
            decay = min(settings.ema, done / (done + 20))
            with torch.no_grad():
                torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1.0 - decay)
            value = sum(losses) / len(losses)
            running = value if math.isnan(running) else 0.98 * running + 0.02 * value
            if done % 50 == 0:
                rate = (done - clock_step) * settings.batch / (time.monotonic() - clock)
                clock, clock_step = time.monotonic(), done
                clips = len(corpus.latents)
                log.info("step %d of %d: loss %.4f, %.0f clips/s of %d", done, settings.steps, running, rate, clips)
                if on_progress:
                    on_progress(done / settings.steps)
            if done % settings.save_every == 0 or done == settings.steps:
                save_checkpoint(directory, done, model, average, optimizer)
                corpus = data()
    return average
