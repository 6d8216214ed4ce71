"""Reprojection of confident points against closed forms on planes."""

from __future__ import annotations

import math

import pytest
import torch

from tiny_clips import truth_and_spoilt
from worldr1.camera.trajectory import Trajectory
from worldr1.reconstruction.stereo import StereoReconstructor
from worldr1.reconstruction.types import Reconstruction
from worldr1.rewards.points import points_agreement, return_errors
from worldr1.rewards.recon import ReconReward
from worldr1.rewards.types import Sample
from worldr1.splats.gaussians import Gaussians

SIDE, FOCAL = 40, 50.0
LENS = torch.tensor([[FOCAL, 0.0, SIDE / 2], [0.0, FOCAL, SIDE / 2], [0.0, 0.0, 1.0]])


def scene(depth: torch.Tensor, step: tuple[float, float, float], confidence: torch.Tensor | None = None):
    """Frames of depth maps [T,H,W]; every camera stands `step` further than the one before."""
    c2w = torch.eye(4).repeat(len(depth), 1, 1)
    c2w[:, :3, 3] = torch.arange(len(depth))[:, None] * torch.tensor(step)
    nothing = torch.zeros(0, 3)
    splats = Gaussians(nothing, nothing, torch.zeros(0, 4), torch.zeros(0), nothing)
    return Reconstruction(c2w, LENS, depth, torch.ones_like(depth) if confidence is None else confidence, splats)


def planes(*depths: float) -> torch.Tensor:
    return torch.tensor(depths)[:, None, None].expand(-1, SIDE, SIDE).clone()


@pytest.mark.parametrize("step", [(0.1, 0.0, 0.0), (0.0, -0.05, 0.0), (0.03, 0.02, 0.1), (0.0, 0.0, 0.0)])
def test_a_plane_seen_rightly_returns_every_point(step: tuple[float, float, float]) -> None:
    """The plane z = 1 is at depth 1 - k z-step from camera k."""
    depths = [1.0 - k * step[2] for k in range(5)]
    assert points_agreement(scene(planes(*depths), step)) == pytest.approx(1.0, abs=1e-6)


def test_a_slanted_plane_returns_every_point() -> None:
    """n . X = 1 has inverse depth n . ray, linear in the picture, so that looking it up between pixels is exact."""
    x = (torch.arange(SIDE) + 0.5 - SIDE / 2) / FOCAL
    step = 0.08
    depth = torch.stack([((1 - 0.3 * k * step) / (1.0 + 0.3 * x)).expand(SIDE, SIDE) for k in range(3)])
    assert points_agreement(scene(depth, (step, 0.0, 0.0)), keys=3) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("second", [1.05, 1.08, 0.95])
def test_a_wrong_depth_costs_its_disparity(second: float) -> None:
    """Moving sideways by b, depths z and z' bring a point back focal x b x |1/z - 1/z'| pixels away."""
    baseline = 0.1
    rebuilt = scene(planes(1.0, second), (baseline, 0.0, 0.0))
    expected = FOCAL * baseline * abs(1.0 - 1.0 / second)
    for source, target in ((0, 1), (1, 0)):
        errors = return_errors(rebuilt, source, target, 0.5)
        assert len(errors) > SIDE * (SIDE - 7)
        torch.testing.assert_close(errors, torch.full_like(errors, expected), rtol=1e-5, atol=1e-6)
    assert points_agreement(rebuilt, keys=2) == pytest.approx(math.exp(-expected / (0.01 * SIDE)), rel=1e-4)


def test_points_behind_what_the_other_frame_sees_do_not_count() -> None:
    """At depth 1 against 0.8 in the other frame they are hidden; the way back from 0.8 to 1 counts alone."""
    rebuilt = scene(planes(1.0, 0.8), (0.1, 0.0, 0.0))
    assert len(return_errors(rebuilt, 0, 1, 0.5)) == 0
    assert len(return_errors(rebuilt, 1, 0, 0.5)) > 0


def test_only_confident_points_count() -> None:
    depth = planes(1.0, 1.0)
    depth[:, :, SIDE // 2 :] = 1.3  # one half is wrong in the second frame alone
    depth[0, :, SIDE // 2 :] = 1.0
    sure = torch.ones_like(depth)
    assert points_agreement(scene(depth, (0.1, 0.0, 0.0)), keys=2) < 0.9
    sure[:, :, SIDE // 2 :] = 0.0
    assert points_agreement(scene(depth, (0.1, 0.0, 0.0), sure), keys=2) == pytest.approx(1.0, abs=1e-6)
    assert math.isnan(points_agreement(scene(depth, (0.1, 0.0, 0.0), 0 * sure), keys=2))


def test_s_recon_takes_its_share_from_points_and_keeps_pixels_without_any() -> None:
    clean, spoilt, asked = truth_and_spoilt([("move left",), ("orbit right",)], seed=3)
    samples = [Sample(clip.video, "", path) for kind in (clean, spoilt) for clip, path in zip(kind, asked, strict=True)]
    scenes = StereoReconstructor()(torch.stack([s.video for s in samples]), [s.trajectory for s in samples])
    pixels, points, half = (ReconReward(points=share) for share in (0.0, 1.0, 0.5))
    seen, met, both = (reward(samples, scenes) for reward in (pixels, points, half))
    torch.testing.assert_close(both, (seen + met) / 2)
    details = pixels.details(samples, scenes)
    factor = (details.coverage / 0.6).clamp(max=1.0) * details.evidence
    agreements = torch.tensor([points_agreement(found) for found in scenes])
    torch.testing.assert_close(met, agreements * factor)
    assert float(met[:2].mean()) > float(met[2:].mean())
    unsure = [Reconstruction(s.c2w, s.intrinsics, s.depth, 0 * s.confidence, s.splats) for s in scenes]
    torch.testing.assert_close(points(samples, unsure), seen)
    with pytest.raises(ValueError, match="points is a share"):
        ReconReward(points=1.5)


def test_an_asked_path_of_true_clips_agrees() -> None:
    """True depths of a clip return their points; depths that breathe by 5% do not."""
    clip = truth_and_spoilt([("move right",)], seed=4)[0][0]
    assert isinstance(clip.c2w, torch.Tensor)
    nothing = torch.zeros(0, 3)
    splats = Gaussians(nothing, nothing, torch.zeros(0, 4), torch.zeros(0), nothing)
    true = Reconstruction(clip.c2w, clip.intrinsics, clip.depth, torch.ones_like(clip.depth), splats)
    breathing = clip.depth * (1 + 0.05 * (-1.0) ** (torch.arange(17) // 4))[:, None, None]
    false = Reconstruction(clip.c2w, clip.intrinsics, breathing, true.confidence, splats)
    assert Trajectory(clip.c2w).frames == 17
    assert points_agreement(true) > 0.9 > points_agreement(false) + 0.1
