from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from tiny_clips import truth_and_spoilt
from worldr1.reconstruction.stereo import StereoReconstructor
from worldr1.reconstruction.types import Reconstruction
from worldr1.rewards.recon import ReconReward, evidence, redraw
from worldr1.rewards.types import Sample
from worldr1.splats.gaussians import Gaussians

MOVES = [("push in",), ("move left",), ("orbit right",), ("pan left",), ("pull right",)] * 2


@pytest.fixture(scope="module")
def clips():
    return truth_and_spoilt(MOVES, seed=21)


@pytest.fixture(scope="module")
def scored(clips):
    """Details of clean and spoilt clips under estimated cameras."""
    reward, rebuild = ReconReward(), StereoReconstructor()
    out = []
    for kind in clips[:2]:
        samples = [Sample(c.video, "", t) for c, t in zip(kind, clips[2], strict=True)]
        scenes = rebuild(torch.stack([s.video for s in samples]), clips[2])
        out.append((reward(samples, scenes), reward.details(samples, scenes)))
    return out


def truth_of(clip) -> Reconstruction:
    nothing = torch.zeros(0, 3)
    splats = Gaussians(nothing, nothing, torch.zeros(0, 4), torch.zeros(0), nothing)
    return Reconstruction(clip.c2w, clip.intrinsics, clip.depth, torch.ones_like(clip.depth), splats)


def test_exact_cameras_and_depth_redraw_consistent_clips(clips) -> None:
    for clip in clips[0]:
        redrawing = redraw(clip.video, truth_of(clip))
        error = (redrawing.drawn - clip.video[redrawing.frames]).square().mean(1)[redrawing.covered].mean()
        assert -10 * torch.log10(error) > 26
        assert redrawing.psnr == pytest.approx(-10 * float(torch.log10(error + 1e-6)), abs=1e-3)
        assert redrawing.coverage > 0.7


def test_a_lens_of_its_own_is_used_whole(clips) -> None:
    """The right half of a clip, its rows doubled: other focal lengths on both axes, and a centre at the left border."""
    for clip, moves in zip(clips[0][:5], MOVES, strict=False):
        scene = truth_of(clip)
        lens = scene.intrinsics.clone()
        lens[0, 2] -= 32
        lens[1] *= 2
        video = clip.video[..., 32:].repeat_interleave(2, dim=-2)
        depth = scene.depth[..., 32:].repeat_interleave(2, dim=-2)
        mine = replace(scene, depth=depth, intrinsics=lens, confidence=torch.ones_like(depth))
        assert redraw(video, mine).psnr > 24
        if moves == ("push in",):  # where the picture grows from, and how fast down and across
            centred = torch.tensor([[lens[0, 0], 0, 16], [0, lens[0, 0], 64], [0, 0, 1]])
            assert redraw(video, mine).psnr > redraw(video, replace(mine, intrinsics=centred)).psnr + 2


def test_a_frame_does_not_reach_its_own_drawing(clips) -> None:
    clip = clips[0][1]
    before = redraw(clip.video, truth_of(clip))
    video = clip.video.clone()
    video[8] = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    after = redraw(video, truth_of(clip))
    place = before.frames.tolist().index(8)
    covered = before.covered[place]
    assert torch.equal(before.drawn[place][:, covered], after.drawn[place][:, covered])
    assert not torch.equal(before.drawn[place - 1], after.drawn[place - 1])


def test_consistent_clips_score_above_spoilt_ones(scored) -> None:
    (clean, clean_details), (spoilt, spoilt_details) = scored
    assert float((clean[:, None] > spoilt[None]).float().mean()) > 0.9
    assert float((clean_details.psnr[:, None] > spoilt_details.psnr[None]).float().mean()) > 0.9
    assert float(clean_details.psnr.mean() - spoilt_details.psnr.mean()) > 4.0
    assert float(clean_details.coverage.min()) > 0.6
    assert float(clean.mean()) > 0.75


def test_blur_and_emptiness_do_not_pay(clips, scored) -> None:
    clean, _, asked = clips
    reward, rebuild = ReconReward(), StereoReconstructor()
    blurred = [functional.avg_pool2d(functional.pad(c.video, (2,) * 4, mode="replicate"), 5, 1) for c in clean]
    empty = [c.video.mean((2, 3), keepdim=True).expand_as(c.video).contiguous() for c in clean]
    for videos, most in ((blurred, float(scored[0][0].mean()) - 0.1), (empty, 0.1)):
        samples = [Sample(v, "", t) for v, t in zip(videos, asked, strict=True)]
        assert float(reward(samples, rebuild(torch.stack(videos), asked)).mean()) < most


