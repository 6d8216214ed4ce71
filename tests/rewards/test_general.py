"""R_gen: what the shipped preference critic thinks of held-out scenes, and that it cannot be gamed cheaply."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from worldr1.camera import Trajectory
from worldr1.rewards.general import GeneralReward, spread_frames
from worldr1.rewards.types import Sample
from worldr1.tinyworld import prompt_of, render_clips, sample_scene
from worldr1.tinyworld.critic import Critic, new_critic
from worldr1.tinyworld.critic_scenes import edit_scene, renderable
from worldr1.tinyworld.degrade import DEGRADATIONS, degrade

CLIPS = 32
MOVES = ("push in", "pull out", "move left", "orbit right", "pan left", "pull right", "orbit left", "fixed")


def test_frames_are_spread_over_the_whole_clip() -> None:
    assert spread_frames(17, 9) == [0, 2, 4, 6, 8, 10, 12, 14, 16]
    assert spread_frames(81, 2) == [0, 80]
    assert spread_frames(3, 9) == [0, 1, 2]


class Brightness(Critic):
    """mu is the mean colour; stands for a trained network."""

    def __init__(self) -> None:
        super().__init__(2, len_vocabulary())

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        return images.mean((1, 2, 3))[:, None].expand(-1, 2)


def len_vocabulary() -> int:
    return new_critic(2).words.num_embeddings


def test_the_score_is_the_bounded_standardised_mean_over_frames() -> None:
    video = torch.linspace(0, 1, 17).view(17, 1, 1, 1).expand(17, 3, 64, 64).contiguous()
    reward = GeneralReward(Brightness(), location=0.25, scale=0.5)
    still = Trajectory.from_moves((), 17)
    values = reward([Sample(video, "a red box", still), Sample(video[:9], "a red box", still)])
    torch.testing.assert_close(values, torch.tanh(torch.tensor([0.5, 0.0])), atol=1e-5, rtol=0)
    assert reward([]).shape == (0,)


def test_bad_settings_are_told() -> None:
    with pytest.raises(ValueError, match="frames >= 1"):
        GeneralReward(Brightness(), 0.0, 1.0, frames=0)


@pytest.fixture(scope="module")
def clips() -> tuple[list[str], Tensor, Tensor, Tensor]:
    """Prompts of held-out scenes, static and dynamic; clips [B,T,3,H,W]: right, an object missing, a wrong colour."""
    rng = np.random.default_rng(78)
    scenes = [sample_scene(rng, dynamic=i % 4 == 3, split="test") for i in range(CLIPS)]
    trajectories = [Trajectory.from_moves((MOVES[i % len(MOVES)],), 17) for i in range(CLIPS)]
    prompts = [prompt_of(scene, t.moves) for scene, t in zip(scenes, trajectories, strict=True)]
    without = [renderable(edit_scene(rng, scene, "remove")) for scene in scenes]
    recolored = [edit_scene(rng, scene, "recolor") for scene in scenes]
    right, fewer, other = (
        torch.stack([clip.video for clip in render_clips(shown, trajectories)])
        for shown in (scenes, without, recolored)
    )
    return prompts, right, fewer, other


def _score(reward: GeneralReward, videos: Tensor, prompts: list[str]) -> Tensor:
    still = Trajectory.from_moves((), videos.shape[1])
    return reward([Sample(v, p, still) for v, p in zip(videos, prompts, strict=True)])


@pytest.fixture(scope="module")
def reward() -> GeneralReward:
    return GeneralReward.from_directory()


@pytest.mark.parametrize("kind", sorted(DEGRADATIONS))
@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_degraded_clips_lie_below_clean_ones(
    reward: GeneralReward, clips: tuple[list[str], Tensor, Tensor, Tensor], kind: str, strength: float
) -> None:
    """By at least 3 standard errors of the paired difference, also for what flatters (contrast, sharpening, grain)."""
    prompts, right, _, _ = clips
    generator = torch.Generator().manual_seed(0)
    bad = torch.stack([degrade(v, kind, torch.full((len(v),), strength), generator) for v in right])
    drop = (_score(reward, right, prompts) - _score(reward, bad, prompts)).double()
    assert float(drop.mean() / (drop.std() / math.sqrt(CLIPS))) > 3


@pytest.mark.parametrize(("wrong", "least"), [(2, 0.3), (3, 0.2)])
def test_a_missing_or_wrong_object_costs_much(
    reward: GeneralReward, clips: tuple[list[str], Tensor, Tensor, Tensor], wrong: int, least: float
) -> None:
    prompts, right = clips[0], clips[1]
    drop = _score(reward, right, prompts) - _score(reward, clips[wrong], prompts)  # type: ignore[arg-type]
    assert float(drop.mean()) > least
    assert float((drop > 0).float().mean()) > 0.85


def test_values_are_bounded_and_good_clips_are_above_zero(
    reward: GeneralReward, clips: tuple[list[str], Tensor, Tensor, Tensor]
) -> None:
    values = _score(reward, clips[1], clips[0])
    assert float(values.abs().max()) <= 1
    assert float(values.mean()) > 0.4
