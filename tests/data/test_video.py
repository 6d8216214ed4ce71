"""Reading videos: which frames, at which size, in which order, and what becomes of alpha and of turned pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from odd_videos import encode, folder
from worldr1.data import video as module
from worldr1.data.video import read_sampled


def _levels(count: int, height: int = 32, width: int = 48) -> list[np.ndarray]:
    """Plain grey pictures whose brightness is their number."""
    return [np.full((height, width, 3), number, np.uint8) for number in range(count)]


def _numbers(frames: torch.Tensor) -> list[int]:
    return [round(float(frame.mean()) * 255) for frame in frames]


def test_evenly_spread_frames_with_first_and_last(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", _levels(41), pix_fmt="bgr0", rate=Fraction(10))
    read = read_sampled(path, most=5)
    assert read.indices == (0, 10, 20, 30, 40)
    assert _numbers(read.frames) == [0, 10, 20, 30, 40]
    assert read.times == pytest.approx((0.0, 1.0, 2.0, 3.0, 4.0))
    assert read.total == 41
    assert read.size == (32, 48)


def test_frames_that_wait_for_later_ones_keep_their_order(tmp_path: Path) -> None:
    path = encode(
        tmp_path / "a.mp4", [f * 5 for f in _levels(33)], "libx264", "yuv444p", options={"bf": "3", "crf": "1"}
    )
    assert np.abs(np.array(_numbers(read_sampled(path).frames)) - 5 * np.arange(33)).max() <= 4


def test_of_a_very_long_file_only_key_frames_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"g": "7", "crf": "1", "sc_threshold": "0"}
    path = encode(tmp_path / "a.mp4", [f * 5 for f in _levels(50)], "libx264", "yuv444p", options=options)
    monkeypatch.setattr(module, "MOST_DECODED", 1)
    read = read_sampled(path, most=4)
    assert all(index % 7 == 0 for index in read.indices)
    assert (read.indices[0], read.indices[-1], read.total) == (0, 49, 50)
    assert np.abs(np.array(_numbers(read.frames)) - 5 * np.array(read.indices)).max() <= 4


def test_uneven_frames_lie_where_their_times_say(tmp_path: Path) -> None:
    read = read_sampled(encode(tmp_path / "a.mkv", _levels(4), stamps=(0, 10, 20, 100)))
    assert read.positions == pytest.approx((0.0, 0.1, 0.2, 1.0), abs=0.005)


def test_folders_are_read_in_the_natural_order(tmp_path: Path) -> None:
    read = read_sampled(folder(tmp_path / "frames", _levels(5)))
    assert _numbers(read.frames) == [0, 1, 2, 3, 4]
    assert read.positions == (0.0, 0.25, 0.5, 0.75, 1.0)


@pytest.mark.parametrize(
    ("height", "width", "shape"),
    [(64, 96, (64, 96)), (256, 384, (128, 192)), (384, 256, (192, 128)), (101, 67, (101, 67)), (256, 2560, (51, 512))],
)
def test_pictures_are_shrunk_but_never_enlarged(
    tmp_path: Path, height: int, width: int, shape: tuple[int, int]
) -> None:
    read = read_sampled(encode(tmp_path / "a.mkv", _levels(1, height, width)))
    assert (tuple(read.frames.shape[2:]), read.size) == (shape, (height, width))


def test_shrinking_takes_the_mean(tmp_path: Path) -> None:
    checks = np.indices((256, 256)).sum(0)[..., None].repeat(3, 2) % 2 * 255
    read = read_sampled(encode(tmp_path / "a.mkv", [checks.astype(np.uint8)], pix_fmt="bgr0"))
    assert float((read.frames - 0.5).abs().max()) < 0.02


def test_wide_pixels_are_made_square(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", _levels(2), "libx264", "yuv444p", aspect=Fraction(2))
    assert read_sampled(path).size == (32, 96)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_turned_pictures_are_put_upright(tmp_path: Path, turn: int) -> None:
    corner = np.zeros((32, 48, 3), np.uint8)
    corner[:16, :24] = 255
    path = encode(tmp_path / "a.mov", [corner], "qtrle", "rgb24", turn=turn)
    upright = np.rot90(corner, turn // 90)
    shown = read_sampled(path).frames[0].permute(1, 2, 0).numpy()
    assert shown.shape == upright.shape
    assert np.abs(shown - upright / 255).max() < 0.01


def test_transparent_pixels_lie_over_black(tmp_path: Path) -> None:
    picture = np.full((32, 48, 4), 200, np.uint8)
    picture[:16, :, 3] = 0
    picture[16:, :, 3] = 51
    read = read_sampled(encode(tmp_path / "a.mov", [picture], "qtrle", "argb"))
    assert float(read.frames[0, :, :16].max()) == 0.0
    assert torch.allclose(read.frames[0, :, 16:], torch.tensor(40 / 255), atol=0.003)
    assert read.notes == ("transparent pixels were laid over black",)
