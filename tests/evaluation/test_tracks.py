"""Points are where known motion puts them, and say whether they were lost or left."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from worldr1.evaluation.tracks import LEFT, LOST, SEEN, follow

HEIGHT, WIDTH = 120, 160


def texture(height: int, width: int, seed: int = 0) -> Tensor:
    """[3, H, W] smooth blobs, from 6 pixels up."""
    noise = torch.from_numpy(np.random.default_rng(seed).random((1, 3, height // 6, width // 6))).float()
    return functional.interpolate(noise, size=(height, width), mode="bicubic", align_corners=False)[0].clamp(0, 1)


def zoomed(picture: Tensor, factor: float, shift: tuple[float, float]) -> Tensor:
    """[3, HEIGHT, WIDTH]: what lies at p from the middle comes to factor * p + shift, in pixels."""
    height, width = picture.shape[1:]
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    from_x, from_y = ((x - WIDTH / 2 - shift[0]) / factor, (y - HEIGHT / 2 - shift[1]) / factor)
    grid = torch.stack([from_x * 2 / width, from_y * 2 / height], dim=-1)
    return functional.grid_sample(picture[None], grid[None], mode="bicubic", align_corners=False)[0].clamp(0, 1)


def test_points_follow_a_known_motion_within_a_fifth_of_a_pixel_over_eight_frames() -> None:
    picture = texture(240, 320)
    motion = [(1.0 + 0.01 * t, (1.7 * t, -0.8 * t)) for t in range(9)]
    tracks = follow(torch.stack([zoomed(picture, *m) for m in motion]))
    middle = np.array([WIDTH / 2, HEIGHT / 2])
    factor, shift = np.array([m[0] for m in motion]), np.array([m[1] for m in motion])
    begin = tracks.places[np.arange(len(tracks.host)), tracks.host]
    still = (begin - middle - shift[tracks.host]) / factor[tracks.host][:, None]
    truth = factor[None, :, None] * still[:, None] + shift[None] + middle
    errors = np.linalg.norm(tracks.places - truth, axis=-1)[tracks.state == SEEN]
    assert len(tracks.host) > 200
    assert np.median(errors) < 0.1
    assert np.quantile(errors, 0.95) < 0.2
    assert (tracks.state == SEEN).sum() > 0.9 * (tracks.state != LEFT).sum()


def test_a_point_that_leaves_has_left_and_one_that_is_covered_is_lost() -> None:
    picture = texture(240, 400, seed=1)
    video = torch.stack([zoomed(picture, 1.0, (-6.0 * t, 0.0)) for t in range(9)])
    video[5:, :, 40:80, 30:130] = texture(40, 100, seed=2)
    tracks = follow(video, every=16)
    x, y = tracks.places[:, 0].T
    gone = x < 40
    assert gone.sum() > 10
    assert (tracks.state[gone, 8] == LEFT).all()
    covered = (x - 30 > 40) & (x - 30 < 120) & (y > 48) & (y < 72)
    assert covered.sum() > 8
    assert (tracks.state[covered, 5] == LOST).all()
    assert (tracks.state[covered, 4] == SEEN).all()


def test_an_edge_tells_nothing_of_motion_along_it() -> None:
    picture = 0.3 * texture(HEIGHT, WIDTH, seed=3)
    picture[:, :, WIDTH // 2 :] += 0.7
    tracks = follow(picture.expand(3, -1, -1, -1))
    on_edge = np.abs(tracks.places[:, 0, 0] - WIDTH / 2) < 4
    assert on_edge.any()
    across, along = (np.linalg.norm(tracks.sharpness[on_edge] @ np.array(v), axis=-1) for v in ((1.0, 0.0), (0.0, 1.0)))
    assert (across > 0.95).all()
    assert (along < 0.7).all()


def test_a_window_has_the_points_of_its_own_frames() -> None:
    picture = texture(240, 320)
    tracks = follow(torch.stack([zoomed(picture, 1.0, (2.0 * t, 0.0)) for t in range(13)]), every=4)
    window = tracks.within(4, 5)
    assert set(window.host) == {0, 4}
    assert window.places.shape == (len(window.host), 5, 2)
    assert np.array_equal(window.places[window.host == 0], tracks.places[tracks.host == 4, 4:9])
    some = window.chosen(window.host == 4)
    assert np.array_equal(some.state, tracks.state[tracks.host == 8, 4:9])


def test_a_plain_picture_has_no_points() -> None:
    assert len(follow(torch.full((5, 3, 64, 64), 0.5)).host) == 0
