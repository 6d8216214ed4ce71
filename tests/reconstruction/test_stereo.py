import math

import numpy as np
import pytest
import torch

from tiny_clips import truth_and_spoilt
from worldr1.camera.metrics import rotation_geodesic
from worldr1.camera.trajectory import Trajectory
from worldr1.reconstruction.stereo import StereoReconstructor
from worldr1.rewards.traj import trajectory_score

MOVES = [
    ("push in",),
    ("pull out", "move right"),
    ("move left",),
    ("orbit left",),
    ("pan right",),
    ("pull left",),
    ("move right", "push in"),
    ("orbit right", "pull out"),
]


@pytest.fixture(scope="module")
def truth():
    return truth_and_spoilt(MOVES, seed=11)


@pytest.fixture(scope="module")
def found(truth):
    clean, _, asked = truth
    return StereoReconstructor()(torch.stack([c.video for c in clean]), asked)


def degrees(estimated: torch.Tensor, wanted: torch.Tensor) -> float:
    return math.degrees(float(rotation_geodesic(estimated[:, :3, :3], wanted[:, :3, :3]).mean()))


def translation_error(estimated: torch.Tensor, wanted: torch.Tensor) -> float:
    """Mean distance over the mean distance asked for, at the best unit."""
    a, b = estimated[:, :3, 3], wanted[:, :3, 3]
    scale = float((a * b).sum() / a.square().sum())
    return float((scale * a - b).norm(dim=1).mean() / b.norm(dim=1).mean())


def test_cameras_of_consistent_clips_are_found(truth, found) -> None:
    clean, _, _ = truth
    angles = [degrees(f.c2w, c.c2w) for f, c in zip(found, clean, strict=True)]
    errors = [
        translation_error(f.c2w, c.c2w)
        for f, c in zip(found, clean, strict=True)
        if float(c.c2w[:, :3, 3].norm()) > 0.1
    ]
    assert np.mean(angles) < 1.5
    assert max(angles) < 5.0
    assert np.mean(errors) < 0.10


def test_the_unit_of_length_is_the_scene_depth(truth, found) -> None:
    clean, _, _ = truth
    for f, c in zip(found, clean, strict=True):
        if float(c.c2w[:, :3, 3].norm()) > 0.1:
            ratio = float(f.c2w[:, :3, 3].norm() / c.c2w[:, :3, 3].norm())
            assert 0.6 < ratio < 1.5


def test_depth_agrees_with_ground_truth_and_confidence_says_where(truth, found) -> None:
    """Median error of inverse depth, of which a clip spans 0.08 to 1.7, over the clips whose camera shows depth."""
    clean, _, _ = truth
    errors, sure_errors, unsure_errors = [], [], []
    for i in (0, 1, 2, 5, 6, 7):
        keys = [0, 8, 16]
        inverse, wanted, confidence = 1.0 / found[i].depth[keys], 1.0 / clean[i].depth[keys], found[i].confidence[keys]
        error = (float((inverse * wanted).sum() / inverse.square().sum()) * inverse - wanted).abs()
        errors.append(float(error.median()))
        sure_errors.append(float(error[confidence > confidence.quantile(0.7)].median()))
        unsure_errors.append(float(error[confidence < confidence.quantile(0.3)].median()))
    assert np.mean(errors) < 0.10
    assert np.mean(sure_errors) < 0.9 * np.mean(unsure_errors)


def test_what_is_returned_has_the_promised_form(truth, found) -> None:
    clean, _, _ = truth
    for f, c in zip(found, clean, strict=True):
        assert torch.equal(f.c2w[0], torch.eye(4))
        assert f.depth.shape == f.confidence.shape == c.depth.shape
        assert bool(torch.isfinite(f.depth).all())
        assert float(f.depth.min()) > 0
        assert float(f.confidence.min()) >= 0.0
        assert float(f.confidence.max()) <= 1.0
        assert torch.equal(f.intrinsics, c.intrinsics)
        assert set(f.splats.source.tolist()) == {0, 8, 16}
        rotation = f.c2w[:, :3, :3]
        assert torch.allclose(rotation @ rotation.mT, torch.eye(3).expand_as(rotation), atol=1e-5)


def test_the_answer_is_the_video_s_and_not_the_prompt_s(truth) -> None:
    clean, _, _ = truth
    videos = torch.stack([clean[0].video, clean[2].video, clean[3].video])
    asked = [Trajectory.from_moves([m], 17) for m in ("pull out", "move right", "orbit right")]
    for f, c, wrong in zip(StereoReconstructor()(videos, asked), (clean[0], clean[2], clean[3]), asked, strict=True):
        right = Trajectory(c.c2w)
        assert trajectory_score(f.c2w, right) > 0.6
        assert trajectory_score(f.c2w, wrong) < 0.15


def test_a_frozen_or_empty_video_stands_still_whatever_is_asked(truth) -> None:
    clean, _, asked = truth
    frozen = clean[0].video[:1].expand(17, 3, 64, 64)
    noise = 0.004 * torch.randn(17, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    videos = torch.stack([frozen, (frozen + noise).clamp(0, 1), torch.full_like(frozen, 0.4)])
    for f in StereoReconstructor()(videos, [asked[0]] * 3):
        assert torch.equal(f.c2w, torch.eye(4).expand(17, 4, 4))
        assert float(f.confidence.max()) == 0.0


def test_two_runs_agree_bit_for_bit(truth, found) -> None:
    clean, _, asked = truth
    again = StereoReconstructor()(clean[3].video[None], asked[3:4])[0]
    assert torch.equal(again.c2w, found[3].c2w)
    assert torch.equal(again.depth, found[3].depth)


def test_other_sizes_and_lengths_work_without_a_trajectory() -> None:
    clean, _, _ = truth_and_spoilt([("move right",)], seed=4, frames=9, height=90, width=122)
    f = StereoReconstructor()(clean[0].video[None])[0]
    assert f.depth.shape == (9, 90, 122)
    assert trajectory_score(f.c2w, Trajectory(clean[0].c2w)) > 0.6
    short = StereoReconstructor()(clean[0].video[None, :2])[0]
    assert short.c2w.shape == (2, 4, 4)
    single = StereoReconstructor()(clean[0].video[None, :1])[0]
    assert torch.equal(single.c2w, torch.eye(4)[None])


def test_bad_input_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"\[B,T,3,H,W\]"):
        StereoReconstructor()(torch.zeros(17, 3, 64, 64))
    with pytest.raises(ValueError, match="not finite"):
        StereoReconstructor()(torch.full((1, 5, 3, 64, 64), torch.nan))
    with pytest.raises(ValueError, match="one trajectory of 5 frames"):
        StereoReconstructor()(torch.zeros(1, 5, 3, 64, 64), [Trajectory.from_moves((), 4)])
