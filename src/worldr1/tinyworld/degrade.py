"""The ways in which single frames go bad or are made to look better than they are, each with a strength from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

GREY = (0.299, 0.587, 0.114)
PAD = 8


def _column(strength: Tensor) -> Tensor:
    return strength.view(-1, 1, 1, 1)


def _sign(count: int, generator: torch.Generator) -> Tensor:
    return torch.where(torch.rand(count, 1, 1, 1, generator=generator) < 0.5, -1.0, 1.0)


def gaussian_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Images [B,3,H,W] blurred by Gaussians of standard deviations `sigma` [B] in pixels; borders are mirrored."""
    height, width = images.shape[-2:]
    padded = F.pad(images, (PAD, PAD, PAD, PAD), mode="reflect")
    rows = torch.fft.fftfreq(height + 2 * PAD).square()
    columns = torch.fft.rfftfreq(width + 2 * PAD).square()
    decay = torch.exp(-2 * math.pi**2 * _column(sigma).square() * (rows[:, None] + columns[None]))
    blurred = torch.fft.irfft2(torch.fft.rfft2(padded) * decay, s=padded.shape[-2:])
    return blurred[..., PAD:-PAD, PAD:-PAD]


def _grey(images: Tensor) -> Tensor:
    return (images * torch.tensor(GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _mean(images: Tensor) -> Tensor:
    return images.mean((1, 2, 3), keepdim=True)


def blur(images: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Out of focus: 0.4 to 2.6 pixels."""
    return gaussian_blur(images, 0.4 + 2.2 * strength)


def grain(images: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """White noise of standard deviation 0.015 to 0.155, coloured or grey, fine or a little coarse."""
    noise = torch.randn(images.shape, generator=generator)
    coarse = gaussian_blur(noise, torch.full((len(images),), 0.8)) * 2.8
    pick = torch.rand(2, len(images), 1, 1, 1, generator=generator)
    noise = torch.where(pick[0] < 0.4, coarse, noise)
    noise = torch.where(pick[1] < 0.5, noise.mean(1, keepdim=True) * math.sqrt(3.0), noise)
    return images + noise * _column(0.015 + 0.14 * strength)


def exposure(images: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Over- or under-exposed by 0.3 to 2 stops."""
    return images * 2.0 ** (_sign(len(images), generator) * _column(0.3 + 1.7 * strength))


def washed_out(images: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Less contrast and less colour."""
    s = _column(strength)
    faded = _grey(images) + (images - _grey(images)) * (0.9 - 0.8 * s)
    return 0.55 + (faded - 0.55) * (0.9 - 0.55 * s)


def cartoon(images: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Too much colour and contrast."""
    s = _column(strength)
    vivid = _grey(images) + (images - _grey(images)) * (1.2 + 2.0 * s)
    return _mean(images) + (vivid - _mean(images)) * (1.05 + 0.9 * s)


def contrast(images: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Too much contrast."""
    return _mean(images) + (images - _mean(images)) * (1.12 + 1.4 * _column(strength))


def sharpen(images: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Edges overdrawn by unsharp masking."""
    soft = gaussian_blur(images, 0.6 + torch.rand(len(images), generator=generator))
    return images + (images - soft) * (0.5 + 3.5 * _column(strength))


def blocks(images: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Squares of 4 or 8 pixels show through."""
    height, width = images.shape[-2:]
    fine, rough = (F.interpolate(F.avg_pool2d(images, size), (height, width), mode="nearest") for size in (4, 8))
    squares = torch.where(torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5, fine, rough)
    return torch.lerp(images, squares, _column(0.2 + 0.8 * strength))


def _box(images: Tensor, radius: int) -> Tensor:
    size = 2 * radius + 1
    return F.avg_pool2d(F.pad(images, (radius,) * 4, mode="reflect"), size, stride=1)


def textureless(images: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Surfaces flattened between their edges (guided filter, He et al. 2010), or everything drawn towards its mean."""
    mean = _box(images, 5)
    variance = _box(images.square(), 5) - mean.square()
    gain = variance / (variance + 0.02)
    flat = _box(gain, 5) * images + _box(mean - gain * mean, 5)
    dull = images.mean((2, 3), keepdim=True).expand_as(images)
    target = torch.where(torch.rand(len(images), 1, 1, 1, generator=generator) < 0.7, flat, dull)
    return torch.lerp(images, target, _column(0.3 + 0.7 * strength))


def ghost(images: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """A second picture, another one of the batch or this one shifted by 4 to 10 pixels, shows through at 15 to 50%."""
    count = len(images)
    other = images[torch.randperm(count, generator=generator)]
    shift = int(torch.randint(4, 11, (1,), generator=generator))
    shifted = torch.roll(images, shift, -1)
    second = torch.where(torch.rand(count, 1, 1, 1, generator=generator) < 0.5, other, shifted)
    return torch.lerp(images, second, _column(0.15 + 0.35 * strength))


DEGRADATIONS: dict[str, Callable[[Tensor, Tensor, torch.Generator], Tensor]] = {
    "blur": blur,
    "grain": grain,
    "exposure": exposure,
    "washed out": washed_out,
    "cartoon": cartoon,
    "contrast": contrast,
    "sharpen": sharpen,
    "blocks": blocks,
    "textureless": textureless,
    "ghost": ghost,
}


def degrade(images: Tensor, kind: str, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Images [B,3,H,W] in [0,1], each degraded with its strength [B]; a strength below 0 leaves its image as it is.

    Raises ValueError for an unknown kind.
    """
    if kind not in DEGRADATIONS:
        raise ValueError(f"unknown degradation {kind!r}; use one of {', '.join(DEGRADATIONS)}")
    changed = DEGRADATIONS[kind](images, strength.clamp_min(0.0), generator).clamp(0.0, 1.0)
    return torch.where(_column(strength) < 0, images, changed)
