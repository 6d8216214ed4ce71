from collections.abc import Sequence

import pytest
import torch

from worldr1.camera.trajectory import Trajectory
from worldr1.rewards.compose import RewardComposer
from worldr1.rewards.types import Sample


class Brightness:
    """Mean of a video, times `factor`; `wants` says whether it asks for scenes, of which it checks the order."""

    def __init__(self, name: str, factor: float = 1.0, wants: bool = False) -> None:
        self.name, self.factor, self.needs_reconstruction = name, factor, wants

    def __call__(self, samples: Sequence[Sample], reconstructions=None) -> torch.Tensor:
        assert (reconstructions is not None) == self.needs_reconstruction
        means = torch.stack([s.video.mean() for s in samples]) * self.factor
        if reconstructions is not None:
            assert torch.allclose(torch.tensor(reconstructions), means / self.factor)
        return means


class Reconstructor:
    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, videos, trajectories=None):
        self.batches.append(len(videos))
        assert len(trajectories) == len(videos)
        return [float(v.mean()) for v in videos]


def sample(value: float, frames: int = 5) -> Sample:
    return Sample(torch.full((frames, 3, 8, 8), value), "", Trajectory.from_moves((), frames))


def test_total_is_the_weighted_sum_and_scenes_are_built_once() -> None:
    rebuild = Reconstructor()
    rewards = {
        "recon": Brightness("recon", 2.0, True),
        "traj": Brightness("traj", 1.0, True),
        "general": Brightness("g"),
    }
    compose = RewardComposer(rewards, {"recon": 1.0, "traj": 0.5, "general": 3.0}, rebuild)
    scores = compose([sample(0.25), sample(0.5)])
    assert torch.allclose(scores.total, torch.tensor([0.25, 0.5]) * (2.0 + 0.5 + 3.0))
    assert rebuild.batches == [2]
    assert list(scores.components) == ["recon", "traj", "general"]


def test_dynamic_phase_uses_only_what_needs_no_scene() -> None:
    rebuild = Reconstructor()
    rewards = {"recon": Brightness("recon", 2.0, True), "general": Brightness("general")}
    scores = RewardComposer(rewards, {"recon": 1.0, "general": 1.0}, rebuild)([sample(0.5)], use_3d=False)
    assert list(scores.components) == ["general"]
    assert torch.equal(scores.total, torch.tensor([0.5]))
    assert rebuild.batches == []


def test_a_broken_video_is_missing_and_spoils_no_other() -> None:
    rewards = {"recon": Brightness("recon", 1.0, True), "general": Brightness("general")}
    compose = RewardComposer(rewards, {"recon": 1.0, "general": 1.0}, Reconstructor())
    scores = compose([sample(0.25), sample(float("nan")), sample(0.75)])
    assert scores.total.isnan().tolist() == [False, True, False]
    assert torch.equal(scores.total[[0, 2]], torch.tensor([0.5, 1.5]))
    everything = compose([sample(float("inf"))])
    assert bool(everything.total.isnan().all())


def test_one_missing_component_makes_the_total_missing() -> None:
    class Absent(Brightness):
        def __call__(self, samples, reconstructions=None):
            return torch.tensor([float("nan"), 1.0])

    compose = RewardComposer({"a": Absent("a"), "b": Brightness("b")}, {"a": 0.0, "b": 1.0})
    scores = compose([sample(0.5), sample(0.5)])
    assert scores.total.isnan().tolist() == [True, False]
    assert torch.equal(scores.components["b"], torch.tensor([0.5, 0.5]))


def test_videos_of_different_lengths_are_rebuilt_apart_and_returned_in_order() -> None:
    rebuild = Reconstructor()
    compose = RewardComposer({"recon": Brightness("recon", 1.0, True)}, {"recon": 1.0}, rebuild)
    scores = compose([sample(0.1), sample(0.2, 9), sample(0.3)])
    assert torch.allclose(scores.total, torch.tensor([0.1, 0.2, 0.3]))
    assert sorted(rebuild.batches) == [1, 2]


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="at least one reward"):
        RewardComposer({}, {})
    with pytest.raises(ValueError, match="a weight for each reward"):
        RewardComposer({"a": Brightness("a")}, {"b": 1.0})
    with pytest.raises(ValueError, match="finite weights"):
        RewardComposer({"a": Brightness("a")}, {"a": float("nan")})
    with pytest.raises(ValueError, match="needs a reconstructor for a"):
        RewardComposer({"a": Brightness("a", 1.0, True)}, {"a": 1.0})
    alone = RewardComposer({"a": Brightness("a", 1.0, True)}, {"a": 1.0}, Reconstructor())
    with pytest.raises(ValueError, match="leaves no reward"):
        alone([sample(0.5)], use_3d=False)

    class Wrong(Brightness):
        def __call__(self, samples, reconstructions=None):
            return torch.zeros(3)

    with pytest.raises(ValueError, match=r"returned \[3\] scores for 1 samples"):
        RewardComposer({"w": Wrong("w")}, {"w": 1.0})([sample(0.5)])


def test_scenes_are_built_and_stay_where_the_composer_says_and_videos_do_not() -> None:
    """The meta device stands for a GPU: stubs tell where their inputs are."""
    seen: dict[str, list[str]] = {"videos": [], "scenes": [], "samples": []}

    def rebuild(videos, trajectories=None):
        seen["videos"] += [str(videos.device)]
        return list(videos[:, 0])

    class Looking:
        name, needs_reconstruction = "meta", True

        def __call__(self, samples, reconstructions=None):
            seen["scenes"] += [str(scene.device) for scene in reconstructions]
            seen["samples"] += [str(one.video.device) for one in samples]
            return torch.ones(len(samples))

    for device in ("meta", "cpu"):
        RewardComposer({"meta": Looking()}, {"meta": 1.0}, rebuild, device)([sample(0.25), sample(0.5)])
    assert seen["videos"] == ["meta", "cpu"]
    assert seen["scenes"] == ["meta", "meta", "cpu", "cpu"]
    assert seen["samples"] == ["cpu"] * 4


def test_a_video_with_any_value_that_is_not_finite_is_left_out() -> None:
    compose = RewardComposer({"general": Brightness("general")}, {"general": 1.0})
    spoilt = [sample(0.5) for _ in range(4)]
    for one, value in zip(spoilt[1:], (torch.nan, torch.inf, -torch.inf), strict=True):
        one.video[2, 1, 3, 4] = value
    assert compose(spoilt).total.isfinite().tolist() == [True, False, False, False]
