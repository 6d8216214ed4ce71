import math
from dataclasses import replace

import pytest
import torch

from worldr1.camera.language import MOVES
from worldr1.camera.trajectory import Trajectory
from worldr1.reconstruction.types import Reconstruction
from worldr1.rewards.calibrate import reverse
from worldr1.rewards.traj import TrajReward, trajectory_score
from worldr1.rewards.types import Sample
from worldr1.splats.gaussians import Gaussians

MOVING = [m for m in MOVES if m != "fixed"]
STILL = torch.eye(4).expand(17, 4, 4)


def scaled(trajectory: Trajectory, factor: float) -> torch.Tensor:
    c2w = trajectory.c2w.clone()
    c2w[:, :3, 3] *= factor
    return c2w


@pytest.mark.parametrize("move", MOVES)
def test_the_camera_asked_for_scores_one(move: str) -> None:
    asked = Trajectory.from_moves([move], 17)
    assert trajectory_score(asked.c2w, asked) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("move", MOVING)
def test_a_camera_that_stands_still_or_goes_back_loses(move: str) -> None:
    asked = Trajectory.from_moves([move], 17)
    assert trajectory_score(STILL, asked) < 0.27
    assert trajectory_score(Trajectory.from_moves([reverse(move)], 17).c2w, asked) < (0.2 if "pull" in move else 0.08)


def test_standing_still_costs_what_the_formula_says() -> None:
    asked = Trajectory.from_moves(["move left"], 17)
    assert trajectory_score(STILL, asked) == pytest.approx(math.exp(-1.5 * 0.95))
    pan = Trajectory.from_moves(["pan left"], 17)
    assert trajectory_score(STILL, pan) == pytest.approx(math.exp(-1.5 * (12.5 - 0.75) / 12.5), rel=1e-4)


def test_a_trembling_still_video_gains_nothing_by_trembling_the_right_way() -> None:
    asked = Trajectory.from_moves(["move left"], 17)
    assert trajectory_score(scaled(asked, 0.05), asked) < 0.3
    assert trajectory_score(scaled(asked, 0.3), asked) < 0.5


def test_the_unit_is_free_within_a_quarter_and_no_further() -> None:
    asked = Trajectory.from_moves(["push in"], 17)
    assert trajectory_score(scaled(asked, 0.81), asked) == pytest.approx(1.0)
    assert trajectory_score(scaled(asked, 1.24), asked) == pytest.approx(1.0)
    assert trajectory_score(scaled(asked, 2.0), asked) == pytest.approx(math.exp(-1.5 * 0.55), rel=1e-3)


def test_score_falls_with_the_angle() -> None:
    asked = Trajectory.from_moves(["pan left"], 17)
    scores = []
    for share in (1.0, 0.8, 0.6, 0.4, 0.2):
        c2w = Trajectory.from_moves(["pan left"], 81).c2w[: int(80 * share) + 1]
        index = torch.linspace(0, len(c2w) - 1, 17).round().long()
        scores.append(trajectory_score(c2w[index], asked))
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(1.0, abs=1e-4)


def reconstruction(c2w: torch.Tensor, metres: float | None = None) -> Reconstruction:
    nothing = torch.zeros(0, 3)
    splats = Gaussians(nothing, nothing, torch.zeros(0, 4), torch.zeros(0), nothing)
    return Reconstruction(c2w, torch.eye(3), torch.ones(17, 8, 8), torch.ones(17, 8, 8), splats, metres)


def test_reward_marks_broken_cameras_as_missing_and_keeps_the_order() -> None:
    asked = [Trajectory.from_moves([m], 17) for m in ("push in", "pan left", "move left")]
    samples = [Sample(torch.zeros(17, 3, 8, 8), "", t) for t in asked]
    broken = asked[1].c2w.clone()
    broken[3, 0, 3] = torch.nan
    scores = TrajReward()(samples, [reconstruction(asked[0].c2w), reconstruction(broken), reconstruction(STILL)])
    assert scores[0] == pytest.approx(1.0, abs=1e-5)
    assert bool(scores[1].isnan())
    assert 0.1 < float(scores[2]) < 0.3


@pytest.mark.parametrize("segments", [2, 4, 16])
@pytest.mark.parametrize("moves", [("push in",), ("orbit left", "pan right"), ("fixed",)])
def test_the_camera_asked_for_scores_one_in_every_part(segments: int, moves: tuple[str, ...]) -> None:
    asked = Trajectory.from_moves(moves, 17)
    assert trajectory_score(asked.c2w, asked, segments) == pytest.approx(1.0, abs=1e-6)


def test_a_camera_that_stops_halfway_loses_the_second_half_only() -> None:
    """The first parts score 1; in each of the others a camera at rest has e_t = 1, with every length at its share."""
    asked = Trajectory.from_moves(["move left"], 17)
    stopped = asked.c2w.clone()
    stopped[8:] = asked.c2w[8]
    resting = math.exp(-1.5 * 0.95)
    for segments in (2, 4):
        score = trajectory_score(stopped, asked, segments, scale=1.0)
        assert score == pytest.approx((1 + resting) / 2, rel=1e-4)
    whole = sum(max(0, k - 8) for k in range(17)) / sum(range(17))
    assert trajectory_score(stopped, asked, scale=1.0) == pytest.approx(math.exp(-1.5 * (whole - 0.05)), rel=1e-4)


def test_one_wrong_turn_costs_its_part_and_not_what_follows() -> None:
    asked = Trajectory.from_moves(["push in"], 17)
    angle = math.radians(20)
    turn = torch.eye(4)
    turn[0, 0], turn[0, 2], turn[2, 0], turn[2, 2] = math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle)
    turned = asked.c2w.clone()
    turned[9:] = turned[8] @ turn @ torch.linalg.inv(turned[8]) @ turned[9:]
    dense = trajectory_score(turned, asked, 8, scale=1.0)
    # the part of frames 8 to 10 sees the turn in two of three frames; seven of eight parts are as asked
    assert 7 / 8 <= dense < 7 / 8 + 0.02
    assert trajectory_score(turned, asked, scale=1.0) < 0.3


