"""What moves by itself is found where it is, and an inconsistent scene is not excused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tiny_clips import truth_and_spoilt
from worldr1.camera.trajectory import Trajectory
from worldr1.reconstruction.types import Reconstruction
from worldr1.rewards.moving import moving_mask
from worldr1.rewards.recon import ReconReward, redraw, without_moving
from worldr1.rewards.types import Sample
from worldr1.splats.gaussians import Gaussians
from worldr1.tinyworld.render import render_clips
from worldr1.tinyworld.scenes import sample_scene


def true_scene(clip, depth: torch.Tensor | None = None) -> Reconstruction:
    nothing = torch.zeros(0, 3)
    splats = Gaussians(nothing, nothing, torch.zeros(0, 4), torch.zeros(0), nothing)
    maps = clip.depth if depth is None else depth
    return Reconstruction(clip.c2w, clip.intrinsics, maps, torch.ones_like(maps), splats)


def noise_with_a_patch(patch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two frames whose redrawing is off by 0.01 everywhere, and by 0.5 in a square patch."""
    drawn = torch.full((2, 3, 64, 64), 0.5)
    originals = drawn + 0.01 * (torch.rand(2, 3, 64, 64) - 0.5)
    originals[:, :, 20 : 20 + patch, 30 : 30 + patch] += 0.5
    return originals, drawn


def test_a_patch_is_found_with_its_border_of_one_window() -> None:
    originals, drawn = noise_with_a_patch(12)
    mask = moving_mask(originals, drawn, torch.ones(2, 64, 64, dtype=torch.bool))
    assert bool(mask[:, 20:32, 30:42].all())
    outside = mask.clone()
    outside[:, 20 - 4 : 32 + 4, 30 - 4 : 42 + 4] = False
    assert not bool(outside.any())


def test_no_more_than_the_given_share_is_left_out_and_the_worst_of_it() -> None:
    originals, drawn = noise_with_a_patch(30)
    originals[:, :, 20:32, 30:42] += 0.3
    mask = moving_mask(originals, drawn, torch.ones(2, 64, 64, dtype=torch.bool), most=0.03)
    assert mask.flatten(1).sum(1).tolist() == [int(0.03 * 64 * 64)] * 2
    assert bool(mask[:, 24:28, 34:38].all())
    with pytest.raises(ValueError, match="most is a share"):
        moving_mask(originals, drawn, mask, most=2.0)


def test_what_was_not_drawn_never_moves() -> None:
    originals, drawn = noise_with_a_patch(12)
    covered = torch.ones(2, 64, 64, dtype=torch.bool)
    covered[:, 20:26] = False
    assert not bool((moving_mask(originals, drawn, covered) & ~covered).any())
    assert not bool(moving_mask(originals, drawn, torch.zeros_like(covered)).any())


def test_an_error_everywhere_is_no_object() -> None:
    drawn = torch.full((2, 3, 64, 64), 0.5)
    originals = drawn + 0.4 * (torch.rand(2, 3, 64, 64) - 0.5)
    mask = moving_mask(originals, drawn, torch.ones(2, 64, 64, dtype=torch.bool))
    assert float(mask.float().mean()) < 0.01


def test_a_moving_object_stops_costing_and_evaluation_still_sees_it() -> None:
    """Clips with true cameras and depths in which one object moves: the score rises to that of a still scene."""
    rng = np.random.default_rng(8)
    scenes = [sample_scene(rng, dynamic=True, split="all") for _ in range(6)]
    path = Trajectory.from_moves(("move left",), 17)
    clips = render_clips(scenes, [path] * 6, height=64, width=64)
    samples = [Sample(clip.video, "", path) for clip in clips]
    rebuilt = [true_scene(clip) for clip in clips]
    counted, left_out = ReconReward(), ReconReward(leave_moving=True)
    before, after = counted(samples, rebuilt), left_out(samples, rebuilt)
    assert float((after - before).min()) > -1e-3
    assert float((after - before).mean()) > 0.02
    assert torch.equal(counted.details(samples, rebuilt).psnr, left_out.details(samples, rebuilt).psnr)
    for clip, scene in zip(clips, rebuilt, strict=True):
        drawing = redraw(clip.video, scene)
        quiet = without_moving(drawing)
        assert quiet.psnr >= drawing.psnr
        assert quiet.coverage <= 1.0


def test_consistent_scenes_lose_hardly_anything_and_spoilt_ones_stay_below() -> None:
    clean, spoilt, asked = truth_and_spoilt([("move left",), ("orbit right",), ("pull left",), ("push in",)], seed=21)
    for clip in clean:
        assert float(without_moving(redraw(clip.video, true_scene(clip))).left_out.float().mean()) < 0.1
    reward = ReconReward(leave_moving=True)
    scores = [
        reward([Sample(c.video, "", t) for c, t in zip(kind, asked, strict=True)], [true_scene(c) for c in kind])
        for kind in (clean, spoilt)
    ]
    assert bool((scores[0] > scores[1]).all())