def test_grain_does_not_raise_the_evidence(clips) -> None:
    sharp = clips[0][0].video
    noisy = (sharp + 0.05 * torch.randn(sharp.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    assert 0.9 < evidence(sharp) <= evidence(noisy) <= 1.0


@pytest.mark.parametrize("size", [(48, 64), (64, 64), (240, 416)])
@pytest.mark.parametrize("channels", [1, 3])
def test_white_noise_gives_no_evidence(size: tuple[int, int], channels: int) -> None:
    noise = torch.rand(5, channels, *size, generator=torch.Generator().manual_seed(2)).expand(-1, 3, -1, -1)
    assert evidence(noise) == 0.0


def test_no_picture_is_taken_for_noise(clips) -> None:
    generator = torch.Generator().manual_seed(3)
    rows, columns = torch.fft.fftfreq(64)[:, None], torch.fft.fftfreq(64)
    amplitude = (rows.square() + columns.square()).sqrt().clamp(min=1 / 64).reciprocal()
    clouds = torch.fft.ifft2(torch.fft.fft2(torch.randn(5, 3, 64, 64, generator=generator)) * amplitude).real
    pictures = [clip.video for kind in clips[:2] for clip in kind] + [0.5 + 0.2 * clouds / clouds.std()]
    for picture in pictures:
        fine, coarse = (energy_of_differences(functional.avg_pool2d(picture, size)) for size in (1, 2))
        expected = min(1.0, fine / (0.46 * coarse)) * min(1.0, coarse**0.5 / 0.03)
        assert expected > 0.5
        assert evidence(picture) == pytest.approx(expected, rel=1e-5)


def energy_of_differences(pictures: torch.Tensor) -> float:
    across, down = pictures[..., 1:] - pictures[..., :-1], pictures[..., 1:, :] - pictures[..., :-1, :]
    return float((across**2).mean() + (down**2).mean())


def test_a_fixed_camera_scores_stillness() -> None:
    clean, spoilt, asked = truth_and_spoilt([("fixed",)] * 3, seed=5)
    reward, rebuild = ReconReward(), StereoReconstructor()
    scores = []
    for kind in (clean, spoilt):
        samples = [Sample(c.video, "", t) for c, t in zip(kind, asked, strict=True)]
        scores.append(reward(samples, rebuild(torch.stack([s.video for s in samples]), asked)))
    assert float(scores[0].min()) > 0.9
    assert bool((scores[0] > scores[1] + 0.05).all())


def test_cameras_that_hide_everything_are_missing_and_little_overlap_costs(clips) -> None:
    clip, asked = clips[0][1], clips[2][1]
    sample, reward = Sample(clip.video, "", asked), ReconReward()
    exact = truth_of(clip)
    apart = exact.c2w.clone()
    angles = torch.arange(17) * (2 * torch.pi / 20)
    apart[:, 0, 0], apart[:, 0, 2] = angles.cos(), angles.sin()
    apart[:, 2, 0], apart[:, 2, 2] = -angles.sin(), angles.cos()
    lost = Reconstruction(apart, exact.intrinsics, exact.depth, exact.confidence, exact.splats)
    broken = Reconstruction(exact.c2w * torch.nan, exact.intrinsics, exact.depth, exact.confidence, exact.splats)
    scores = reward([sample] * 3, [exact, lost, broken])
    assert float(scores[0]) > 0.75
    assert bool(scores[1].isnan()) or float(scores[1]) < 0.4
    assert bool(scores[2].isnan())


def test_scores_repeat_bit_for_bit_and_do_not_depend_on_the_batch(clips, scored) -> None:
    samples = [Sample(clips[0][0].video, "", clips[2][0])]
    scenes = StereoReconstructor()(samples[0].video[None], clips[2][:1])
    alone = ReconReward()(samples, scenes)
    assert torch.equal(alone, ReconReward()(samples, scenes))
    torch.testing.assert_close(alone, scored[0][0][:1], atol=1e-5, rtol=0)


def test_reward_refuses_samples_without_scenes() -> None:
    with pytest.raises(ValueError, match="one reconstruction for each sample"):
        ReconReward()([], None)
    with pytest.raises(ValueError, match="at least 2 key frames"):
        ReconReward(keys=1)
    with pytest.raises(ValueError, match="from 0 to 1"):
        ReconReward(pixels=1.5)


def test_pixels_bring_the_redrawing_s_psnr_into_the_score(clips) -> None:
    sample, scene = Sample(clips[0][1].video, "", clips[2][1]), truth_of(clips[0][1])
    found = ReconReward().details([sample], [scene])
    factor = float((found.coverage / 0.6).clamp(max=1.0) * found.evidence)
    seen, exact = 1 - float(found.lpips), (float(found.psnr) - 10) / 30
    for share in (0.0, 0.4, 1.0):
        score = float(ReconReward(pixels=share)([sample], [scene]))
        assert score == pytest.approx(((1 - share) * seen + share * exact) * factor, abs=1e-6)
