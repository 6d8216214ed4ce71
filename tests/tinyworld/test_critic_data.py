"""Edited scenes, how they are graded, and degraded frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from worldr1.camera import Trajectory
from worldr1.tinyworld.critic_scenes import (
    EDITS,
    agreement,
    edit_scene,
    mismatch,
    nearby_scenes,
    renderable,
    shrink_object,
)
from worldr1.tinyworld.degrade import DEGRADATIONS, degrade, gaussian_blur
from worldr1.tinyworld.render import render_clips
from worldr1.tinyworld.scenes import Scene, SceneObject, sample_scene
from worldr1.tinyworld.vocabulary import held_out


def _pair() -> Scene:
    first = SceneObject("red", "box", x=-0.25, z=1.0, half=0.15, half_height=0.15, yaw=0.3)
    second = SceneObject("blue", "sphere", x=0.25, z=1.0, half=0.15, half_height=0.15, yaw=0.3)
    return Scene(setting=1, solids=(first, second), wall_z=1.8, phase=(0.0, 0.0))


def test_mismatch_counts_what_is_wrong() -> None:
    scene = _pair()
    red, blue = scene.solids
    assert mismatch(scene, scene) == 0
    assert mismatch(replace(scene, solids=(blue, red)), scene) == 0
    assert mismatch(replace(scene, solids=(replace(red, color="green"), blue)), scene) == 1
    assert mismatch(replace(scene, solids=(replace(red, shape="sphere"), blue)), scene) == 1
    assert mismatch(replace(scene, setting=2), scene) == 1
    assert mismatch(replace(scene, solids=(red,)), scene) == 1.5
    assert mismatch(replace(scene, solids=()), scene) == 3
    assert mismatch(scene, replace(scene, solids=(red,))) == 0.5
    assert mismatch(edit_scene(np.random.default_rng(0), scene, "swap"), scene) == 2


def test_everything_wrong_is_worth_nothing_and_one_thing_a_third() -> None:
    scene = _pair()
    assert agreement(scene, scene) == 1
    assert agreement(replace(scene, setting=2), scene) == pytest.approx(1 / 3)
    assert agreement(edit_scene(np.random.default_rng(0), scene, "everything"), scene) < 0.02


def test_nearby_scenes_differ_and_never_name_a_held_out_caption() -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        scene = sample_scene(rng, dynamic=bool(rng.random() < 0.3))
        for other in nearby_scenes(rng, scene, len(EDITS), "train"):
            assert other.caption != scene.caption
            assert not held_out(other.caption)
            assert mismatch(scene, other) > 0


def test_the_object_taken_away_is_gone_from_the_picture_and_the_rest_stays() -> None:
    scene = _pair()
    still = Trajectory.from_moves((), 1)
    without = edit_scene(np.random.default_rng(0), scene, "remove")
    empty = renderable(replace(scene, solids=()))
    full, fewer, none = render_clips([scene, without, empty], [still] * 3)
    assert len(full.object_mask.unique()) == 3
    assert len(fewer.object_mask.unique()) == 2
    assert (none.object_mask == 0).all()
    far_above = (full.object_mask == 0)[0, :12]
    assert torch.equal(full.video[0, :, :12][:, far_above], none.video[0, :, :12][:, far_above])


def test_a_shrunk_object_covers_less() -> None:
    scene = _pair()
    clips = render_clips([scene, shrink_object(scene, 0, 0.5)], [Trajectory.from_moves((), 1)] * 2)
    areas = [int((clip.object_mask == 1).sum()) for clip in clips]
    assert 0.15 < areas[1] / areas[0] < 0.4


def test_unknown_names_are_told() -> None:
    with pytest.raises(ValueError, match="unknown edit"):
        edit_scene(np.random.default_rng(0), _pair(), "explode")
    with pytest.raises(ValueError, match="unknown degradation"):
        degrade(torch.rand(1, 3, 64, 64), "rain", torch.zeros(1), torch.Generator())


def test_blur_keeps_the_mean_and_has_the_asked_width() -> None:
    """An impulse becomes a Gaussian: its second moment is sigma squared."""
    images = torch.zeros(1, 3, 64, 64)
    images[..., 32, 32] = 1.0
    blurred = gaussian_blur(images, torch.tensor([1.7]))[0, 0].double()
    x = torch.arange(64, dtype=torch.float64) - 32
    assert float(blurred.sum()) == pytest.approx(1.0, abs=1e-4)
    assert float((blurred.sum(0) * x.square()).sum()) == pytest.approx(1.7**2, rel=0.02)


@pytest.mark.parametrize("kind", sorted(DEGRADATIONS))
def test_degradations_grow_with_strength_and_stay_in_range(kind: str) -> None:
    clips = render_clips([_pair()], [Trajectory.from_moves(("move left",), 8)])
    images = clips[0].video
    errors = []
    for strength in (-1.0, 0.0, 0.5, 1.0):
        changed = degrade(images, kind, torch.full((8,), strength), torch.Generator().manual_seed(0))
        assert changed.min() >= 0
        assert changed.max() <= 1
        errors.append(float((changed - images).square().mean()))
    assert errors[0] == 0
    assert 0 < errors[1] < errors[2] < errors[3]
