"""Motion smoothness in closed form and on steady, jittered and unevenly sampled motion."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from worldr1.evaluation.smoothness import between, motion_smoothness

SIDE = 64


def pan(shifts: list[float]) -> torch.Tensor:
    """A smooth random picture, seen `shifts` pixels further to the right in each frame."""
    generator = torch.Generator().manual_seed(2)
    wide = functional.interpolate(torch.rand(1, 3, 12, 18, generator=generator), size=(SIDE, 3 * SIDE), mode="bicubic")
    rows, columns = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    grids = [
        torch.stack([(columns + SIDE + shift) * 2 / (3 * SIDE) - 1, rows * 2 / SIDE - 1], dim=-1) for shift in shifts
    ]
    return functional.grid_sample(
        wide.expand(len(shifts), -1, -1, -1), torch.stack(grids), mode="bicubic", align_corners=False
    ).clamp(0, 1)


def test_brightness_that_jumps_costs_its_jump() -> None:
    plain = torch.tensor([0.2, 0.5, 0.2, 0.5, 0.2]).view(5, 1, 1, 1).expand(5, 3, SIDE, SIDE)
    assert motion_smoothness(plain) == pytest.approx(1 - 0.3, abs=1e-4)
    fade = torch.linspace(0, 1, 5).view(5, 1, 1, 1).expand(5, 3, SIDE, SIDE)
    assert motion_smoothness(fade) == pytest.approx(1.0, abs=1e-3)


def test_a_frame_between_is_where_its_time_says() -> None:
    ends = pan([0.0, 5.0])
    for share in (0.5, 0.2, 0.8):
        found = between(ends[:1], ends[1:], torch.tensor([share]))[:, :, :, 8:-8]
        true, blend = pan([5.0 * share])[..., 8:-8], torch.lerp(ends[:1], ends[1:], share)[..., 8:-8]
        assert float((found - true).abs().mean()) < 0.25 * float((blend - true).abs().mean())


def test_steady_motion_scores_above_jitter_and_the_more_so_the_more_it_jitters() -> None:
    steady = [1.5 * k for k in range(17)]
    scores = [
        motion_smoothness(pan([shift + jitter * (-1) ** k for k, shift in enumerate(steady)]))
        for jitter in (0.0, 0.5, 1.0, 2.0)
    ]
    assert scores[0] > 0.99
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[2] > 0.02


def test_frames_picked_unevenly_from_steady_motion_count_as_steady_at_their_places() -> None:
    kept = [0, 2, 5, 7, 10, 12, 15, 17, 20]
    video = pan([float(k) for k in kept])
    assert motion_smoothness(video, kept) > 0.99
    assert motion_smoothness(video, kept) > motion_smoothness(video) + 0.005


def test_what_cannot_be_told() -> None:
    assert math.isnan(motion_smoothness(torch.zeros(2, 3, SIDE, SIDE)))
    with pytest.raises(ValueError, match="one place for each of 5 frames, got 4"):
        motion_smoothness(torch.zeros(5, 3, SIDE, SIDE), [0, 1, 2, 3])