def test_metres_are_asked_for_without_freedom_of_the_unit() -> None:
    """2.5 m a unit were asked; a unit of the estimate is 2 m long, so that 1.25 of its units make one asked."""
    asked = Trajectory.from_moves(["push in"], 17)
    sample = Sample(torch.zeros(17, 3, 8, 8), "", asked)
    reward = TrajReward(metres=2.5)
    exact = reconstruction(scaled(asked, 1.25), metres=2.0)
    short = reconstruction(scaled(asked, 1.0), metres=2.0)
    broken = reconstruction(asked.c2w * torch.nan)
    scores = reward([sample] * 3, [exact, short, broken])
    assert scores[0] == pytest.approx(1.0, abs=1e-5)
    assert scores[1] == pytest.approx(math.exp(-1.5 * (0.2 - 0.05)), rel=1e-4)
    assert bool(scores[2].isnan())
    assert TrajReward()([sample], [short])[0] == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(ValueError, match="DA3NESTED"):
        reward([sample], [reconstruction(asked.c2w)])


def test_reward_refuses_what_does_not_fit() -> None:
    asked = Trajectory.from_moves(["push in"], 17)
    sample = Sample(torch.zeros(17, 3, 8, 8), "", asked)
    with pytest.raises(ValueError, match="one reconstruction for each sample"):
        TrajReward()([sample], None)
    with pytest.raises(ValueError, match=r"must be \[T,4,4\]"):
        trajectory_score(STILL[:5], asked)
    with pytest.raises(ValueError, match="17 segments were asked of 17 frames"):
        trajectory_score(STILL, asked, 17)
    with pytest.raises(ValueError, match="at least 1"):
        TrajReward(segments=0)
    with pytest.raises(ValueError, match="must be positive"):
        TrajReward(metres=0.0)


def turned(degrees: float) -> torch.Tensor:
    """A rotation about the vertical axis as [3,3]."""
    angle = math.radians(degrees)
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def test_the_paper_s_form_by_hand() -> None:
    """Three frames asked 0, 0.1 and 0.2 forward; found 0.3 and 0.4 to the side, turned by 20 and 40 degrees: L2 has
    mean (0 + sqrt(0.1) + sqrt(0.2)) / 3 = 0.254480, the angles (0 + 20 + 40) / 3 degrees = 0.349066 rad."""
    asked = Trajectory(torch.eye(4).repeat(3, 1, 1))
    asked.c2w[:, 2, 3] = torch.tensor([0.0, 0.1, 0.2])
    found = torch.eye(4).repeat(3, 1, 1)
    found[:, 0, 3] = torch.tensor([0.0, 0.3, 0.4])
    found[1, :3, :3], found[2, :3, :3] = turned(20), turned(40)
    expected = (math.exp(-0.254480) + math.exp(-0.349066)) / 2
    assert expected == pytest.approx(0.740333, abs=1e-6)
    assert trajectory_score(found, asked, form="absolute") == pytest.approx(expected, abs=1e-5)
    (score,) = TrajReward(form="absolute")([sample_of(asked)], [scene_of(found)])
    assert score == pytest.approx(expected, abs=1e-5)


def sample_of(asked: Trajectory) -> Sample:
    return Sample(torch.zeros(asked.frames, 3, 8, 8), "", asked)


def scene_of(c2w: torch.Tensor, metres: float | None = None) -> Reconstruction:
    return replace(reconstruction(c2w, metres), depth=torch.ones(len(c2w), 8, 8), confidence=torch.ones(len(c2w), 8, 8))


@pytest.mark.parametrize("move", MOVES)
def test_the_paper_s_form_asks_for_absolute_poses(move: str) -> None:
    """A camera at rest keeps what its mean offset and angle leave, however much was asked; no unit is fitted."""
    asked = Trajectory.from_moves([move], 17)
    assert trajectory_score(asked.c2w, asked, form="absolute") == pytest.approx(1.0, abs=1e-6)
    offset = float(asked.c2w[:, :3, 3].norm(dim=1).mean())
    traces = torch.diagonal(asked.c2w[:, :3, :3].double(), dim1=1, dim2=2).sum(1)
    angle = float(torch.acos(((traces - 1) / 2).clamp(-1, 1)).mean())
    resting = (math.exp(-offset) + math.exp(-angle)) / 2
    assert trajectory_score(STILL, asked, form="absolute") == pytest.approx(resting, abs=1e-4)
    longer = trajectory_score(scaled(asked, 1.2), asked, form="absolute")
    assert longer == pytest.approx((math.exp(-0.2 * offset) + 1) / 2, abs=1e-4)


def test_the_paper_s_form_works_in_parts_and_in_metres() -> None:
    asked = Trajectory.from_moves(["move left"], 17)
    stopped = asked.c2w.clone()
    stopped[8:] = asked.c2w[8]
    rest = sum(0.35 * k / 16 for k in range(9)) / 9
    halves = trajectory_score(stopped, asked, 2, form="absolute")
    assert halves == pytest.approx((1 + (math.exp(-rest) + 1) / 2) / 2, abs=1e-5)
    (score,) = TrajReward(metres=2.5, form="absolute")([sample_of(asked)], [scene_of(scaled(asked, 1.25), metres=2.0)])
    assert score == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(ValueError, match="form is 'paper'; it must be one of relative, absolute"):
        TrajReward(form="paper")  # type: ignore[arg-type]
