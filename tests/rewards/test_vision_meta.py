"""S_meta with a judge: the views of MetaReward, one digit each, nan where there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from worldr1.camera import Trajectory
from worldr1.reconstruction.types import Reconstruction
from worldr1.rewards.meta import meta_views
from worldr1.rewards.types import Sample
from worldr1.rewards.vision_meta import VisionMetaReward
from worldr1.splats.gaussians import Gaussians

FRAMES, SIDE = 5, 32


def _scene(count: int, trajectory: Trajectory, colour: float = 0.5) -> Reconstruction:
    splats = Gaussians(
        means=torch.randn(count, 3) * 0.2 + torch.tensor([0.0, 0.0, 1.0]),
        scales=torch.full((count, 3), 0.1),
        quats=torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1),
        opacities=torch.full((count,), 0.8),
        colors=torch.full((count, 3), colour),
        source=torch.zeros(count, dtype=torch.long),
    )
    depth = torch.ones(FRAMES, SIDE, SIDE)
    return Reconstruction(trajectory.c2w, trajectory.intrinsics(SIDE, SIDE), depth, depth, splats)


def _sample(prompt: str, trajectory: Trajectory) -> Sample:
    return Sample(torch.zeros(FRAMES, 3, SIDE, SIDE), prompt, trajectory)


class _Recorder:
    """Answers with 9 times the picture's mean and keeps what it was shown."""

    def __init__(self) -> None:
        self.images = torch.empty(0)
        self.prompts: list[str] = []
        self.trajectories: list[Trajectory] = []

    def __call__(self, images: Tensor, prompts: Sequence[str], trajectories: Sequence[Trajectory]) -> Tensor:
        self.images, self.prompts, self.trajectories = images, list(prompts), list(trajectories)
        digits = 9 * images.mean((1, 2, 3))
        return torch.where(torch.tensor(["fail" in prompt for prompt in prompts]), torch.nan, digits)


def test_each_score_is_a_tenth_of_its_own_digit() -> None:
    left, right = (Trajectory.from_moves((f"orbit {side}",), FRAMES) for side in ("left", "right"))
    scenes = [_scene(40, left, 0.9), _scene(0, left), _scene(40, right, 0.3), _scene(40, right)]
    samples = [_sample("a", left), _sample("empty", left), _sample("b", right), _sample("fail", right)]
    judge = _Recorder()
    scores = VisionMetaReward(judge)(samples, scenes)
    shown = [0, 2, 3]
    views = meta_views([samples[i].trajectory for i in shown], [scenes[i] for i in shown], SIDE, SIDE)
    torch.testing.assert_close(judge.images, views)
    assert judge.prompts == ["a", "b", "fail"]
    assert [t is samples[i].trajectory for t, i in zip(judge.trajectories, shown, strict=True)] == [True] * 3
    expected = 0.9 * views.mean((1, 2, 3))
    torch.testing.assert_close(scores[[0, 2]], expected[:2])
    assert float(expected[0]) > float(expected[1]) > 0
    assert math.isnan(scores[1])
    assert math.isnan(scores[3])


def test_its_place_in_the_reward() -> None:
    reward = VisionMetaReward(_Recorder())
    assert (reward.name, reward.needs_reconstruction) == ("meta", True)
    assert reward([], []).shape == (0,)
    with pytest.raises(ValueError, match="one reconstruction for each sample; it got none for 1"):
        reward([_sample("a", Trajectory.from_moves((), FRAMES))])


def test_a_judge_that_loses_an_answer_is_refused() -> None:
    trajectory = Trajectory.from_moves((), FRAMES)
    reward = VisionMetaReward(lambda images, prompts, trajectories: torch.zeros(0))
    with pytest.raises(ValueError, match=r"\[0\] digits for 1 pictures"):
        reward([_sample("a", trajectory)], [_scene(3, trajectory)])
