"""The public noise-warp algorithm in plain PyTorch, from its description (Go-with-the-Flow, arXiv 2501.08331).

Noise lives on a grid 16 times finer than the latents and moves on with every video frame. A step gathers backwards
(expansion) and scatters forwards (contraction); cells that share a value are told apart by `torch.unique` over the
first channel of both pictures and made independent again with noise that sums to zero.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-5
SETTLE = 0.9999


class Warp16:
    """White noise [N, C] on a fine grid and its weights [N].

    Args:
        channels, height, width: of the latents.
        upscale: fine cells per latent cell and side.
        seed: of the first frame and of all fresh noise.
        device: where everything lies.
    """

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        upscale: int = 16,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.size, self.upscale = (height, width), upscale
        self.rows, self.columns = height * upscale, width * upscale
        self.generator = torch.Generator(device).manual_seed(seed)
        self.noise = self._normal(self.rows * self.columns, channels)
        self.weight = torch.ones(len(self.noise), device=device)
        row, column = torch.meshgrid(
            torch.arange(self.rows, device=device), torch.arange(self.columns, device=device), indexing="ij"
        )
        self.row, self.column = row.flatten(), column.flatten()

    def step(self, flow: Tensor) -> None:
        """Move on along a flow [2, rows, columns] (x, y) in fine cells."""
        cells, channels = self.noise.shape
        x, y = flow.flatten(1).round().long()
        target, inside = self._place(self.column + x, self.row + y)
        source, known = self._place(self.column - x, self.row - y)
        fresh = self._normal(cells, channels)
        covered = torch.zeros(cells, dtype=torch.bool, device=self.noise.device)
        covered[target[inside]] = True

        moving = torch.where(inside[:, None], self.noise, fresh)
        moving_weight = torch.where(inside, self.weight, EPSILON)
        expand = known & ~covered
        grown = torch.where(expand[:, None], self.noise[source], fresh)
        grown_weight = torch.where(expand, self.weight[source], EPSILON)
        both, counts = self._regaussianise(torch.cat([moving, grown]))
        moving, grown = both.split(cells)
        moving_weight, grown_weight = (torch.cat([moving_weight, grown_weight]) / counts).split(cells)

        target, weight = target[inside], moving_weight[inside]
        total = torch.zeros_like(self.weight).index_add_(0, target, weight)
        squared = torch.zeros_like(self.weight).index_add_(0, target, weight**2)
        summed = torch.zeros_like(self.noise).index_add_(0, target, moving[inside] * weight[:, None])
        shrunk = summed / squared.clamp_min(1e-30).sqrt()[:, None]
        self.noise = torch.where(covered[:, None], shrunk, grown)
        weight = torch.where(covered, total, grown_weight)
        self.weight = (weight / weight.mean() + EPSILON) ** SETTLE

    def latent(self) -> Tensor:
        """Latents [C, H, W]: sums over the fine cells, scaled back to variance 1."""
        height, width = self.size
        cells = self.noise.reshape(height, self.upscale, width, self.upscale, -1)
        return cells.sum((1, 3)).permute(2, 0, 1) / self.upscale

    def _normal(self, cells: int, channels: int) -> Tensor:
        return torch.randn(cells, channels, generator=self.generator, device=self.generator.device)

    def _place(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Index [N] of the cells at (x, y), 0 outside, and whether they lie inside."""
        inside = (x >= 0) & (x < self.columns) & (y >= 0) & (y < self.rows)
        return torch.where(inside, y * self.columns + x, 0), inside

    def _regaussianise(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """k cells of one value n become n / sqrt(k) + f_j - mean(f); also k for every cell."""
        _, group, counts = torch.unique(noise[:, 0], return_inverse=True, return_counts=True)
        foreign = self._normal(*noise.shape)
        means = noise.new_zeros(len(counts), noise.shape[1]).index_add_(0, group, foreign) / counts[:, None]
        members = counts[group].float()
        return noise / members.sqrt()[:, None] + foreign - means[group], members
