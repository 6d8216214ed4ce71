"""Scenes: captions, splits and what the ray tracer draws, against closed forms and reprojection."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from worldr1.camera.language import parse_moves
from worldr1.camera.trajectory import Trajectory
from worldr1.tinyworld import SPOIL_KINDS, Scene, SceneObject, render_clip, render_clips, sample_scene, sample_spoil
from worldr1.tinyworld.corpus import CorpusSettings, draw, render_range
from worldr1.tinyworld.scenes import FLOOR_Y, prompt_of
from worldr1.tinyworld.spoil import CLEAN, Spoil
from worldr1.tinyworld.vocabulary import held_out


def _scene(x: float = 0.0, z: float = 1.0, half: float = 0.15, shape: str = "sphere") -> Scene:
    solid = SceneObject(color="red", shape=shape, x=x, z=z, half=half, half_height=half, yaw=0.0)
    return Scene(setting=0, solids=(solid,), wall_z=1.8, phase=(0.0, 0.0))


def _reprojection_error(clip) -> float:
    """Mean squared error of later frames looked up in frame 0 through true depth and poses, where depth agrees."""
    frames, _, height, width = clip.video.shape
    k = clip.intrinsics
    v, u = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    rays = torch.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], torch.ones_like(u)], -1)
    errors = []
    for t in range(4, frames, 4):
        points = rays * clip.depth[t][..., None]
        world = points @ clip.c2w[t, :3, :3].T + clip.c2w[t, :3, 3]
        x = world[..., 0] / world[..., 2] * k[0, 0] + k[0, 2]
        y = world[..., 1] / world[..., 2] * k[1, 1] + k[1, 2]
        grid = torch.stack([2 * x / width - 1, 2 * y / height - 1], -1)[None]
        seen = functional.grid_sample(clip.video[:1], grid, align_corners=False)[0]
        depth = functional.grid_sample(clip.depth[:1, None], grid, align_corners=False)[0, 0]
        valid = (grid[0].abs().amax(-1) < 0.97) & ((depth - world[..., 2]).abs() < 0.02) & (world[..., 2] > 0)
        errors.append(((seen - clip.video[t]) ** 2).mean(0)[valid])
    return float(torch.cat(errors).mean())


def test_depth_of_wall_floor_and_sphere_is_exact() -> None:
    clip = render_clip(_scene(x=0.3), Trajectory.from_moves(("fixed",), 5))
    focal = float(clip.intrinsics[1, 1])
    assert clip.depth[0, 31, 20] == pytest.approx(1.8, abs=1e-4)
    row = 60
    expected = np.mean([FLOOR_Y * focal / (row + offset - 32) for offset in (0.25, 0.75)])
    assert clip.depth[0, row, 4] == pytest.approx(expected, rel=1e-4)
    sphere = render_clip(_scene(z=1.0), Trajectory.from_moves(("fixed",), 5))
    assert int(sphere.object_mask[0, 43, 32]) == 1
    assert sphere.depth[0, 44, 31:33].mean() == pytest.approx(0.85, abs=0.02)


def test_a_scene_without_objects_is_named_by_its_place_and_drawn_empty() -> None:
    scene = replace(_scene(), solids=())
    assert scene.caption == "in a checkered room"
    assert prompt_of(scene, ("push in",)) == "camera push in. in a checkered room"
    assert parse_moves(prompt_of(scene, ("push in",))) == ("push in",)
    assert not scene.dynamic
    clip = render_clip(scene, Trajectory.from_moves(("push in",), 5))
    assert int(clip.object_mask.max()) == 0
    assert clip.prompt == "camera push in. in a checkered room"


@pytest.mark.parametrize("move", ["push in", "orbit left", "move right", "pan left", "pull right"])
def test_static_scene_agrees_with_its_depth_and_poses(move: str) -> None:
    rng = np.random.default_rng(3)
    clip = render_clip(sample_scene(rng), Trajectory.from_moves((move,), 17))
    assert -10 * np.log10(_reprojection_error(clip)) > 27.0


@pytest.mark.parametrize("kind", SPOIL_KINDS)
def test_each_kind_of_spoiling_breaks_the_agreement(kind: str) -> None:
    rng = np.random.default_rng(5)
    scenes = [sample_scene(rng) for _ in range(6)]
    path = Trajectory.from_moves(("move left",), 17)
    clean = np.mean([_reprojection_error(clip) for clip in render_clips(scenes, [path] * 6)])
    spoils = [sample_spoil(rng, kind) for _ in scenes]
    spoilt = np.mean([_reprojection_error(clip) for clip in render_clips(scenes, [path] * 6, spoils)])
    assert spoilt > 4 * clean


def test_spoiling_of_strength_zero_is_a_clean_clip() -> None:
    rng = np.random.default_rng(0)
    scene, path = sample_scene(rng), Trajectory.from_moves(("push in",), 9)
    clean = render_clips([scene], [path])[0]
    for kind in ("bend", "swim", "morph", "mix"):
        spoilt = render_clips([scene], [path], [sample_spoil(rng, kind, strength=0.0)])[0]
        assert torch.equal(clean.video, spoilt.video)


def test_spoilt_clip_starts_as_the_clean_one() -> None:
    spoil = Spoil(phase=1.0, swim_floor=(0.3, 0.2), swim_wall=0.3, drift=((0.1, 0.1), (0.1, 0.1)), bend=0.08)
    scene, path = sample_scene(np.random.default_rng(1)), Trajectory.from_moves(("push in",), 9)
    clean, spoilt = render_clips([scene] * 2, [path] * 2, [CLEAN, spoil])
    assert torch.allclose(clean.video[0], spoilt.video[0], atol=1e-4)
    assert (clean.video[4] - spoilt.video[4]).abs().max() > 0.1


def test_no_caption_lies_in_both_splits() -> None:
    rng = np.random.default_rng(0)
    train = {sample_scene(rng, dynamic=i % 3 == 0, split="train").caption for i in range(400)}
    test = {sample_scene(rng, dynamic=i % 3 == 0, split="test").caption for i in range(200)}
    assert not train & test
    assert all(held_out(caption) for caption in test)
    assert not any(held_out(caption) for caption in train)


def test_prompts_are_read_back_as_their_moves() -> None:
    rng = np.random.default_rng(2)
    for moves in [
        ("orbit left",),
        ("push in", "pan right"),
        ("pull left", "move right", "orbit right"),
        ("fixed",),
        (),
    ]:
        for dynamic in (False, True):
            assert tuple(parse_moves(prompt_of(sample_scene(rng, dynamic=dynamic), moves))) == moves


def test_dynamic_scenes_move_and_static_ones_do_not() -> None:
    rng = np.random.default_rng(4)
    path = Trajectory.from_moves(("fixed",), 9)
    still = render_clips([sample_scene(rng) for _ in range(8)], [path] * 8)
    moving = render_clips([sample_scene(rng, dynamic=True) for _ in range(8)], [path] * 8)
    assert all(torch.equal(clip.video[0], clip.video[8]) for clip in still)
    assert all((clip.video[0] - clip.video[3]).abs().max() > 0.05 for clip in moving)
    assert all(clip.scene.dynamic for clip in moving)


def test_corpus_is_a_function_of_the_counter() -> None:
    settings = CorpusSettings(frames=5, height=16, width=16)
    whole = render_range(settings, 0, 6)
    part = render_range(settings, 4, 6)
    assert [clip.prompt for clip in whole[4:]] == [clip.prompt for clip in part]
    assert torch.equal(whole[5].video, part[1].video)
    share = np.mean([draw(settings, i)[2] == CLEAN for i in range(400)])
    assert abs(share - settings.consistent) < 4 * np.sqrt(0.35 * 0.65 / 400)


def test_bad_requests_are_refused() -> None:
    rng = np.random.default_rng(0)
    path = Trajectory.from_moves(("fixed",), 5)
    with pytest.raises(ValueError, match="unknown split"):
        sample_scene(rng, split="validation")
    with pytest.raises(ValueError, match="unknown kind"):
        sample_spoil(rng, "melt")
    with pytest.raises(ValueError, match="as many of each"):
        render_clips([_scene()], [path, path])
    with pytest.raises(ValueError, match="pass rng"):
        render_clip(_scene(), path, spoil="bend")
