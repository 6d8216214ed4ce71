"""The consistency score falls as a world is spoilt more, whatever the kind of spoiling."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from worldr1.camera.trajectory import Trajectory
from worldr1.evaluation.rigidity import rigidity
from worldr1.reconstruction.stereo import StereoReconstructor
from worldr1.rewards.recon import ReconReward
from worldr1.rewards.types import Sample
from worldr1.tinyworld.render import render_clips
from worldr1.tinyworld.scenes import sample_scene
from worldr1.tinyworld.spoil import CLEAN, SPOIL_KINDS, sample_spoil

STRENGTHS = (0.25, 0.5, 1.0)
MOVES = ("orbit left", "push in", "move right", "pull left", "orbit right", "pull out", "move left", "pull right")


def _scores(kind: str, scenes: int, frames: int = 9) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """S_recon, PSNR and rigidity, each [scenes, 1 + strengths], of the same scenes, spoilt in the same direction but
    ever more."""
    rng = np.random.default_rng(5)
    reconstruct, reward = StereoReconstructor(), ReconReward()
    recon, psnr, rigid = [], [], []
    for move in MOVES[:scenes]:
        asked, scene, seed = Trajectory.from_moves((move,), frames), sample_scene(rng, split="all"), rng.integers(2**30)
        spoils = [sample_spoil(np.random.default_rng(seed), kind, strength=strength) for strength in STRENGTHS]
        count = 1 + len(spoils)
        videos = [clip.video for clip in render_clips([scene] * count, [asked] * count, [CLEAN, *spoils])]
        built = reconstruct(torch.stack(videos))
        samples = [Sample(video, "", asked) for video in videos]
        recon.append(reward(samples, built))
        psnr.append(reward.details(samples, built).psnr)
        focal = float(asked.intrinsics(*videos[0].shape[2:])[0, 0])
        rigid.append(torch.tensor([rigidity(video, focal) for video in videos]))
    return torch.stack(recon), torch.stack(psnr), torch.stack(rigid)


def _falls(values: torch.Tensor) -> float:
    """Share of neighbouring strengths at which a scene's value falls."""
    return float((values.diff(dim=1) < 0).float().mean())


def test_a_bent_world_scores_less_the_more_it_bends() -> None:
    recon, psnr, rigid = _scores("bend", scenes=3)
    assert bool((recon.mean(0).diff() < 0).all())
    assert _falls(psnr) == 1.0
    assert _falls(rigid) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in SPOIL_KINDS if kind != "parallax"])
def test_scores_fall_with_the_strength_of_spoiling(kind: str) -> None:
    recon, psnr, rigid = _scores(kind, scenes=len(MOVES))
    for mean in (recon.mean(0), psnr.mean(0), rigid.mean(0)):
        assert bool((mean.diff() < 0).all()), mean
    assert _falls(recon) >= 0.85
    assert _falls(psnr) >= 0.9
    assert _falls(rigid) >= 0.9


@pytest.mark.slow
def test_inverted_parallax_scores_less_at_any_strength() -> None:
    """Its strength is that of the swimming textures that come with it; the inversion itself is there or not."""
    recon, psnr, rigid = _scores("parallax", scenes=len(MOVES))
    assert bool((recon.mean(0)[1:] < recon.mean(0)[0]).all())
    assert bool((psnr.mean(0).diff() < 0).all())
    assert bool((psnr[:, 1:] < psnr[:, :1]).all())
    assert bool((rigid[:, 1:] < rigid[:, :1]).all())
