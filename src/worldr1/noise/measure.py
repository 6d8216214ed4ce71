"""Measurements on moving noise: does it follow the flow, and does it survive the sampler."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from worldr1.camera.trajectory import Trajectory
from worldr1.noise.flow import latent_poses, pixel_centres, plane_returns

_NEAR = 1e-6
_SPREAD = (0.7548776662466927, 0.5698402909980532)


def flow_correlation(noise: Tensor, trajectory: Trajectory) -> Tensor:
    """Measured correlation of each latent frame with the first, along the trajectory's flow on the plane at depth 1.

    The cells of frame ``k`` are paired with the cells of frame 0 in which their centres lie; Pearson's correlation is
    taken over all pairs and channels. Cells that look outside the first frame are left out.

    Args:
        noise: ``[C, T, H, W]``, noise or any latents.
        trajectory: the camera.

    Returns:
        ``[T]`` float64; nan where no cell (or only one value) sees the first frame.

    Raises:
        ValueError: when the latents have another shape, or their frames do not fall on video frames.
    """
    if noise.ndim != 4:
        raise ValueError(f"noise has shape {tuple(noise.shape)}; it must be [C, T, H, W].")
    channels, frames, height, width = noise.shape
    shape = (frames, height, width)
    origin = _origins(trajectory, shape, pixel_centres(height, width).flatten(1)).floor()
    values = noise.double().cpu()
    result = torch.full((frames,), torch.nan, dtype=torch.float64)
    for frame in range(frames):
        x, y = origin[frame]
        seen = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        index = (y[seen] * width + x[seen]).long()
        if int(seen.sum()) * channels > 1:
            result[frame] = _pearson(values[:, frame].flatten(1)[:, seen], values[:, 0].flatten(1)[:, index])
    return result


def ideal_flow_correlation(trajectory: Trajectory, shape: tuple[int, int, int], samples: int = 16) -> Tensor:
    """What ``flow_correlation`` is for continuous white noise on the plane, so the best that any grid can reach.

    A cell of frame ``k`` covers a region A of the first frame's image and is paired with cell B; integrals of white
    noise over regions, scaled to variance 1, correlate by ``|A and B| / sqrt(|A| |B|)``. Areas are taken on
    ``samples**2`` points a cell, spread evenly by an additive recurrence so that no shift falls between them, to about
    0.01; the result is the mean over the pairs.

    Args:
        trajectory: the camera.
        shape: ``(T, H, W)`` of the latents.
        samples: root of the number of points a cell.

    Returns:
        ``[T]`` float64; nan where no cell sees the first frame.

    Raises:
        ValueError: when the latent frames do not fall on video frames.
    """
    _, height, width = shape
    steps = torch.arange(samples * samples, dtype=torch.float64) + 0.5
    offsets = torch.stack([steps * rate % 1.0 - 0.5 for rate in _SPREAD])
    centres = pixel_centres(height, width).flatten(1)
    points = (centres[:, :, None] + offsets[:, None]).flatten(1)
    origin = _origins(trajectory, shape, points).unflatten(-1, (-1, samples * samples))
    shift = 0.5 / samples
    right = _origins(trajectory, shape, points + torch.tensor([[shift], [0.0]])).view_as(origin)
    down = _origins(trajectory, shape, points + torch.tensor([[0.0], [shift]])).view_as(origin)
    across, along = (right - origin) / shift, (down - origin) / shift
    area = (across[:, 0] * along[:, 1] - across[:, 1] * along[:, 0]).abs()
    paired = _origins(trajectory, shape, centres).floor()
    inside = (origin.floor() == paired.unsqueeze(-1)).all(dim=1)
    overlap = (area * inside).mean(dim=-1) / area.mean(dim=-1).sqrt()
    limit = torch.tensor([[width], [height]])
    seen = ((paired >= 0) & (paired < limit)).all(dim=1)
    return torch.where(seen, overlap, torch.nan).nanmean(dim=-1)


def injection_survival(states: Sequence[Tensor], noise: Tensor) -> Tensor:
    """Correlation of each sampler state with the noise that was injected at its start.

    Along ``x_sigma = (1 - sigma) x0 + sigma eps`` it falls from 1 with sigma; a sampler that redraws or overwrites its
    noise drops at once.

    Args:
        states: the S states x_sigma of one run, each ``[B, C, T, H, W]``, from noise to data.
        noise: ``[B, C, T, H, W]``, what was injected.

    Returns:
        ``[S, B]`` float64, Pearson's correlation over each sample.

    Raises:
        ValueError: when a state's shape differs from the noise's.
    """
    for index, state in enumerate(states):
        if state.shape != noise.shape:
            raise ValueError(f"State {index} has shape {tuple(state.shape)}; the noise has {tuple(noise.shape)}.")
    target = noise.double().flatten(1)
    rows = [
        torch.stack([_pearson(a, b) for a, b in zip(state.double().flatten(1), target, strict=True)])
        for state in states
    ]
    return torch.stack(rows) if rows else torch.empty(0, noise.shape[0], dtype=torch.float64)


def _origins(trajectory: Trajectory, shape: tuple[int, int, int], points: Tensor) -> Tensor:
    """``[T, 2, N]`` positions in the first latent frame of pixels ``[2, N]`` of each; nan where they see no plane."""
    frames, height, width = shape
    intrinsics = trajectory.intrinsics(height, width).double()
    back = intrinsics @ plane_returns(latent_poses(trajectory, frames)) @ torch.linalg.inv(intrinsics)
    source = back @ torch.cat([points, torch.ones_like(points[:1])])
    return torch.where(source[:, 2:] > _NEAR, source[:, :2] / source[:, 2:], torch.nan)


def _pearson(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation over all values; nan when one of them is constant."""
    a, b = a.flatten() - a.mean(), b.flatten() - b.mean()
    return (a @ b) / (a.norm() * b.norm())
