"""Dense optical flow between neighbouring frames (pyramidal Lucas-Kanade) and the part of it that the camera explains.

Nothing here enters a reward: the guards measure motion with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Flow:
    """Flow from each frame to the next.

    vectors: [N,2,H,W] in pixels (x, y); confidence: [N,H,W] in [0,1], low where the image has no texture or where the
    flow does not explain it.
    """

    vectors: Tensor
    confidence: Tensor


def dense_flow(first: Tensor, second: Tensor, *, levels: int = 3, iterations: int = 4, window: int = 7) -> Flow:
    """Pyramidal iterative Lucas-Kanade on colour images (Lucas and Kanade 1981; Bouguet 2001), batched.

    Args:
        first, second: [N,3,H,W] in [0,1]; the flow v satisfies second(x + v(x)) = first(x).
        levels: of the pyramid; good for shifts up to about 2**levels pixels.
        iterations: warps per level.
        window: side of the square (odd) over which the flow is taken as constant.

    Raises:
        ValueError: if the shapes differ or the images are too small for the pyramid.
    """
    if first.shape != second.shape or first.ndim != 4:
        raise ValueError(
            f"flow needs two stacks [N,C,H,W] of one shape, got {tuple(first.shape)}, {tuple(second.shape)}"
        )
    if min(first.shape[-2:]) < window * 2 ** (levels - 1):
        raise ValueError(f"images of {tuple(first.shape[-2:])} are too small for {levels} levels with window {window}")
    pyramid = [(_smooth(first), _smooth(second))]
    for _ in range(levels - 1):
        pyramid.append((F.avg_pool2d(pyramid[-1][0], 2), F.avg_pool2d(pyramid[-1][1], 2)))
    vectors = torch.zeros(first.shape[0], 2, *pyramid[-1][0].shape[-2:])
    for level, (a, b) in reversed(list(enumerate(pyramid))):
        if vectors.shape[-2:] != a.shape[-2:]:
            vectors = 2 * F.interpolate(vectors, size=a.shape[-2:], mode="bilinear", align_corners=False)
        vectors = _refine(a, b, vectors, iterations, window)
        if level:
            vectors = _box(vectors, 3)
    a, b = pyramid[0]
    gx, gy = _gradient(a)
    xx, xy, yy = (_box((p * q).sum(1), window) for p, q in ((gx, gx), (gx, gy), (gy, gy)))
    low = _smaller_eigenvalue(xx, xy, yy)
    error = _box((warp(b, vectors) - a).abs().mean(1), window)
    confidence = low / (low + 1e-4) * torch.exp(-((error / 0.08) ** 2))
    return Flow(vectors=vectors, confidence=confidence)


def _refine(a: Tensor, b: Tensor, vectors: Tensor, iterations: int, window: int) -> Tensor:
    gx, gy = _gradient(a)
    xx, xy, yy = (_box((p * q).sum(1), window) for p, q in ((gx, gx), (gx, gy), (gy, gy)))
    damping = 1e-4 + 0.01 * (xx + yy)
    xx, yy = xx + damping, yy + damping
    determinant = xx * yy - xy * xy
    for _ in range(iterations):
        difference = a - warp(b, vectors)
        bx, by = _box((gx * difference).sum(1), window), _box((gy * difference).sum(1), window)
        step = torch.stack([(yy * bx - xy * by) / determinant, (xx * by - xy * bx) / determinant], dim=1)
        vectors = vectors + step.clamp(-1, 1)
    return vectors


def _smooth(image: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)


def _box(field: Tensor, window: int) -> Tensor:
    """Mean over a square window [..., H, W], one side after the other; outside the image does not count."""
    stack = field[:, None] if field.ndim == 3 else field
    half = window // 2
    rows = F.avg_pool2d(stack, (window, 1), 1, (half, 0), count_include_pad=False)
    mean = F.avg_pool2d(rows, (1, window), 1, (0, half), count_include_pad=False)
    return mean.view(field.shape)


def _gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    return (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2, (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2


def warp(image: Tensor, vectors: Tensor) -> Tensor:
    """Images [N,C,H,W] looked up at x + v(x), vectors v [N,2,H,W] in pixels, clamped to the border."""
    height, width = image.shape[-2:]
    ys, xs = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    grid = torch.stack([(xs + vectors[:, 0]) * 2 / width - 1, (ys + vectors[:, 1]) * 2 / height - 1], dim=-1)
    return F.grid_sample(image, grid.to(image.dtype), mode="bilinear", padding_mode="border", align_corners=False)


def _smaller_eigenvalue(xx: Tensor, xy: Tensor, yy: Tensor) -> Tensor:
    half, root = (xx + yy) / 2, (((xx - yy) / 2) ** 2 + xy * xy).sqrt()
    return (half - root).clamp_min(0)


def camera_flow(flow: Flow, weight: Tensor, *, iterations: int = 6) -> Tensor:
    """The smooth part of a flow field that a moving camera explains: a quadratic in x and y, fitted robustly per pair.

    A camera's flow over a plane is exactly quadratic to first order (Longuet-Higgins and Prazdny 1980); the full
    quadratic has the freedom to follow a room's floor and walls closely. Iteratively reweighted with Geman-McClure
    weights, so that a moving object does not pull it.

    Args:
        flow: of N frame pairs.
        weight: [N,H,W] >= 0, further weight, e.g. 0 on the objects.

    Returns:
        [N,2,H,W] pixels.
    """
    n, _, height, width = flow.vectors.shape
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    basis = torch.stack([torch.ones_like(xs), xs, ys, xs * xs, xs * ys, ys * ys], dim=-1).reshape(-1, 6).double()
    target = flow.vectors.reshape(n, 2, -1).transpose(1, 2).double()
    prior = (flow.confidence * weight).reshape(n, -1).double()
    robust = torch.ones_like(prior)
    fitted = torch.zeros_like(target)
    ridge = 1e-6 * torch.eye(6, dtype=torch.float64)
    for _ in range(iterations):
        weighted = (prior * robust)[..., None] * basis
        coefficients = torch.linalg.solve(weighted.transpose(1, 2) @ basis + ridge, weighted.transpose(1, 2) @ target)
        fitted = basis @ coefficients
        squared = ((fitted - target) ** 2).sum(-1)
        robust = 1 / (1 + squared / 0.25**2) ** 2
    return fitted.transpose(1, 2).reshape(n, 2, height, width).float()
