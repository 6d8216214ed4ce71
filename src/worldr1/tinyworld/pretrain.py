"""Pre-training of the tiny Wan transformer by flow matching: resumable, on CPU in hours, on a GPU in minutes."""

from __future__ import annotations

import copy
import json
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from worldr1.tinyworld.latents import LatentSet
from worldr1.tinyworld.pipeline import MAX_TOKENS

if TYPE_CHECKING:
    from diffusers import WanTransformer3DModel
    from transformers import UMT5EncoderModel

log = logging.getLogger(__name__)

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

    steps: int = 6_500
    batch: int = 64
    lr: float = 1.5e-3
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


def make_optimizers(model: TextToVelocity, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the transformer's blocks, AdamW for everything else."""
    matrices = [p for p in model.transformer.blocks.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=lr, momentum=0.95, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _optimizer_tensors(optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    tensors = {}
    for k, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"{k}.{index}.{name}"] = torch.as_tensor(value).clone()
    return tensors


def _restore_optimizers(optimizers: list[torch.optim.Optimizer], tensors: dict[str, Tensor]) -> None:
    for k, optimizer in enumerate(optimizers):
        restored = optimizer.state_dict()
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            which, index, name = key.split(".", 2)
            if int(which) == k:
                state.setdefault(int(index), {})[name] = value
        restored["state"] = state
        optimizer.load_state_dict(restored)


def save_checkpoint(
    directory: Path, step: int, model: nn.Module, average: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> None:
    """Write everything that resuming needs, in one file, beside and renamed."""
    directory.mkdir(parents=True, exist_ok=True)
    content = {f"model.{k}": v for k, v in model.state_dict().items()}
    content |= {f"ema.{k}": v for k, v in average.state_dict().items()}
    content |= {f"optimizer.{k}": v for k, v in _optimizer_tensors(optimizers).items()}
    beside = directory / "state.new"
    save_file({k: v.contiguous().clone() for k, v in content.items()}, beside, metadata={"step": json.dumps(step)})
    os.replace(beside, directory / "state.safetensors")


def load_checkpoint(
    directory: Path, model: nn.Module, average: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> int:
    """Restore what `save_checkpoint` wrote and return its step, or 0 when there is nothing yet."""
    from safetensors import safe_open

    file = directory / "state.safetensors"
    if not file.exists():
        return 0
    content = load_file(file)

    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in content.items() if k.startswith(prefix)}

    model.load_state_dict(part("model."))
    average.load_state_dict(part("ema."))
    _restore_optimizers(optimizers, part("optimizer."))
    with safe_open(file, "pt") as header:
        return int(json.loads(header.metadata()["step"]))


def pretrain(
    model: TextToVelocity,
    data: Callable[[], LatentSet],
    settings: PretrainSettings,
    directory: Path,
    empty_tokens: Tensor,
    device: str = "cpu",
    on_progress: Callable[[float], None] | None = None,
) -> TextToVelocity:
    """Train and return the averaged weights. Continues from `directory` when it holds a checkpoint.

    Args:
        model: transformer and text encoder, changed in place.
        data: reads the corpus; called again at every checkpoint, so that shards written meanwhile join in.
        empty_tokens: [MAX_TOKENS] tokens of the empty caption.
        on_progress: called with the fraction done.
    """
    model = model.to(device)
    average = copy.deepcopy(model).requires_grad_(False)
    optimizers = make_optimizers(model, settings.lr)
    start = load_checkpoint(directory, model, average, optimizers)
    network = torch.compile(model) if settings.compile else model
    # The CPU's flash attention in bfloat16 prepares a matrix product per head and sample: 16 times slower at this size.
    attention = [SDPBackend.MATH] if device == "cpu" else [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
    corpus = data()
    running = math.nan
    clock, clock_step = time.monotonic(), start
    for step in range(start, settings.steps):
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        index = torch.randint(len(corpus.latents), (settings.batch,), generator=generator)
        clean = corpus.latents[index].float()
        tokens = corpus.tokens[index].long()
        dropped = torch.rand(settings.batch, generator=generator) < settings.text_dropout
        tokens[dropped] = empty_tokens.long()
        logits = torch.randn(settings.batch, generator=generator) * settings.sigma_std + settings.sigma_mean
        sigma = torch.sigmoid(logits)
        noise = torch.randn(clean.shape, generator=generator)
        clean, tokens, sigma, noise = (x.to(device, non_blocking=True) for x in (clean, tokens, sigma, noise))
        level = sigma.view(-1, 1, 1, 1, 1)
        padding = LONG_TEXT if (step + 1) % settings.long_text_every == 0 else MAX_TOKENS
        forward = network if padding == MAX_TOKENS else model
        with sdpa_kernel(attention), torch.autocast(device, torch.bfloat16, enabled=settings.bf16):
            velocity = forward((1 - level) * clean + level * noise, sigma, tokens, padding)
        loss = F.mse_loss(velocity.float(), noise - clean)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(settings, step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        decay = min(settings.ema, (step + 1) / (step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1.0 - decay)
        done = step + 1
        if done % 50 == 0:
            value = float(loss.detach())
            running = value if math.isnan(running) else 0.9 * running + 0.1 * value
            rate = (done - clock_step) * settings.batch / (time.monotonic() - clock)
            clock, clock_step = time.monotonic(), done
            log.info(
                "step %d of %d: loss %.4f, %.0f clips/s, %d in corpus",
                done,
                settings.steps,
                running,
                rate,
                len(corpus.latents),
            )
            if on_progress:
                on_progress(done / settings.steps)
        if done % settings.save_every == 0 or done == settings.steps:
            save_checkpoint(directory, done, model, average, optimizers)
            corpus = data()
    return average
