"""Curves agree with S_recon's own redrawing, and the warnings' measures with closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from tiny_clips import truth_and_spoilt
from worldr1.camera import se3
from worldr1.camera.metrics import camera_errors
from worldr1.camera.trajectory import Trajectory
from worldr1.evaluation.curves import frame_curves
from worldr1.evaluation.observability import camera_shift, cut, geometry_warnings, texture
from worldr1.evaluation.quality import ssim_map
from worldr1.reconstruction.stereo import StereoReconstructor
from worldr1.reconstruction.types import Reconstruction
from worldr1.rewards.lpips import Lpips
from worldr1.rewards.recon import redraw
from worldr1.splats.gaussians import from_depth


def _plane(c2w: torch.Tensor, depth: float = 2.0, height: int = 64, width: int = 96) -> Reconstruction:
    """A wall straight ahead, seen by cameras [T, 4, 4]."""
    intrinsics = Trajectory(c2w[:1]).intrinsics(height, width)
    depths = torch.full((len(c2w), height, width), depth)
    splats = from_depth(torch.rand(1, 3, height, width), depths[:1], c2w[:1], intrinsics, source=torch.zeros(1).long())
    return Reconstruction(c2w, intrinsics, depths, torch.ones_like(depths), splats)


def test_curves_at_the_key_frames_are_those_of_s_recon() -> None:
    clean, _, asked = truth_and_spoilt([("move left",)], seed=3)
    video = clean[0].video
    scene = StereoReconstructor()(video[None])[0]
    lpips = Lpips()
    curves = frame_curves(video, scene, asked[0], lpips)
    drawing = redraw(video, scene)
    assert drawing.frames.tolist() == [0, 4, 8, 12, 16]
    for k, t in enumerate(drawing.frames.tolist()):
        covered = drawing.covered[k]
        error = (drawing.drawn[k] - drawing.originals[k]).square().mean(0)[covered].mean()
        assert curves.psnr[t] == pytest.approx(-10 * math.log10(float(error) + 1e-6), abs=1e-3)
        assert curves.coverage[t] == pytest.approx(float(covered.float().mean()), abs=1e-6)
    distances = lpips(drawing.drawn.clamp(0, 1), drawing.originals, drawing.covered.float())
    assert [curves.lpips[t] for t in drawing.frames.tolist()] == pytest.approx(distances.tolist(), abs=1e-4)
    errors = camera_errors(scene.c2w, asked[0].c2w)
    assert sum(curves.rot_err) == pytest.approx(errors.rot_err)
    assert sum(curves.trans_err) == pytest.approx(errors.trans_err)


def test_a_defect_shows_in_the_frames_that_have_it() -> None:
    clean, _, _ = truth_and_spoilt([("move left",)], seed=3)
    video = clean[0].video.clone()
    scene = StereoReconstructor()(video[None])[0]
    video[10] = video[10].flip(0) * 0.7
    curves = frame_curves(video, scene, None, Lpips())
    assert curves.psnr.index(min(curves.psnr)) == 10
    assert curves.ssim.index(min(curves.ssim)) == 10
    assert curves.rot_err == ()


def test_travel_shifts_a_wall_by_focal_length_times_travel_over_depth() -> None:
    c2w = torch.eye(4).repeat(3, 1, 1)
    c2w[:, 0, 3] = torch.tensor([0.0, 0.1, 0.2])
    scene = _plane(c2w)
    shift = camera_shift(scene)
    assert shift.travelling == pytest.approx(float(scene.intrinsics[0, 0]) * 0.2 / 2.0, rel=1e-3)
    assert shift.turning == pytest.approx(0.0, abs=1e-4)
    wide = camera_shift(_plane(c2w, height=128, width=192))
    assert wide.travelling == pytest.approx(shift.travelling, rel=1e-3)


def test_a_turn_shifts_whatever_the_depth() -> None:
    c2w = se3.compose(se3.yaw(torch.tensor([0.0, 0.05], dtype=torch.float64)), torch.zeros(2, 3).double()).float()
    near, far = camera_shift(_plane(c2w, 0.5)), camera_shift(_plane(c2w, 50.0))
    focal = float(_plane(c2w).intrinsics[0, 0])
    assert near.turning == far.turning
    assert focal * math.tan(0.05) < near.turning < 1.3 * focal * math.tan(0.05)
    assert near.travelling == pytest.approx(0.0, abs=1e-4)


def test_ssim_is_that_of_gaussian_windows() -> None:
    first, second = torch.rand(2, 2, 3, 24, 31, generator=torch.Generator().manual_seed(0)).double().numpy()
    second = 0.7 * first + 0.3 * second

    def mean(x: np.ndarray) -> np.ndarray:
        return gaussian_filter(x, sigma=(0, 0, 1.5, 1.5), truncate=3.5)[..., 5:-5, 5:-5]

    a, b = mean(first), mean(second)
    luminance = (2 * a * b + 1e-4) / (a**2 + b**2 + 1e-4)
    covariance, variances = mean(first * second) - a * b, mean(first**2) + mean(second**2) - a**2 - b**2
    expected = luminance * (2 * covariance + 9e-4) / (variances + 9e-4)
    assert np.allclose(ssim_map(torch.from_numpy(first), torch.from_numpy(second)).numpy(), expected, atol=1e-9)


def test_texture_is_the_size_of_the_differences() -> None:
    ramp = torch.linspace(0, 0.63, 64).expand(3, 3, 64, 64)
    assert texture(ramp) == pytest.approx(0.01, rel=1e-3)


def test_a_cut_is_found_where_it_is_and_steady_motion_is_none() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 3, 32, 32, generator=generator)
    drift = torch.linspace(0, 0.01, 9).view(9, 1, 1, 1)
    assert cut(torch.cat([first + drift[:4], second + drift[4:]])) == 4
    assert cut(first + drift) is None
    assert cut(torch.rand(9, 3, 32, 32, generator=generator)) is None


def test_a_good_scene_gives_no_warning_and_an_unobservable_one_gives_one() -> None:
    video = torch.rand(3, 3, 64, 96, generator=torch.Generator().manual_seed(0)).roll(1, 0)[:1].expand(3, 3, 64, 96)
    moving = torch.eye(4).repeat(3, 1, 1)
    moving[:, 0, 3] = torch.tensor([0.0, 0.1, 0.2])
    assert geometry_warnings(video, _plane(moving), coverage=0.9, agreement=0.9) == ()
    assert "still camera" in geometry_warnings(video, _plane(torch.eye(4).repeat(3, 1, 1)), 0.9, 0.9)[0]
    assert "seen in other frames" in geometry_warnings(video, _plane(moving), math.nan, math.nan)[0]
    assert "hardly resemble" in geometry_warnings(video, _plane(moving), 0.9, 0.1)[0]
    assert "hardly moves" in geometry_warnings(video, _plane(moving, depth=100.0), 0.9, 0.9)[0]
