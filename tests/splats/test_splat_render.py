"""`render` and `render_batch`: batches, excluded sources, spherical harmonics, the gsplat path, clear refusals."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from splat_scenes import INTRINSICS, camera, random_gaussians
from torch import Tensor

from worldr1.splats import reference
from worldr1.splats.gaussians import Gaussians, from_depth
from worldr1.splats.render import render, render_batch
from worldr1.splats.sh import SH_C0, sh_basis


def with_sh(gaussians: Gaussians, count: int) -> Gaussians:
    generator = torch.Generator().manual_seed(count)
    colors = torch.randn(len(gaussians), count, 3, generator=generator) * 0.3
    return Gaussians(gaussians.means, gaussians.scales, gaussians.quats, gaussians.opacities, colors, gaussians.source)


def test_a_batch_equals_single_renders() -> None:
    scenes = [random_gaussians(0, 300), random_gaussians(1, 120), with_sh(random_gaussians(2, 50), 4)]
    views = [torch.stack([camera(i) for i in range(n)]) for n in (3, 1, 2)]
    excluded = [torch.tensor([0, -1, 4]), 2, torch.tensor([1, 1])]
    lenses = torch.stack([INTRINSICS, INTRINSICS * torch.tensor([[2.0], [2], [1]]), INTRINSICS])
    batch = render_batch(scenes, views, lenses, 30, 40, excluded)
    for i, (scene, poses, exclude) in enumerate(zip(scenes, views, excluded, strict=True)):
        assert batch[i].image.shape == (len(poses), 3, 30, 40)
        assert batch[i].depth.shape == batch[i].alpha.shape == (len(poses), 30, 40)
        for k, pose in enumerate(poses):
            left_out = int(torch.as_tensor(exclude).expand(len(poses))[k])
            single = render(scene, pose, lenses[i], 30, 40, left_out)
            for got, want in zip((part[k] for part in batch[i]), single, strict=True):
                torch.testing.assert_close(got, want, atol=0, rtol=0)


def test_gradients_of_a_batch_are_those_of_its_scenes() -> None:
    scenes, poses = [random_gaussians(0, 80), with_sh(random_gaussians(1, 60), 9)], torch.stack([camera(0), camera(1)])
    weight = torch.randn(2, 3, 30, 40, generator=torch.Generator().manual_seed(0))

    def gradients(draw_together: bool) -> list[Tensor]:
        leaves = [
            [value.clone().requires_grad_() for value in (s.means, s.scales, s.quats, s.opacities, s.colors)]
            for s in scenes
        ]
        built = [Gaussians(*values) for values in leaves]
        if draw_together:
            images = [drawn.image for drawn in render_batch(built, [poses, poses], INTRINSICS, 30, 40)]
        else:
            images = [torch.stack([render(scene, pose, INTRINSICS, 30, 40).image for pose in poses]) for scene in built]
        torch.stack([(image * weight).sum() for image in images]).sum().backward()
        return [value.grad for values in leaves for value in values if value.grad is not None]

    together, apart = gradients(True), gradients(False)
    assert len(together) == len(apart) == 10
    for one, other in zip(together, apart, strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm()


def test_excluding_a_source_is_rendering_without_it() -> None:
    gaussians = random_gaussians(4, 500)
    assert gaussians.source is not None
    poses = torch.stack([camera(i) for i in range(5)])
    drawn = render(gaussians, poses, INTRINSICS, 45, 61, exclude_source=torch.arange(5))
    everything = render(gaussians, poses, INTRINSICS, 45, 61)
    for i in range(5):
        without = render(gaussians[gaussians.source != i], poses[i], INTRINSICS, 45, 61)
        torch.testing.assert_close(drawn.image[i], without.image, atol=0, rtol=0)
        assert (drawn.image[i] - everything.image[i]).abs().max() > 0.01


def test_a_frame_is_redrawn_from_its_own_depth() -> None:
    """Pixel-aligned Gaussians of a slanted textured plane give its picture, depth and full cover back."""
    v, u = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    depth = 1 + 0.004 * u + 0.003 * v
    image = torch.stack(
        [0.5 + 0.4 * torch.sin(u / 6), 0.5 + 0.4 * torch.cos(v / 5), 0.5 + 0.3 * torch.sin(u / 9 + v / 7)]
    )
    lens = torch.tensor([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]])
    drawn = render(from_depth(image, depth, camera(2).float(), lens), camera(2), lens, 48, 64)
    inner = (slice(2, -2), slice(2, -2))
    assert drawn.alpha[inner].min() > 0.99
    assert ((drawn.depth - depth).abs() / depth)[inner].max() < 0.01
    assert (drawn.image - image)[(slice(None), *inner)].abs().max() < 0.03


def test_spherical_harmonics_are_orthonormal() -> None:
    """Their Gram matrix over the sphere (Gauss-Legendre in z, trapezoid rule in the angle) is the identity."""
    import numpy as np

    z, weight = (torch.from_numpy(value) for value in np.polynomial.legendre.leggauss(8))
    angle = torch.arange(16, dtype=torch.float64) * (2 * torch.pi / 16)
    radius = (1 - z * z).sqrt()[:, None]
    grid = torch.stack([radius * angle.cos(), radius * angle.sin(), z[:, None].expand(8, 16)], -1)
    basis = sh_basis(grid, 16)
    gram = torch.einsum("ijk,ijl,i->kl", basis, basis, weight) * (2 * torch.pi / 16)
    torch.testing.assert_close(gram, torch.eye(16, dtype=torch.float64), atol=1e-10, rtol=0)


def test_spherical_harmonics_have_the_signs_of_gaussian_splatting() -> None:
    """Degree 1 is (-y, z, -x); along +z only the m = 0 functions are not 0, and they are positive."""
    x, y, z = torch.eye(3, dtype=torch.float64)
    assert sh_basis(x, 4)[3] < 0
    assert sh_basis(y, 4)[1] < 0
    assert sh_basis(z, 4)[2] > 0
    axis = sh_basis(z, 16)
    assert [k for k in range(16) if axis[k] != 0] == [0, 2, 6, 12]
    assert (axis[[0, 2, 6, 12]] > 0).all()


def test_degree_zero_is_the_plain_colour() -> None:
    gaussians = random_gaussians(5)
    same = Gaussians(
        gaussians.means,
        gaussians.scales,
        gaussians.quats,
        gaussians.opacities,
        (gaussians.colors[:, None] - 0.5) / SH_C0,
    )
    one, other = (render(scene, camera(5), INTRINSICS, 45, 61).image for scene in (gaussians, same))
    torch.testing.assert_close(one, other, atol=2e-6, rtol=0)


def test_the_gsplat_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in with gsplat's signature, drawn by the reference, gives the pictures that the kernel gives."""

    def rasterization(
        means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor, viewmats: Tensor, Ks: Tensor,
        width: int, height: int, render_mode: str, rasterize_mode: str, packed: bool,
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:  # fmt: skip
        assert render_mode == "RGB+D"
        assert not packed
        pictures = []
        for i, (view, lens) in enumerate(zip(viewmats, Ks, strict=True)):
            rgb = colors if colors.ndim == 2 else colors[i]
            fainter = rasterize_mode == "antialiased"
            drawn = reference.rasterize(means, scales, quats, opacities, rgb, view, lens, height, width, fainter)
            pictures.append(drawn)
        stacked = torch.stack(pictures).permute(0, 2, 3, 1)
        return stacked[..., :4], stacked[..., 4:], {}

    monkeypatch.setitem(sys.modules, "gsplat", types.SimpleNamespace(rasterization=rasterization))
    from worldr1.splats.cuda import render_gsplat

    poses, excluded = torch.stack([camera(i) for i in range(4)]), torch.tensor([2, -1, 2, 0])
    for scene in (random_gaussians(0, 200), with_sh(random_gaussians(1, 100), 16)):
        fainter = scene.sh_degree is None
        ours = render(scene, poses, INTRINSICS, 30, 40, excluded, fainter)
        theirs = render_gsplat(scene, poses, INTRINSICS.expand(4, 3, 3), 30, 40, excluded, fainter)
        for got, want in zip(theirs, ours, strict=True):
            assert (got - want).abs().mean() < 1e-5
    monkeypatch.setitem(sys.modules, "gsplat", None)
    with pytest.raises(ImportError, match="worldr1\\[cuda\\]"):
        render_gsplat(scene, poses, INTRINSICS.expand(4, 3, 3), 30, 40, excluded)


def test_refusals_say_what_would_be_right() -> None:
    scene, pose = random_gaussians(0, 10), torch.eye(4)
    without = Gaussians(scene.means, scene.scales, scene.quats, scene.opacities, scene.colors)
    with pytest.raises(ValueError, match=r"c2w must be \[V,4,4\]"):
        render(scene, torch.eye(3), INTRINSICS, 8, 8)
    with pytest.raises(ValueError, match="intrinsics must be"):
        render(scene, pose, torch.eye(4), 8, 8)
    with pytest.raises(ValueError, match="needs Gaussians with a source"):
        render(without, pose, INTRINSICS, 8, 8, exclude_source=0)
    with pytest.raises(ValueError, match=r"integers \[1\]"):
        render(scene, pose, INTRINSICS, 8, 8, exclude_source=torch.arange(3))
    with pytest.raises(ValueError, match="2 scenes but 1"):
        render_batch([scene, scene], [pose[None]], INTRINSICS, 8, 8)
    with pytest.raises(ValueError, match="height and width"):
        render(scene, pose, INTRINSICS, 0, 8)
    with pytest.raises(ValueError, match="gradients to cameras"):
        render(scene, pose.requires_grad_(), INTRINSICS, 8, 8)
    assert render_batch([], [], INTRINSICS, 8, 8) == []
    empty = scene[torch.zeros(10, dtype=torch.bool)]
    assert float(render(empty, torch.eye(4), INTRINSICS, 8, 8).alpha.max()) == 0
