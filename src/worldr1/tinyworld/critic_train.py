"""Training of the two critics on CPU in minutes: digits by cross-entropy, preferences by Bradley-Terry.

Both start from a reader, which has learned on single frames whether what a caption asks for is there.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from worldr1.tinyworld.critic import Critic, new_critic
from worldr1.tinyworld.degrade import DEGRADATIONS, degrade
from worldr1.tinyworld.frame_data import FrameSet
from worldr1.tinyworld.meta_data import MetaSet
from worldr1.tinyworld.preference_data import PreferenceSet

log = logging.getLogger(__name__)

DIGITS = 10
LOG_SIGMA = 2.0
"""Bound of the log standard deviation of a preference score."""
SHIFT = 5
GROUPS = 4
"""Kinds of degradation in one batch."""


@dataclass(frozen=True)
class CriticSettings:
    """How to train a critic.

    Attributes:
        steps, batch: optimiser steps and pictures (or moments) a step.
        lr: peak learning rate of AdamW; it falls along a cosine.
        wrong_captions: captions beside the right one that each picture is read with.
        average: decay of the averaged weights, which are the result.
        seed: of weights and batches.
    """

    steps: int = 1000
    batch: int = 64
    lr: float = 2e-3
    wrong_captions: int = 2
    average: float = 0.99
    seed: int = 0


def _pictures(packed: Tensor) -> Tensor:
    return packed.float().div(255.0)


def _moved(images: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the images mirrored, all shifted by up to `SHIFT` whole pixels; borders are mirrored."""
    flip = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    images = torch.where(flip, images.flip(-1), images)
    height, width = images.shape[-2:]
    padded = F.pad(images, (SHIFT,) * 4, mode="reflect")
    start = torch.randint(2 * SHIFT + 1, (2, len(images), 1, 1, 1), generator=generator)
    rows = (start[0] + torch.arange(height).view(1, 1, -1, 1)).expand(-1, 3, -1, padded.shape[-1])
    columns = (start[1] + torch.arange(width).view(1, 1, 1, -1)).expand(-1, 3, height, -1)
    return padded.gather(2, rows).gather(3, columns)


def _trimmed(tokens: Tensor) -> Tensor:
    """Tokens [...,L] as int64 without the columns that are empty in all of them."""
    used = int((tokens != 0).flatten(0, -2).any(0).sum())
    return tokens[..., :used].long()


