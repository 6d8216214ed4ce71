"""Fitting: held-out frames of a rigid scene come out better than the start, and worse when the scene is not rigid."""

from __future__ import annotations

import pytest
import torch
from splat_scenes import random_gaussians
from torch import Tensor

from worldr1.splats.fit import FitSettings, fit_splats, random_in_frustum
from worldr1.splats.gaussians import Gaussians
from worldr1.splats.render import render

LENS = torch.tensor([[30.0, 0, 20], [0, 30, 16], [0, 0, 1]])
SETTINGS = FitSettings(count=700, near=0.6, far=3.0)
HELD_OUT = [2, 5]
FITTED = [0, 1, 3, 4, 6, 7]


def psnr(one: Tensor, other: Tensor) -> float:
    return float(-10 * torch.log10((one - other).square().mean()))


def video() -> tuple[Tensor, Tensor]:
    """Eight frames [8,3,32,40] of a sideways move past a coarse cloud of Gaussians, and their c2w [8,4,4]."""
    generator = torch.Generator().manual_seed(0)
    count = 150
    place = (torch.rand(count, 3, generator=generator) - 0.5) * torch.tensor([2.5, 2.0, 1.0])
    scene = Gaussians(
        place + torch.tensor([0.0, 0.0, 1.6]),
        torch.rand(count, 3, generator=generator) * 0.15 + 0.05,
        torch.randn(count, 4, generator=generator),
        torch.full((count,), 0.95),
        torch.rand(count, 3, generator=generator),
    )
    c2w = torch.eye(4).repeat(8, 1, 1)
    c2w[:, 0, 3] = torch.linspace(0, 0.4, 8)
    return render(scene, c2w, LENS, 32, 40).image.clamp(0, 1), c2w


def held_out_psnr(gaussians: Gaussians, frames: Tensor, c2w: Tensor) -> float:
    return psnr(render(gaussians, c2w[HELD_OUT], LENS, 32, 40).image.clamp(0, 1), frames[HELD_OUT])


def test_fit_improves_held_out_frames_and_prefers_a_rigid_scene() -> None:
    frames, c2w = video()
    start = random_in_frustum(frames[FITTED], c2w[FITTED], LENS, 500, 0.6, 3.0, torch.Generator().manual_seed(0))
    before = held_out_psnr(start, frames, c2w)
    fitted = fit_splats(frames, c2w, LENS, FITTED, iterations=100, start=start)
    rigid = held_out_psnr(fitted, frames, c2w)
    assert rigid > before + 6
    assert rigid > 22
    backwards = frames.flip(0)
    spoilt = held_out_psnr(fit_splats(backwards, c2w, LENS, FITTED, iterations=100, start=start), backwards, c2w)
    assert rigid > spoilt + 3


def test_same_seed_same_gaussians() -> None:
    frames, c2w = video()
    one, same, other = (fit_splats(frames, c2w, LENS, iterations=5, seed=s, settings=SETTINGS) for s in (1, 1, 2))
    torch.testing.assert_close(one.means, same.means, atol=0, rtol=0)
    assert (one.means - other.means).abs().max() > 0.1
    assert len(fit_splats(frames, c2w, LENS, iterations=0, settings=SETTINGS)) == 700


def test_random_start_lies_in_the_frustum_in_the_pixels_colours() -> None:
    frames, c2w = video()
    made = random_in_frustum(frames[:1], c2w[:1], LENS, 500, 0.6, 3.0, torch.Generator().manual_seed(0))
    x, y, z = made.means.unbind(1)
    assert z.min() >= 0.6
    assert z.max() <= 3.0
    u, v = 30 * x / z + 20, 30 * y / z + 16
    torch.testing.assert_close(made.colors, frames[0, :, v.long(), u.long()].T)
    # 1/z is uniform: its mean lies within four standard errors.
    spread = (1 / 0.6 - 1 / 3.0) / 12**0.5
    assert abs(float((1 / z).mean()) - (1 / 0.6 + 1 / 3.0) / 2) < 4 * spread / 500**0.5


def test_refusals() -> None:
    frames, c2w = video()
    with pytest.raises(ValueError, match=r"c2w \[T,4,4\]"):
        fit_splats(frames, c2w[:3], LENS)
    with pytest.raises(ValueError, match="frames must be indices"):
        fit_splats(frames, c2w, LENS, frames=[8])
    with pytest.raises(ValueError, match="frames must be indices"):
        fit_splats(frames, c2w, LENS, frames=[])
    base = random_gaussians(0, 10)
    harmonic = Gaussians(base.means, base.scales, base.quats, base.opacities, base.colors[:, None])
    with pytest.raises(ValueError, match="RGB colours"):
        fit_splats(frames, c2w, LENS, start=harmonic)
    with pytest.raises(ValueError, match="near < far"):
        fit_splats(frames, c2w, LENS, settings=FitSettings(near=2.0, far=1.0))
