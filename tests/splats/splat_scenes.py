"""Small random scenes for the splat tests, and the float64 reference's picture of them."""

from __future__ import annotations

import torch
from torch import Tensor

from worldr1.camera.se3 import quaternion_to_matrix
from worldr1.splats import reference
from worldr1.splats.gaussians import Gaussians

INTRINSICS = torch.tensor([[50.0, 0.0, 31.0], [0.0, 53.0, 22.5], [0.0, 0.0, 1.0]])


def random_gaussians(seed: int, count: int = 400, big: float = 0.06) -> Gaussians:
    """A cloud in front of the identity camera, with some Gaussians behind it, transparent or far off the picture."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    return Gaussians(
        means=(uniform(count, 3) - 0.5) * torch.tensor([3.0, 2.5, 3.0]) + torch.tensor([0.0, 0.0, 1.3]),
        scales=uniform(count, 3) * big + 0.003,
        quats=torch.randn(count, 4, generator=generator),
        opacities=uniform(count),
        colors=uniform(count, 3),
        source=torch.randint(5, (count,), generator=generator),
    )


def camera(seed: int) -> Tensor:
    """A camera [4,4] near the origin, turned by up to about ten degrees."""
    generator = torch.Generator().manual_seed(1000 + seed)
    turn = torch.randn(1, 4, generator=generator, dtype=torch.float64) * 0.08
    turn[0, 0] = 1.0
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = quaternion_to_matrix(turn)[0]
    pose[:3, 3] = torch.randn(3, generator=generator, dtype=torch.float64) * 0.1
    return pose


def reference_picture(gaussians: Gaussians, c2w: Tensor, height: int, width: int) -> Tensor:
    """[5,H,W] float64: red, green, blue, sum of weight * depth, alpha."""
    return reference.rasterize(
        gaussians.means.double(),
        gaussians.scales.double(),
        gaussians.quats.double(),
        gaussians.opacities.double(),
        gaussians.colors.double(),
        torch.linalg.inv(c2w.double()),
        INTRINSICS.double(),
        height,
        width,
    )