def _optimise(
    critic: Critic,
    settings: CriticSettings,
    loss_of: Callable[[Critic, torch.Generator], Tensor],
    on_progress: Callable[[float], None] | None,
) -> Critic:
    """Minimise `loss_of(critic, generator)` and return the averaged weights, frozen."""
    generator = torch.Generator().manual_seed(settings.seed)
    average = torch.optim.swa_utils.AveragedModel(
        critic, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(settings.average), use_buffers=True
    )
    optimizer = torch.optim.AdamW(critic.parameters(), settings.lr, betas=(0.9, 0.98), weight_decay=0.05)
    running = math.nan
    critic.train()
    for step in range(settings.steps):
        rate = (
            settings.lr
            * min(1.0, (step + 1) / 50)
            * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / settings.steps)))
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = loss_of(critic, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(critic.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(critic)
        value = float(loss.detach())
        running = value if step == 0 else 0.97 * running + 0.03 * value
        if (step + 1) % 50 == 0:
            log.info("critic step %d of %d: loss %.4f", step + 1, settings.steps, running)
            if on_progress:
                on_progress((step + 1) / settings.steps)
    result = average.module
    assert isinstance(result, Critic)
    return result.eval().requires_grad_(False)


def _fresh(outputs: int, seed: int) -> Critic:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return new_critic(outputs)


def _continued(reader: Critic, outputs: int, seed: int) -> Critic:
    """A critic that begins with what the reader knows; its last layer is new when it has other outputs."""
    critic = _fresh(outputs, seed)
    known = reader.state_dict()
    mine = critic.state_dict()
    critic.load_state_dict({k: known[k] if known[k].shape == mine[k].shape else mine[k] for k in mine})
    return critic


def digit_targets(grades: Tensor) -> Tensor:
    """Distributions [...,10] over the digits whose expectation is the grade [...], on the two digits around it."""
    low = grades.floor().clamp(0, DIGITS - 2)
    share = (grades - low).unsqueeze(-1)
    first = F.one_hot(low.long(), DIGITS).float()
    return (1 - share) * first + share * first.roll(1, -1)


def _train_digits(
    critic: Critic,
    images: Tensor,
    tokens: Tensor,
    grades: Tensor,
    settings: CriticSettings,
    damage: bool,
    on_progress: Callable[[float], None] | None,
) -> Critic:
    extra = settings.wrong_captions

    def loss_of(critic: Critic, generator: torch.Generator) -> Tensor:
        index = torch.randint(len(images), (settings.batch,), generator=generator)
        others = torch.rand(settings.batch, tokens.shape[1] - 1, generator=generator).argsort(1)[:, :extra] + 1
        picked = torch.cat([torch.zeros(settings.batch, 1, dtype=torch.int64), others], 1)
        rows = index[:, None]
        pictures = _moved(_pictures(images[index]), generator)
        if damage:
            pictures = _slightly_damaged(pictures, generator)
        logits = critic.read(critic.look(pictures), _trimmed(tokens[rows, picked]))
        return F.cross_entropy(logits.flatten(0, 1), digit_targets(grades[rows, picked]).flatten(0, 1))

    return _optimise(critic, settings, loss_of, on_progress)


def _slightly_damaged(images: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the images with a weak degradation, which leaves what they show: a reader must not mind."""
    kinds = list(DEGRADATIONS)
    parts = []
    for part in images.chunk(GROUPS):
        kind = kinds[int(torch.randint(len(kinds), (1,), generator=generator))]
        parts.append(degrade(part, kind, torch.rand(len(part), generator=generator) - 0.5, generator))
    return torch.cat(parts)


def train_reader(
    data: FrameSet, settings: CriticSettings, on_progress: Callable[[float], None] | None = None
) -> Critic:
    """A critic with ten logits for how well a frame agrees with a caption, 9 when all that was asked for is there."""
    grades = (DIGITS - 1) * data.agreement
    return _train_digits(_fresh(DIGITS, settings.seed), data.images, data.tokens, grades, settings, True, on_progress)


def train_meta_critic(
    reader: Critic, data: MetaSet, settings: CriticSettings, on_progress: Callable[[float], None] | None = None
) -> Critic:
    """A critic with ten logits, trained by cross-entropy with the digits around each view's grade."""
    critic = _continued(reader, DIGITS, settings.seed)
    return _train_digits(critic, data.images, data.tokens, data.grades, settings, False, on_progress)


def preference_loss(better: Tensor, worse: Tensor) -> Tensor:
    """Mean -log P(better > worse) for scores [...,2] of mu and log sigma.

    The Bradley-Terry probability is averaged over Gaussian scores as HPSv3 does, in MacKay's closed form:
    P = sigmoid((mu_1 - mu_2) / sqrt(1 + pi/8 (sigma_1^2 + sigma_2^2))).
    """
    first, second = ((2.0 * LOG_SIGMA * torch.tanh(x[..., 1] / LOG_SIGMA)).exp() for x in (better, worse))
    margin = (better[..., 0] - worse[..., 0]) / torch.sqrt(1.0 + math.pi / 8.0 * (first + second))
    return F.softplus(-margin).mean()


def _degraded_pair(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Less and more degraded versions of images [B,3,H,W], and which of the former are untouched [B]."""
    kinds = list(DEGRADATIONS)
    less, more, untouched = [], [], []
    for part in images.chunk(GROUPS):
        kind = kinds[int(torch.randint(len(kinds), (1,), generator=generator))]
        strengths = torch.rand(2, len(part), generator=generator).sort(0).values
        whole = torch.rand(len(part), generator=generator) < 0.5
        less.append(degrade(part, kind, torch.where(whole, -1.0, strengths[0]), generator))
        high = degrade(part, kind, strengths[1], generator)
        second = kinds[int(torch.randint(len(kinds), (1,), generator=generator))]
        twice = torch.where(torch.rand(len(part), generator=generator) < 0.25, torch.rand(1, generator=generator), -1.0)
        more.append(degrade(high, second, twice, generator))
        untouched.append(whole)
    return torch.cat(less), torch.cat(more), torch.cat(untouched)


def train_preference_critic(
    reader: Critic, data: PreferenceSet, settings: CriticSettings, on_progress: Callable[[float], None] | None = None
) -> tuple[Critic, dict[str, float]]:
    """A critic with outputs mu and log sigma, and the location and scale of mu that R_gen standardises with.

    Pairs: less degraded over more degraded of one frame; clean over degraded before the autoencoder, in the latents and
    over another scene, of the same moment and of any other; the right caption over wrong ones.
    """
    extra = settings.wrong_captions

    def loss_of(critic: Critic, generator: torch.Generator) -> Tensor:
        count = settings.batch
        index = torch.randint(len(data.clean), (count,), generator=generator)
        rows, column = index[:, None], 1 + torch.rand(count, data.tokens.shape[1] - 1, generator=generator).argsort(1)
        raw = torch.rand(count, 1, 1, 1, generator=generator) < 0.25
        source = _pictures(torch.where(raw, data.raw[index], data.clean[index]))
        less, more, untouched = _degraded_pair(source, generator)
        versions = [_pictures(x[index]) for x in (data.clean, data.early, data.latent, data.edited)]
        images = torch.cat([_moved(x, generator) for x in (less, more, *versions)])
        tokens = _trimmed(torch.cat([data.tokens[index, :1], data.tokens[rows, column[:, :extra]]], 1))
        grid = critic.look(images)
        scores = critic.read(grid, tokens[:, :1].repeat(6, 1, 1))[:, 0]
        low, high, clean, early, latent, edited = scores.split(count)
        wrong = critic.read(grid[2 * count : 3 * count], tokens[:, 1:])
        other = torch.randperm(count, generator=generator)
        losses = [preference_loss(low, high), preference_loss(clean.unsqueeze(1).expand_as(wrong), wrong)]
        for bad in (early, latent, edited):
            losses += [preference_loss(clean, bad), 0.5 * preference_loss(clean, bad[other])]
        if untouched.any():
            losses.append(0.5 * preference_loss(low[untouched], high[other][untouched]))
        return torch.stack(losses).mean()

    critic = _optimise(_continued(reader, 2, settings.seed), settings, loss_of, on_progress)
    return critic, _standard(critic, data, settings.seed)


@torch.no_grad()
def preference_scores(critic: Critic, data: PreferenceSet, seed: int) -> dict[str, Tensor]:
    """mu [N] of every version of each frame: clean, raw, early, latent, edited, each degradation at random strengths,
    and clean under a wrong caption ("caption")."""
    generator = torch.Generator().manual_seed(seed)
    tokens = _trimmed(data.tokens)

    def score(images: Tensor, captions: Tensor) -> Tensor:
        parts = zip(images.split(128), captions.split(128), strict=True)
        return torch.cat([critic(x, words)[:, 0] for x, words in parts])

    versions = {name: _pictures(getattr(data, name)) for name in ("clean", "raw", "early", "latent", "edited")}
    clean = versions["clean"]
    for kind in DEGRADATIONS:
        versions[kind] = degrade(clean, kind, torch.rand(len(clean), generator=generator), generator)
    return {name: score(x, tokens[:, 0]) for name, x in versions.items()} | {"caption": score(clean, tokens[:, 1])}


def _standard(critic: Critic, data: PreferenceSet, seed: int) -> dict[str, float]:
    """Midpoint and half distance of the mean score of clean frames and of all bad ones."""
    few = torch.from_numpy(np.random.default_rng(seed).permutation(len(data.clean))[:256])
    scores = preference_scores(critic, PreferenceSet(**{k: v[few] for k, v in vars(data).items()}), seed)
    clean = float(scores["clean"].mean())
    bad = float(torch.stack([v.mean() for k, v in scores.items() if k not in ("clean", "raw")]).mean())
    return {"location": (clean + bad) / 2, "scale": max((clean - bad) / 2, 1e-3)}
