"""Defects put on any video: where they act, when they begin, and that the judge of pairs counts missing scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.foreign.clips import Clip, cut, listed
from benchmarks.foreign.judge import won
from benchmarks.foreign.real import like, summary
from benchmarks.foreign.spoil import KINDS, STRENGTHS, spoil
from torch import Tensor

from worldr1.evaluation.video import write_video


def picture(frames: int = 13, height: int = 48, width: int = 80) -> Tensor:
    """A still video with texture everywhere."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    one = torch.stack([torch.sin(x / 2), torch.sin(y / 3), torch.sin((x + y) / 4)]) / 2 + 0.5
    return one.expand(frames, 3, height, width)


def spoilt(kind: str, strength: str, video: Tensor, seed: int = 0) -> Tensor:
    return spoil(video, kind, strength, np.random.default_rng(seed), 1 - video)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "shuffle"])
def test_a_defect_begins_at_nothing_grows_with_its_strength_and_stays_in_range(kind: str) -> None:
    video = picture()
    mild, strong = (spoilt(kind, strength, video) for strength in STRENGTHS)
    assert torch.allclose(mild[0], video[0], atol=1e-5)
    assert 0 < float((mild - video).abs().mean()) < float((strong - video).abs().mean())
    assert 0 <= float(strong.min()) <= float(strong.max()) <= 1


def test_slip_leaves_most_of_the_picture_alone_and_bend_moves_rows_sideways_only() -> None:
    video = picture()
    touched = (spoilt("slip", "strong", video) - video).abs().amax(dim=(0, 1)) > 1e-3
    assert 0.05 < float(touched.float().mean()) < 0.5
    rows = torch.linspace(0, 1, 48)[None, None, :, None].expand(13, 3, 48, 80)
    assert torch.allclose(spoilt("bend", "strong", rows), rows, atol=1e-5)


def test_bend_reaches_as_far_as_it_says() -> None:
    ramp = torch.linspace(0, 1, 80).expand(41, 3, 48, 80)
    inner = (spoilt("bend", "strong", ramp) - ramp)[..., 10:70].abs()
    assert float(inner.max()) == pytest.approx(0.025, rel=0.03)


def test_shuffle_keeps_every_frame_within_its_block() -> None:
    video = torch.arange(14.0)[:, None, None, None].expand(14, 3, 32, 32) / 14
    order = (spoilt("shuffle", "strong", video)[:, 0, 0, 0] * 14).round().long()
    assert sorted(order.tolist()) == list(range(14))
    assert order.tolist() != list(range(14))
    assert torch.equal(order // 6, torch.arange(14) // 6)


def test_an_unknown_defect_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no mild fog; kinds are bend"):
        spoilt("fog", "mild", picture())


def test_a_missing_score_loses_and_is_beaten() -> None:
    assert won({"recon": 0.2}, {"recon": None}, "recon")
    assert not won({"recon": None}, {"recon": 0.1}, "recon")
    assert not won({"error": "no frames"}, {"error": "no frames"}, "recon")
    assert won({"recon": 0.3}, {"recon": 0.2}, "recon")
    assert not won({"recon": 0.2}, {"recon": 0.2}, "recon")


def clip(**changes: object) -> Clip:
    entry = {"name": "long", "file": "long.mp4", "source": "here", "licence": "MIT", "scene": "rigid", "use": "tuning"}
    return Clip(**{**entry, **changes})


def test_windows_lie_apart_and_another_clip_is_fitted_to_them(tmp_path: Path) -> None:
    write_video(tmp_path / "long.mp4", picture(21, 48, 80), fps=10)
    windows = cut(clip(), tmp_path, 2, 8, 0.7, 32)
    assert [window.name for window in windows] == ["long, 0", "long, 13"]
    assert windows[0].video.shape == (8, 3, 32, 52)
    assert like(picture(3, 32, 32), windows[0].video).shape == (8, 3, 32, 52)


def test_a_window_covers_the_seconds_asked_for_or_the_whole_of_a_shorter_piece(tmp_path: Path) -> None:
    write_video(tmp_path / "long.mp4", picture(41, 48, 80), fps=10)
    assert [len(w.video) for w in cut(clip(), tmp_path, 1, 9, 1.6, 32)] == [9]
    assert cut(clip(), tmp_path, 1, 9, 1.6, 32)[0].name == "long, 12"
    assert len(cut(clip(), tmp_path, 1, 9, 60.0, 32)[0].video) == 9
    piece = cut(clip(frames=(10, 14)), tmp_path, 2, 9, 60.0, 32)
    assert [(window.name, len(window.video)) for window in piece] == [("long, 10", 5)]
    assert cut(clip(rate=20.0), tmp_path, 1, 9, 1.6, 32)[0].name == "long, 4"


def test_rigid_clips_that_nothing_was_tuned_on_are_told_apart() -> None:
    def row(rigidity: float, scene: str, use: str) -> dict:
        good = {"rigidity": rigidity, "recon": 0.7, "psnr": 1.0, "mvcs": None, "smoothness": 0.9, "warnings": []}
        bad = {"rigidity": 0.5, "recon": 0.5, "psnr": 2.0, "mvcs": 0.1, "smoothness": 0.8}
        return {"good": good, "spoilt": {"bend mild": bad}, "scene": scene, "use": use, "clip": str(rigidity)}

    rows = [row(0.6, "rigid", "held out"), row(0.4, "rigid", "held out"), row(0.7, "rigid", "tuning")]
    found = summary([*rows, row(0.4, "moving", "tuning")])
    right = {"rigidity": 0.5, "recon": 1.0, "psnr": 0.0, "mvcs": 0.0, "smoothness": 1.0}
    assert found["rigid, held out"]["ranked_right"] == right
    assert found["rigid, held out"]["interval_over_clips"]["rigidity"] == [0.0, 1.0]
    assert found["rigid, tuning"]["by_defect"]["bend mild"]["rigidity"] == 1.0
    assert found["moving"]["windows"] == 1
    assert found["moving"]["ranked_right"]["rigidity"] == 0.0


def test_every_clip_of_the_list_says_where_it_is_from() -> None:
    clips = listed()
    assert len(clips) == len({one.name for one in clips})
    assert all(one.source and one.licence for one in clips)
    assert {one.scene for one in clips} == {"rigid", "moving"}
    assert not {one.file for one in clips if one.use == "tuning"} & {
        one.file for one in clips if one.use == "held out" and one.frames is None
    }
