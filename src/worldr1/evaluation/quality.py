"""Measures of images that need no learned network: PSNR, SSIM, sharpness and grain."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

HIGHEST_PSNR = 60.0


def psnr(first: Tensor, second: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of two image stacks of one shape in [0,1], at most 60.

    Raises:
        ValueError: if the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"PSNR compares images of one shape, got {tuple(first.shape)} and {tuple(second.shape)}")
    error = float(((first.double() - second.double()) ** 2).mean())
    return min(HIGHEST_PSNR, float(-10 * torch.log10(torch.tensor(error, dtype=torch.float64).clamp_min(1e-12))))


def ssim(first: Tensor, second: Tensor) -> float:
    """Structural similarity of image stacks [N,C,H,W] in [0,1], the mean over images, channels and places.

    Raises:
        ValueError: as `ssim_map` does.
    """
    return float(ssim_map(first, second).mean())


def ssim_map(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity [N,C,H-10,W-10]: Gaussian window of 11, deviation 1.5, valid part.

    Wang, Bovik, Sheikh and Simoncelli 2004, with K1 = 0.01, K2 = 0.03.

    Raises:
        ValueError: if the shapes differ or the images are smaller than the window.
    """
    if first.shape != second.shape or first.ndim != 4 or min(first.shape[-2:]) < 11:
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ValueError(f"SSIM compares stacks [N,C,H,W] of one shape, at least 11x11 pixels, got {shapes}")
    # One image at a time stays in the cache.
    return torch.stack([_similarity(a, b) for a, b in zip(first.double(), second.double(), strict=True)])


def _similarity(a: Tensor, b: Tensor) -> Tensor:
    """SSIM of images [C,H,W], float64."""
    offsets = torch.arange(11, dtype=torch.float64) - 5
    window = torch.exp(-(offsets**2) / (2 * 1.5**2))
    weights = (window / window.sum()).tolist()
    stack = torch.stack([a, b, a * a, b * b, a * b])
    height, width = a.shape[-2] - 10, a.shape[-1] - 10
    down = sum(w * stack[..., k : k + height, :] for k, w in enumerate(weights))
    ma, mb, aa, bb, ab = sum(w * down[..., k : k + width] for k, w in enumerate(weights))
    c1, c2 = 0.01**2, 0.03**2
    variances, covariance = aa - ma * ma + bb - mb * mb, ab - ma * mb
    return ((2 * ma * mb + c1) * (2 * covariance + c2)) / ((ma * ma + mb * mb + c1) * (variances + c2))


def sharpness(video: Tensor) -> float:
    """Mean gradient of the strongest tenth of pixels, in intensity per pixel, of a clip [T,3,H,W] in [0,1].

    Blur lowers it in proportion to the width of the edges; grain, which is weaker than edges, hardly raises it.
    """
    grey = video.float().mean(1)
    dx = (grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2]) / 2
    dy = (grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]) / 2
    gradient = (dx * dx + dy * dy).sqrt().flatten(1)
    return float(gradient.topk(max(1, gradient.shape[1] // 10), dim=1).values.mean())


def grain(video: Tensor) -> float:
    """Standard deviation of pixel noise, estimated from the median of a Laplacian that is blind to edges and ramps.

    After Immerkaer 1996 with the median in place of the mean; a clip [T,3,H,W] in [0,1].
    """
    mask = torch.tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])
    response = F.conv2d(video.float().flatten(0, 1)[:, None], mask[None, None])
    return float(response.abs().median() / 0.6745 / 6.0)
