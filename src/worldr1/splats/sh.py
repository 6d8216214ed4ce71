"""Real spherical harmonics of degree 0 to 3, in the order and sign of 3D Gaussian Splatting."""

from __future__ import annotations

import torch
from torch import Tensor

SH_C0 = 0.28209479177387814
_C1 = 0.4886025119029199
_C2 = (1.0925484305920792, -1.0925484305920792, 0.31539156525252005, -1.0925484305920792, 0.5462742152960396)
_C3 = (
    -0.5900435899266435,
    2.890611442640554,
    -0.4570457994644658,
    0.3731763325901154,
    -0.4570457994644658,
    1.445305721320277,
    -0.5900435899266435,
)


def sh_basis(directions: Tensor, count: int) -> Tensor:
    """Basis values [...,count] for unit directions [...,3]; count is 1, 4, 9 or 16.

    Raises ValueError for another count.
    """
    if count not in (1, 4, 9, 16):
        raise ValueError(f"sh_basis: count must be 1, 4, 9 or 16 (degree 0 to 3), got {count}.")
    x, y, z = directions.unbind(-1)
    basis = [torch.full_like(x, SH_C0)]
    if count > 1:
        basis += [-_C1 * y, _C1 * z, -_C1 * x]
    if count > 4:
        basis += [
            _C2[0] * x * y,
            _C2[1] * y * z,
            _C2[2] * (2 * z * z - x * x - y * y),
            _C2[3] * x * z,
            _C2[4] * (x * x - y * y),
        ]
    if count > 9:
        basis += [
            _C3[0] * y * (3 * x * x - y * y),
            _C3[1] * x * y * z,
            _C3[2] * y * (4 * z * z - x * x - y * y),
            _C3[3] * z * (2 * z * z - 3 * x * x - 3 * y * y),
            _C3[4] * x * (4 * z * z - x * x - y * y),
            _C3[5] * z * (x * x - y * y),
            _C3[6] * x * (x * x - 3 * y * y),
        ]
    return torch.stack(basis, -1)


def sh_to_rgb(coefficients: Tensor, means: Tensor, camera: Tensor) -> Tensor:
    """RGB [V,N,3], not negative, of SH coefficients [N,K,3] at means [N,3] seen from camera centres [V,3]."""
    offset = means[None] - camera[:, None]
    directions = offset / offset.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    basis = sh_basis(directions, coefficients.shape[1])
    return (torch.einsum("vnk,nkc->vnc", basis, coefficients) + 0.5).clamp_min(0)
