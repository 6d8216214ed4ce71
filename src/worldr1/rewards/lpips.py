"""LPIPS (Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018), AlexNet,
version 0.1, in plain PyTorch with its weights shipped in half precision.

Its linear heads were trained on 64x64 patches, so small pictures are compared as they are: no upscaling. Pictures
larger than a few hundred pixels may be shrunk first, for speed only.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WEIGHTS = Path(__file__).parent / "weights" / "lpips_alex_fp16.safetensors"
STRIDES = (4, 1, 1, 1, 1)
PADDINGS = (2, 2, 1, 1, 1)
POOLED = (1, 2)
MIN_SIDE = 31
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)


class Lpips(nn.Module):
    """Perceptual distance of pairs of pictures: 0 for equal ones, about 0.7 for unrelated ones.

    dtype: precision of the convolutions; distances are always taken in float32. bfloat16 is for CPUs and GPUs that
    multiply it in hardware. The weights do not train; gradients reach the pictures.

    Raises FileNotFoundError when the weights are not there, ValueError for a dtype that is not floating point.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, dtype: torch.dtype = torch.float32, weights: Path = WEIGHTS) -> None:
        super().__init__()
        from safetensors.torch import load_file

        if not dtype.is_floating_point:
            raise ValueError(f"Lpips: dtype must be floating point, got {dtype}.")
        if not weights.is_file():
            raise FileNotFoundError(f"The LPIPS weights are not at {weights}; reinstall worldr1.")
        tensors = load_file(weights)
        layers = range(len(STRIDES))
        self.kernels = nn.ParameterList(
            nn.Parameter(tensors[f"features.{i}.weight"].to(dtype).contiguous(memory_format=torch.channels_last), False)
            for i in layers
        )
        self.biases = nn.ParameterList(nn.Parameter(tensors[f"features.{i}.bias"].to(dtype), False) for i in layers)
        self.heads = nn.ParameterList(nn.Parameter(tensors[f"lin{i}.weight"].float(), False) for i in layers)
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1), persistent=False)

    def features(self, images: Tensor) -> list[Tensor]:
        """Activations of the five layers, each [B,C_l,H_l,W_l] with channels of unit length, for images [B,3,H,W]."""
        x = ((images.float() * 2 - 1 - self.shift) / self.scale).to(self.kernels[0].dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        outputs = []
        for i, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            if i in POOLED:
                x = functional.max_pool2d(x, 3, 2)
            x = functional.relu(functional.conv2d(x, kernel, bias, STRIDES[i], PADDINGS[i]))
            wide = x.float()
            outputs.append(wide / (wide.square().sum(1, keepdim=True) + 1e-20).sqrt())
        return outputs

    def forward(self, a: Tensor, b: Tensor, mask: Tensor | None = None, spatial: bool = False) -> Tensor:
        """Distances [B] of a [B,3,H,W] from b [B,3,H,W], both in [0,1], H and W at least 31.

        mask [B,H,W] in [0,1] says what counts: elsewhere `a` is replaced by `b`, so that nothing there can change
        the result, and the mean over each layer is weighted by the mask's share of each cell; nan where a mask is
        empty. spatial=True returns maps [B,H,W] instead, whose mean is close to the distance (maps of the layers,
        enlarged bilinearly and added); with a mask, nan where it is 0.

        Raises ValueError for shapes that do not fit.
        """
        if a.shape != b.shape or a.ndim != 4 or a.shape[1] != 3:
            raise ValueError(f"Lpips: a and b must both be [B,3,H,W], got {list(a.shape)} and {list(b.shape)}.")
        height, width = a.shape[-2:]
        if min(height, width) < MIN_SIDE:
            raise ValueError(f"Lpips: pictures must be at least {MIN_SIDE} pixels high and wide, got {height}x{width}.")
        if mask is not None and mask.shape != (len(a), height, width):
            raise ValueError(f"Lpips: mask must be {[len(a), height, width]}, got {list(mask.shape)}.")
        weight = None if mask is None else mask[:, None].float()
        if weight is not None:
            a = a * weight + b * (1 - weight)
        both = self.features(torch.cat([a, b]))
        maps = [
            functional.conv2d((x[: len(a)] - x[len(a) :]).square(), head)
            for x, head in zip(both, self.heads, strict=True)
        ]
        if spatial:
            enlarged = [functional.interpolate(m, (height, width), mode="bilinear", align_corners=False) for m in maps]
            total = torch.stack(enlarged).sum(0)[:, 0]
            return total if mask is None else torch.where(mask > 0, total, torch.nan)
        if weight is None:
            return torch.stack([m.mean((1, 2, 3)) for m in maps]).sum(0)
        distance = torch.zeros(len(a), device=a.device)
        for m in maps:
            share = functional.adaptive_avg_pool2d(weight, (m.shape[2], m.shape[3]))
            distance = distance + (m * share).sum((1, 2, 3)) / share.sum((1, 2, 3))
        return distance
