"""Frames as Depth Anything 3 expects them, resized on the tensor.

The upstream package sends every frame through an 8-bit PIL image and OpenCV. Here the same two resizings (longest side
to `process_res`, then each side to the nearest multiple of the patch), with the same kernels (exact area averages to
shrink, bicubic with a = -0.75 to enlarge), are done in float on the video's device. The only difference is that nothing
is rounded to 8 bits, which moves a pixel by at most about two levels of 255.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def bounded_size(height: int, width: int, process_res: int) -> tuple[int, int]:
    """Size (h, w) of the same shape whose longer side is `process_res`."""
    scale = process_res / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def processed_size(height: int, width: int, process_res: int, patch: int = 14) -> tuple[int, int]:
    """Size (h, w) at which the network sees frames of height x width: multiples of `patch`, at least one patch.

    A side half-way between two multiples takes the larger.
    """
    h, w = bounded_size(height, width, process_res)
    return max(patch, (2 * h + patch) // (2 * patch) * patch), max(patch, (2 * w + patch) // (2 * patch) * patch)


def resize_frames(video: Tensor, process_res: int, patch: int = 14) -> Tensor:
    """Frames [T,3,H,W] in [0,1] at the network's size, [T,3,h,w] in [0,1].

    Raises ValueError when process_res is smaller than a patch.
    """
    if process_res < patch:
        raise ValueError(f"process_res is {process_res}; it must be at least {patch}, the side of one patch.")
    height, width = video.shape[-2:]
    bounded = bounded_size(height, width, process_res)
    return _resize(_resize(video, bounded), processed_size(height, width, process_res, patch))


def normalize(frames: Tensor) -> Tensor:
    """Frames [...,3,H,W] in [0,1] with ImageNet's mean and deviation taken out."""
    mean = torch.tensor(IMAGENET_MEAN, dtype=frames.dtype, device=frames.device)[:, None, None]
    return (frames - mean) / torch.tensor(IMAGENET_STD, dtype=frames.dtype, device=frames.device)[:, None, None]


def _resize(frames: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = frames.shape[-2:]
    if size == (height, width):
        return frames
    if size[0] > height or size[1] > width:
        return functional.interpolate(frames, size=size, mode="bicubic", align_corners=False).clamp(0.0, 1.0)
    rows = _area_weights(height, size[0]).to(frames)
    columns = _area_weights(width, size[1]).to(frames)
    return rows @ frames @ columns.T


def _area_weights(before: int, after: int) -> Tensor:
    """Weights [after, before]: the share that each old pixel has in each new one, rows sum to 1."""
    edges = torch.arange(after + 1, dtype=torch.float64) * (before / after)
    pixels = torch.arange(before, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return overlap.clamp(min=0.0) * (after / before)
