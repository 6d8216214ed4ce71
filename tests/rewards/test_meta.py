"""S_meta: where it looks from, and what its shipped critic thinks of held-out scenes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from worldr1.camera import Trajectory
from worldr1.reconstruction.stereo import StereoReconstructor
from worldr1.reconstruction.types import Reconstruction
from worldr1.rewards.meta import MetaReward, expected_digit, meta_view_pose, meta_views
from worldr1.rewards.types import Sample
from worldr1.splats.gaussians import from_depth
from worldr1.tinyworld import SPOIL_KINDS, prompt_of, render_clips, sample_scene, sample_spoil
from worldr1.tinyworld.critic_scenes import edit_scene, renderable

CLIPS = 32
MOVES = ("push in", "pull out", "move left", "move right", "orbit left", "orbit right", "pull left", "pull right")


@pytest.mark.parametrize("moves", [("orbit left",), ("orbit right",), ("move left", "push in"), ("pan right",), ()])
def test_the_view_is_off_the_trajectory_and_looks_at_the_scene(moves: tuple[str, ...]) -> None:
    trajectory = Trajectory.from_moves(moves, 17)
    pose = meta_view_pose(trajectory).double()
    rotation, eye = pose[:3, :3], pose[:3, 3]
    torch.testing.assert_close(rotation.T @ rotation, torch.eye(3, dtype=torch.float64), atol=1e-6, rtol=0)
    assert float(torch.linalg.det(rotation)) == pytest.approx(1.0, abs=1e-6)
    assert float((trajectory.c2w[:, :3, 3].double() - eye).norm(dim=1).min()) > 0.15
    assert float(eye[1]) < -0.1, "the camera must be raised (y points down)"
    assert float(rotation[1, 0]) == pytest.approx(0.0, abs=1e-6), "no roll"
    centre = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64) - eye
    seen = rotation.T @ centre
    assert float(seen[2]) > 0.3
    assert abs(math.degrees(math.atan2(float(seen[0]), float(seen[2])))) < 20


def test_the_view_stands_on_the_side_that_the_camera_did_not_visit() -> None:
    left, right = (meta_view_pose(Trajectory.from_moves((f"orbit {side}",), 17)) for side in ("left", "right"))
    assert float(left[0, 3]) > 0.1
    assert float(right[0, 3]) < -0.1
    torch.testing.assert_close(left[0, 3], -right[0, 3], atol=1e-4, rtol=0)


def test_a_rebuilt_scene_is_drawn_from_there() -> None:
    """With true depth, what the view shows is what the renderer draws from the same pose, but for holes."""
    scene = sample_scene(np.random.default_rng(5))
    trajectory = Trajectory.from_moves(("orbit left",), 17)
    clip = render_clips([scene], [trajectory])[0]
    splats = from_depth(clip.video, clip.depth, clip.c2w, clip.intrinsics)
    rebuilt = Reconstruction(clip.c2w, clip.intrinsics, clip.depth, torch.ones_like(clip.depth), splats)
    view = meta_views([trajectory], [rebuilt], 64, 64)[0]
    pose = meta_view_pose(trajectory)
    both = Trajectory(torch.stack([torch.eye(4), pose]))
    truth = render_clips([scene], [both])[0].video[1]
    shown = view.sum(0) > 0.05
    assert float(shown.float().mean()) > 0.7
    assert float((view - truth).abs().mean(0)[shown].median()) < 0.06


def test_the_expected_digit() -> None:
    logits = torch.full((2, 10), -50.0)
    logits[0, 7] = 50.0
    logits[1, 2] = logits[1, 4] = 50.0
    torch.testing.assert_close(expected_digit(logits), torch.tensor([7.0, 3.0]))


def _samples(videos: list[Tensor], prompts: list[str], trajectories: list[Trajectory]) -> list[Sample]:
    return [Sample(v, p, t) for v, p, t in zip(videos, prompts, trajectories, strict=True)]


@pytest.fixture(scope="module")
def scores() -> dict[str, Tensor]:
    """S_meta of held-out scenes, one clip per scene and kind."""
    rng = np.random.default_rng(77)
    scenes = [sample_scene(rng, split="test") for _ in range(CLIPS)]
    trajectories = [Trajectory.from_moves((MOVES[i % len(MOVES)],), 17) for i in range(CLIPS)]
    prompts = [prompt_of(scene, t.moves) for scene, t in zip(scenes, trajectories, strict=True)]
    spoils = [sample_spoil(rng, SPOIL_KINDS[i % len(SPOIL_KINDS)]) for i in range(CLIPS)]
    without = [renderable(edit_scene(rng, scene, "remove")) for scene in scenes]
    recolored = [edit_scene(rng, scene, "recolor") for scene in scenes]
    clean = [clip.video for clip in render_clips(scenes, trajectories)]
    videos = {
        "clean": clean,
        "spoilt": [clip.video for clip in render_clips(scenes, trajectories, spoils)],
        "removed": [clip.video for clip in render_clips(without, trajectories)],
        "recolored": [clip.video for clip in render_clips(recolored, trajectories)],
        "frozen": [video[:1].expand_as(video) for video in clean],
        "textureless": [0.97 * video.mean((2, 3), keepdim=True) + 0.03 * video for video in clean],
    }
    reconstruct, reward = StereoReconstructor(), MetaReward.from_directory()
    found = {}
    for kind, clips in videos.items():
        samples = _samples([v.contiguous() for v in clips], prompts, trajectories)
        scenes_3d = reconstruct(torch.stack([s.video for s in samples]), trajectories)
        found[kind] = reward(samples, scenes_3d)
        if kind == "clean":
            others = [prompt_of(edit_scene(rng, scene, "everything"), ()) for scene in scenes]
            found["other caption"] = reward(_samples(clips, others, trajectories), scenes_3d)
    return found


@pytest.mark.parametrize("kind", ["spoilt", "removed", "recolored", "frozen", "textureless", "other caption"])
def test_bad_clips_of_held_out_scenes_lie_below_good_ones(scores: dict[str, Tensor], kind: str) -> None:
    """By at least 3 standard errors of the paired difference; a one-sided test at 0.2%."""
    drop = (scores["clean"] - scores[kind]).double()
    assert drop.isfinite().all()
    assert float(drop.mean() / (drop.std() / math.sqrt(CLIPS))) > 3


def test_scores_have_the_paper_range_and_removing_an_object_costs_much(scores: dict[str, Tensor]) -> None:
    for values in scores.values():
        assert float(values.min()) >= 0
        assert float(values.max()) <= 0.9
    assert float((scores["clean"] - scores["removed"]).mean()) > 0.15
    assert float((scores["clean"] > scores["removed"]).float().mean()) > 0.8


def test_an_empty_scene_is_missing_and_spoils_no_other() -> None:
    trajectory = Trajectory.from_moves(("orbit left",), 17)
    clip = render_clips([sample_scene(np.random.default_rng(1))], [trajectory])[0]
    splats = from_depth(clip.video[:3], clip.depth[:3], clip.c2w[:3], clip.intrinsics)
    whole = Reconstruction(clip.c2w, clip.intrinsics, clip.depth, torch.ones_like(clip.depth), splats)
    empty = replace(whole, splats=splats[:0])
    sample = Sample(clip.video, clip.prompt, trajectory)
    reward = MetaReward.from_directory()
    values = reward([sample, sample], [empty, whole])
    assert values.isnan().tolist() == [True, False]
    torch.testing.assert_close(values[1:], reward([sample], [whole]), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="one reconstruction for each sample"):
        reward([sample], None)


def test_the_size_of_other_videos_in_the_batch_changes_no_score() -> None:
    scene, trajectory = sample_scene(np.random.default_rng(1)), Trajectory.from_moves(("orbit left",), 17)
    samples, rebuilt = [], []
    for height, width in ((64, 64), (48, 96)):
        clip = render_clips([scene], [trajectory], height=height, width=width)[0]
        splats = from_depth(clip.video[:3], clip.depth[:3], clip.c2w[:3], clip.intrinsics)
        samples.append(Sample(clip.video, clip.prompt, trajectory))
        rebuilt.append(Reconstruction(clip.c2w, clip.intrinsics, clip.depth, torch.ones_like(clip.depth), splats))
    reward = MetaReward.from_directory()
    alone = torch.cat([reward([sample], [one]) for sample, one in zip(samples, rebuilt, strict=True)])
    assert float((alone[0] - alone[1]).abs()) > 1e-3
    torch.testing.assert_close(reward(samples, rebuilt), alone, atol=1e-5, rtol=0)
