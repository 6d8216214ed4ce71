"""`.ply`: round trip, the layout that viewers expect read byte by byte, refusals."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from splat_scenes import INTRINSICS, camera, random_gaussians

from worldr1.splats.gaussians import Gaussians
from worldr1.splats.ply import load_ply, save_ply
from worldr1.splats.render import render


@pytest.mark.parametrize("count", [None, 4, 9, 16])
def test_round_trip(tmp_path: Path, count: int | None) -> None:
    base = random_gaussians(0, 100)
    colors = base.colors if count is None else torch.randn(100, count, 3, generator=torch.Generator().manual_seed(0))
    gaussians = Gaussians(base.means, base.scales, base.quats, base.opacities, colors, base.source)
    back = load_ply(save_ply(gaussians, tmp_path / "scene.ply"))
    for name in ("means", "scales", "opacities", "colors", "source"):
        torch.testing.assert_close(getattr(back, name), getattr(gaussians, name), atol=2e-6, rtol=1e-5)
    unit = gaussians.quats / gaussians.quats.norm(dim=1, keepdim=True)
    torch.testing.assert_close(back.quats, unit, atol=1e-6, rtol=0)
    pictures = [render(scene, camera(0), INTRINSICS, 30, 40).image for scene in (gaussians, back)]
    assert (pictures[0] - pictures[1]).abs().mean() < 1e-5
    assert [path.name for path in tmp_path.iterdir()] == ["scene.ply"]


def test_extremes_come_back(tmp_path: Path) -> None:
    gaussians = Gaussians(
        torch.zeros(2, 3), torch.zeros(2, 3), torch.eye(4)[:2], torch.tensor([0.0, 1.0]), torch.zeros(2, 3)
    )
    back = load_ply(save_ply(gaussians, tmp_path / "scene.ply"))
    torch.testing.assert_close(back.opacities, gaussians.opacities, atol=1e-6, rtol=0)
    torch.testing.assert_close(back.scales, gaussians.scales, atol=1e-6, rtol=0)
    assert back.source is None
    empty = load_ply(save_ply(gaussians[:0], tmp_path / "empty.ply"))
    assert len(empty) == 0


def test_bytes_are_those_of_gaussian_splatting(tmp_path: Path) -> None:
    colors = torch.arange(12, dtype=torch.float32).reshape(1, 4, 3)
    gaussians = Gaussians(
        torch.tensor([[1.0, 2.0, 3.0]]),
        torch.tensor([[0.5, 1.0, 2.0]]),
        torch.tensor([[2.0, 0.0, 0.0, 0.0]]),
        torch.tensor([0.75]),
        colors,
    )
    raw = save_ply(gaussians, tmp_path / "scene.ply").read_bytes()
    header, body = raw.split(b"end_header\n")
    names = [line.split()[-1] for line in header.decode().splitlines() if line.startswith("property")]
    rest = [f"f_rest_{i}" for i in range(9)]
    tail = ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    assert header.startswith(b"ply\nformat binary_little_endian 1.0\nelement vertex 1\n")
    assert names == ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *rest, *tail]
    # f_rest holds all of red's higher coefficients, then green's, then blue's.
    higher = [3, 6, 9, 4, 7, 10, 5, 8, 11]
    logs = [np.log(0.5), 0.0, np.log(2.0)]
    expected = [1, 2, 3, 0, 0, 0, 0, 1, 2, *higher, np.log(3.0), *logs, 1, 0, 0, 0]
    np.testing.assert_allclose(struct.unpack(f"<{len(expected)}f", body), expected, atol=1e-6)


def test_refusals(tmp_path: Path) -> None:
    path = tmp_path / "bad.ply"
    path.write_text("no ply at all\n")
    with pytest.raises(ValueError, match="is not a"):
        load_ply(path)
    path.write_text("ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n")
    with pytest.raises(ValueError, match="it lacks y, z"):
        load_ply(path)
    path.write_text("ply\nformat ascii 1.0\nelement face 1\nproperty float x\nend_header\n1\n")
    with pytest.raises(ValueError, match="no vertex element"):
        load_ply(path)
    with pytest.raises(OSError, match="none"):
        load_ply(tmp_path / "none.ply")
