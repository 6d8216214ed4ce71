"""Readable rasteriser in plain PyTorch: the meaning of `render`, differentiable by autograd, in any float dtype.

Conventions are gsplat's, modes "classic" and "antialiased" (EWA splatting, Zwicker et al. 2002; Ye et al. 2024):
0.3 px^2 of blur added to the screen covariance, alpha = opacity * exp(-power) clamped at 0.99 and dropped below 1/255,
front to back by the depth of the centres, a pixel closed before its transmittance falls to 1e-4, no Gaussians nearer
than 0.01.
It holds [N,H*W] tensors: for tests and small pictures.
"""

from __future__ import annotations

import torch
from torch import Tensor

from worldr1.camera.se3 import quaternion_to_matrix

BLUR = 0.3
MAX_ALPHA = 0.99
MIN_ALPHA = 1 / 255
MIN_TRANSMITTANCE = 1e-4
NEAR = 0.01
MARGIN = 0.15


def project(
    means: Tensor, scales: Tensor, quats: Tensor, w2c: Tensor, intrinsics: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Screen means [N,2] in pixels, screen covariances [N,2,2] in px^2 with the blur, depths [N]."""
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    x, y, z = (means @ w2c[:3, :3].T + w2c[:3, 3]).unbind(-1)
    margin_x, margin_y = MARGIN * width / fx, MARGIN * height / fy
    tx = torch.minimum(torch.maximum(x / z, -(cx / fx + margin_x)), (width - cx) / fx + margin_x)
    ty = torch.minimum(torch.maximum(y / z, -(cy / fy + margin_y)), (height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    jacobian = torch.stack([fx / z, zero, -fx * tx / z, zero, fy / z, -fy * ty / z], -1).reshape(-1, 2, 3)
    half = jacobian @ w2c[:3, :3] @ (quaternion_to_matrix(quats) * scales[:, None, :])
    covariance = half @ half.transpose(1, 2) + BLUR * torch.eye(2, dtype=means.dtype, device=means.device)
    return torch.stack([fx * x / z + cx, fy * y / z + cy], -1), covariance, z


def rasterize(
    means: Tensor,
    scales: Tensor,
    quats: Tensor,
    opacities: Tensor,
    colors: Tensor,
    w2c: Tensor,
    intrinsics: Tensor,
    height: int,
    width: int,
    antialiased: bool = False,
) -> Tensor:
    """One view as [5,H,W]: red, green, blue, sum of weight * depth, alpha.

    means [N,3], scales [N,3], quats [N,4], opacities [N], colors [N,3] RGB, w2c [4,4], intrinsics [3,3], all of one
    dtype. Gradients reach every one of them.
    """
    in_front = (means @ w2c[:3, :3].T + w2c[:3, 3])[:, 2] > NEAR
    means, scales, quats = means[in_front], scales[in_front], quats[in_front]
    opacities, colors = opacities[in_front], colors[in_front]
    centre, covariance, depth = project(means, scales, quats, w2c, intrinsics, height, width)
    if antialiased:
        sharp = covariance - BLUR * torch.eye(2, dtype=means.dtype, device=means.device)
        opacities = opacities * (torch.linalg.det(sharp).clamp_min(0) / torch.linalg.det(covariance)).sqrt()
    order = torch.argsort(depth, stable=True)
    v, u = torch.meshgrid(
        torch.arange(height, dtype=means.dtype, device=means.device) + 0.5,
        torch.arange(width, dtype=means.dtype, device=means.device) + 0.5,
        indexing="ij",
    )
    offset = torch.stack([u, v], -1).reshape(1, -1, 2) - centre[order][:, None]
    power = 0.5 * torch.einsum("npi,nij,npj->np", offset, torch.linalg.inv(covariance[order]), offset)
    alpha = (opacities[order][:, None] * torch.exp(-power)).clamp_max(MAX_ALPHA)
    alpha = torch.where(alpha >= MIN_ALPHA, alpha, torch.zeros_like(alpha))
    is_open = torch.cumprod(1 - alpha, 0) > MIN_TRANSMITTANCE
    alpha = torch.where(is_open, alpha, torch.zeros_like(alpha))
    after = torch.cumprod(1 - alpha, 0)
    before = torch.cat([torch.ones_like(after[:1]), after])[: len(after)]
    weight = alpha * before
    features = torch.cat([colors, depth[:, None], torch.ones_like(depth[:, None])], 1)[order]
    return (features.T @ weight).reshape(5, height, width)
