"""Gaussians to and from `.ply` in the layout of 3D Gaussian Splatting, which SuperSplat and other viewers open."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldr1.splats.gaussians import SH_COUNTS, Gaussians
from worldr1.splats.sh import SH_C0

MAX_LOGIT = 16.0
MIN_SCALE = 1e-12


def _names(rest: int) -> list[str]:
    """Columns in the order of 3D Gaussian Splatting; `rest` is the number of f_rest columns."""
    return [
        *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"),
        *(f"f_rest_{i}" for i in range(rest)),
        *("opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
    ]


def save_ply(gaussians: Gaussians, path: str | Path) -> Path:
    """Writes binary little-endian `.ply`: logit opacities, logarithms of scales, unit quaternions wxyz, colours as SH.

    RGB colours become SH of degree 0; `source`, when there is one, an extra int property that viewers ignore. The
    file is written beside its place and renamed, so that a reader never sees half of it. Returns the path.
    """
    from plyfile import PlyData, PlyElement

    path = Path(path)
    coefficients = gaussians.colors[:, None] if gaussians.sh_degree is None else gaussians.colors
    coefficients = coefficients.detach().cpu().double()
    if gaussians.sh_degree is None:
        coefficients = (coefficients - 0.5) / SH_C0
    quats = gaussians.quats.detach().cpu().double()
    logits = torch.logit(gaussians.opacities.detach().cpu().double()).clamp(-MAX_LOGIT, MAX_LOGIT)
    columns = torch.cat(
        [
            gaussians.means.detach().cpu().double(),
            torch.zeros(len(gaussians), 3, dtype=torch.float64),
            coefficients[:, 0],
            coefficients[:, 1:].transpose(1, 2).flatten(1),
            logits[:, None],
            gaussians.scales.detach().cpu().double().clamp_min(MIN_SCALE).log(),
            quats / quats.norm(dim=1, keepdim=True).clamp_min(1e-12),
        ],
        1,
    ).numpy()
    layout = [(name, "<f4") for name in _names(3 * (coefficients.shape[1] - 1))]
    if gaussians.source is not None:
        layout.append(("source", "<i4"))
    table: NDArray[np.void] = np.empty(len(gaussians), dtype=layout)
    for column, (name, _) in zip(columns.T, layout, strict=False):
        table[name] = column
    if gaussians.source is not None:
        table["source"] = gaussians.source.cpu().numpy()
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        PlyData([PlyElement.describe(table, "vertex")], byte_order="<").write(str(beside))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def load_ply(path: str | Path) -> Gaussians:
    """Reads a 3D Gaussian Splatting `.ply`, written here or elsewhere.

    SH of degree 0 comes back as RGB [N,3], clamped to [0,1]; higher degrees as SH [N,K,3]. Raises ValueError when
    the file is no such `.ply` (the sentence names what is missing), OSError when it cannot be read.
    """
    from plyfile import PlyData, PlyParseError

    path = Path(path)
    try:
        data = PlyData.read(str(path))
    except (PlyParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a .ply file: {error}.") from error
    if "vertex" not in data:
        raise ValueError(f"{path} has no vertex element; a Gaussian splatting .ply has one.")
    table = data["vertex"].data
    present = set(table.dtype.names or ())
    rest = sum(name.startswith("f_rest_") for name in present)
    missing = [name for name in _names(rest) if name not in present and name not in ("nx", "ny", "nz")]
    if missing:
        raise ValueError(f"{path} is not a Gaussian splatting .ply: it lacks {', '.join(missing)}.")
    if rest % 3 or rest // 3 + 1 not in SH_COUNTS:
        raise ValueError(f"{path} has {rest} f_rest properties; degrees 0 to 3 have 0, 9, 24 or 45.")

    def columns(*names: str) -> Tensor:
        return torch.from_numpy(np.stack([np.asarray(table[name], np.float32) for name in names], 1))

    base = columns("f_dc_0", "f_dc_1", "f_dc_2")
    if rest:
        others = columns(*(f"f_rest_{i}" for i in range(rest))).reshape(len(table), 3, rest // 3).transpose(1, 2)
        colors = torch.cat([base[:, None], others], 1)
    else:
        colors = (base * SH_C0 + 0.5).clamp(0, 1)
    source = torch.from_numpy(np.asarray(table["source"], np.int64)) if "source" in present else None
    return Gaussians(
        means=columns("x", "y", "z"),
        scales=columns("scale_0", "scale_1", "scale_2").exp(),
        quats=columns("rot_0", "rot_1", "rot_2", "rot_3"),
        opacities=columns("opacity")[:, 0].sigmoid(),
        colors=colors,
        source=source,
    )
