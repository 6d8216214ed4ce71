"""Fitting Gaussians to posed frames by Adam: the evaluator's way to ask whether a video is one rigid scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldr1.camera import se3
from worldr1.splats.gaussians import Gaussians
from worldr1.splats.rasterize import Jobs, rasterize


@dataclass(frozen=True)
class FitSettings:
    """What `fit_splats` starts from and how far it steps.

    count Gaussians at depths between near and far (units of c2w) unless a start is given. lr_*: Adam step sizes of
    the means (units of c2w), logarithm of scales, quaternions, logit of opacities and colours; all decay along a
    half cosine to `final` of their start. batch: frames drawn per iteration.
    """

    count: int = 3000
    near: float = 0.5
    far: float = 5.0
    lr_means: float = 5e-3
    lr_scales: float = 3e-2
    lr_quats: float = 1e-2
    lr_opacities: float = 1e-1
    lr_colors: float = 1e-2
    final: float = 0.1
    batch: int = 1


def random_in_frustum(
    video: Tensor,
    c2w: Tensor,
    intrinsics: Tensor,
    count: int,
    near: float,
    far: float,
    generator: torch.Generator,
) -> Gaussians:
    """`count` Gaussians on the rays of random pixels, in their colours, at depths whose inverse is uniform.

    video [T,3,H,W]; c2w [T,4,4]; intrinsics [3,3]; near and far in the units of c2w. Each is as wide as the mean
    distance of `count` points spread over one picture, half transparent. Raises ValueError unless 0 < near < far.
    """
    if not 0 < near < far:
        raise ValueError(f"random_in_frustum: depths must satisfy 0 < near < far, got {near} and {far}.")
    frames, _, height, width = video.shape
    frame = torch.randint(frames, (count,), generator=generator)
    row = torch.randint(height, (count,), generator=generator)
    column = torch.randint(width, (count,), generator=generator)
    z = 1 / torch.empty(count).uniform_(1 / far, 1 / near, generator=generator)
    x = (column + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0] * z
    y = (row + 0.5 - intrinsics[1, 2]) / intrinsics[1, 1] * z
    pose = c2w[frame].float()
    spacing = math.sqrt(height * width / max(count, 1))
    return Gaussians(
        means=torch.einsum("nij,nj->ni", pose[:, :3, :3], torch.stack([x, y, z], 1).float()) + pose[:, :3, 3],
        scales=(0.5 * spacing * z / intrinsics[0, 0])[:, None].repeat(1, 3).float(),
        quats=torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        opacities=torch.full((count,), 0.5),
        colors=video[frame, :, row, column].float(),
    )


def fit_splats(
    video: Tensor,
    c2w: Tensor,
    intrinsics: Tensor,
    frames: Sequence[int] | None = None,
    iterations: int = 300,
    seed: int = 0,
    start: Gaussians | None = None,
    settings: FitSettings | None = None,
) -> Gaussians:
    """Gaussians (RGB) fitted to the chosen frames of a posed video by the mean absolute difference, on CPU.

    video [T,3,H,W] in [0,1]; c2w [T,4,4] OpenCV; intrinsics [3,3]; frames: indices to fit to, all by default, so
    that the others can be held out; start: RGB Gaussians to refine, by default random ones in the frustum. The same
    seed gives the same Gaussians.

    Raises ValueError for shapes that do not agree, for no frames, and for a start with SH colours.
    """
    settings = settings or FitSettings()
    chosen = _chosen_frames(video, c2w, frames)
    if start is not None and start.sh_degree is not None:
        raise ValueError("fit_splats: start must have RGB colours [N,3], not spherical harmonics.")
    generator = torch.Generator().manual_seed(seed)
    shown, poses = video[chosen].float().contiguous(), c2w[chosen]
    if start is None:
        start = random_in_frustum(shown, poses, intrinsics, settings.count, settings.near, settings.far, generator)

    means = start.means.detach().float().clone().requires_grad_()
    log_scales = start.scales.detach().float().clamp_min(1e-6).log().requires_grad_()
    quats = start.quats.detach().float().clone().requires_grad_()
    logits = torch.logit(start.opacities.detach().float(), eps=0.01).requires_grad_()
    colors = start.colors.detach().float().clone().requires_grad_()
    rates = (settings.lr_means, settings.lr_scales, settings.lr_quats, settings.lr_opacities, settings.lr_colors)
    parameters = (means, log_scales, quats, logits, colors)
    groups = [{"params": [value], "lr": rate} for value, rate in zip(parameters, rates, strict=True)]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15, fused=True)
    order = _frame_order(len(chosen), iterations * settings.batch, generator).reshape(iterations, settings.batch)
    targets = shown.permute(0, 2, 3, 1)
    w2c = se3.invert(poses.double())
    for step, picked in enumerate(order):
        decay = settings.final + (1 - settings.final) * 0.5 * (1 + math.cos(math.pi * step / iterations))
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * decay
        jobs = _jobs(len(means), w2c[picked], intrinsics, video.shape[-2], video.shape[-1])
        pixels = rasterize(means, log_scales.exp(), quats, logits.sigmoid(), colors, None, jobs)
        loss = (pixels[..., :3] - targets[picked]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Gaussians(
        means=means.detach(),
        scales=log_scales.detach().exp(),
        quats=quats.detach(),
        opacities=logits.detach().sigmoid(),
        colors=colors.detach().clamp(0, 1),
        source=start.source,
    )


def _chosen_frames(video: Tensor, c2w: Tensor, frames: Sequence[int] | None) -> list[int]:
    """The frames to fit to, checked against the video and its poses."""
    if video.ndim != 4 or video.shape[1] != 3 or tuple(c2w.shape) != (len(video), 4, 4):
        raise ValueError(
            f"fit_splats: video must be [T,3,H,W] and c2w [T,4,4], got {list(video.shape)} and {list(c2w.shape)}."
        )
    chosen = list(range(len(video))) if frames is None else [int(frame) for frame in frames]
    if not chosen or min(chosen) < 0 or max(chosen) >= len(video):
        raise ValueError(f"fit_splats: frames must be indices of the video's {len(video)} frames, got {chosen}.")
    return chosen


def _frame_order(frames: int, draws: int, generator: torch.Generator) -> Tensor:
    """`draws` frame numbers: one random permutation of all frames after another."""
    rounds = [torch.randperm(frames, generator=generator) for _ in range(-(-draws // frames))]
    return torch.cat(rounds)[:draws] if rounds else torch.empty(0, dtype=torch.int64)


def _jobs(count: int, w2c: Tensor, intrinsics: Tensor, height: int, width: int) -> Jobs:
    """Jobs that draw one scene of `count` Gaussians from the views w2c [V,4,4]."""
    views = len(w2c)
    none = np.zeros(views, np.int64)
    return Jobs(none, none + count, none, none - 1, w2c, intrinsics.expand(views, 3, 3), height, width)
