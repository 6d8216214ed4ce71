"""Rigid videos have the higher rigidity than the same ones bent, whatever the camera does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tiny_clips import truth_and_spoilt
from worldr1.camera.trajectory import Trajectory
from worldr1.evaluation.rigidity import rigidity
from worldr1.tinyworld import render_clip, sample_scene

HEIGHT, WIDTH, FOCAL = 96, 128, 110.0


def plane(frames: int, travel: float, seed: int = 0) -> Tensor:
    """[T, 3, H, W]: a painted wall that is slanted, before a camera that moves sideways and turns."""
    noise = torch.from_numpy(np.random.default_rng(seed).random((1, 3, 80, 80))).float()
    paint = functional.interpolate(noise, size=(640, 640), mode="bicubic", align_corners=False).clamp(0, 1)
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5 - HEIGHT / 2, torch.arange(WIDTH) + 0.5 - WIDTH / 2, indexing="ij")
    shots = []
    for t in range(frames):
        s = t / max(1, frames - 1) - 0.5
        turn = 0.1 * s
        ray = torch.stack([x / FOCAL, y / FOCAL, torch.ones_like(x)], dim=-1)
        ray = ray @ torch.tensor(
            [[math.cos(turn), 0, -math.sin(turn)], [0, 1, 0], [math.sin(turn), 0, math.cos(turn)]], dtype=torch.float32
        )
        eye = travel * s
        depth = (1.0 + 0.4 * eye) / (ray[..., 2] - 0.4 * ray[..., 0])
        place = torch.stack([eye + depth * ray[..., 0], depth * ray[..., 1]], dim=-1)
        shots.append(functional.grid_sample(paint, 0.55 * place[None], align_corners=False)[0])
    return torch.stack(shots)


def bent(video: Tensor, pixels: float) -> Tensor:
    """Rows pushed sideways along a sine that swings."""
    frames, _, height, width = video.shape
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    shots = []
    for t in range(frames):
        push = 2 * pixels / width * math.sin(2 * math.pi * t / 12) * torch.sin(4 * y)
        grid = torch.stack([x + push, y], dim=-1)
        shots.append(functional.grid_sample(video[t][None], grid[None], padding_mode="border", align_corners=True)[0])
    return torch.stack(shots)


@pytest.mark.parametrize("travel", [0.0, 0.15, 0.5])
def test_a_wall_is_rigid_and_bending_it_shows_the_more_the_further(travel: float) -> None:
    video = plane(17, travel)
    values = [rigidity(video, FOCAL), *(rigidity(bent(video, pixels), FOCAL) for pixels in (0.7, 2.0))]
    assert values[0] > 0.75
    assert values[0] > values[1] + 0.04
    assert values[1] > values[2] + 0.04


def test_the_blur_of_a_shift_by_half_a_pixel_costs_nothing() -> None:
    """So what bent videos lose, they lose by bending and not by being interpolated."""
    video = plane(17, 0.3)
    shifted = (video[..., :-1] + video[..., 1:]) / 2
    assert rigidity(shifted, FOCAL) > rigidity(video[..., :-1], FOCAL) - 0.02


def test_a_still_picture_is_rigid() -> None:
    assert rigidity(plane(1, 0.0).expand(9, -1, -1, -1), FOCAL) > 0.99


def test_the_focal_length_need_not_be_known_well() -> None:
    video = plane(17, 0.5)
    assert rigidity(video, FOCAL * 1.3) == pytest.approx(rigidity(video, FOCAL), abs=0.05)


def test_true_clips_are_more_rigid_than_scenes_that_change_shape() -> None:
    moves = [("push in",), ("orbit left",), ("move right",), ("pull out",)]
    clean, spoilt, _ = truth_and_spoilt(moves, seed=3)
    focal = float(Trajectory.from_moves((), 17).intrinsics(64, 64)[0, 0])
    good = np.array([rigidity(clip.video, focal) for clip in clean])
    bad = np.array([rigidity(clip.video, focal) for clip in spoilt])
    assert (good > bad).all(), (good, bad)


def test_content_that_dissolves_counts_against() -> None:
    rng = np.random.default_rng(4)
    path = Trajectory.from_moves(("move left",), 17)
    one, other = (render_clip(sample_scene(rng), path).video for _ in range(2))
    share = torch.linspace(0, 1, 17)[:, None, None, None]
    focal = float(path.intrinsics(64, 64)[0, 0])
    assert rigidity((1 - share) * one + share * other, focal) < 0.7 * rigidity(one, focal)


def test_nothing_to_follow_is_missing_and_never_zero() -> None:
    assert math.isnan(rigidity(torch.full((9, 3, 64, 64), 0.5), 60.0))
    assert math.isnan(rigidity(plane(2, 0.5), FOCAL))


def test_noise_has_points_but_none_that_can_be_followed() -> None:
    noise = torch.rand((9, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    assert rigidity(noise, 60.0) == 0.0


def test_points_that_are_lost_at_once_count_against() -> None:
    video = plane(9, 0.3)
    torn = video.clone()
    torn[1::2, :, :, : WIDTH // 2] = torn[1::2, :, :, : WIDTH // 2].flip(2)
    assert rigidity(torn, FOCAL) < 0.7 * rigidity(video, FOCAL)


def test_the_same_video_gives_the_same_value() -> None:
    video = plane(9, 0.3)
    assert rigidity(video, FOCAL) == rigidity(video, FOCAL)
