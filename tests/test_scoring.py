"""Scores of video files: truth scores above what is spoilt, and the camera's own path above any other."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import worldr1
from tiny_clips import truth_and_spoilt
from worldr1.camera.io import write_trajectory
from worldr1.camera.trajectory import Trajectory
from worldr1.cli.main import main
from worldr1.evaluation.video import write_video
from worldr1.reconstruction.stereo import StereoReconstructor
from worldr1.reconstruction.types import Reconstruction, missing
from worldr1.scoring import MAX_FRAMES, VideoScores
from worldr1.tinyworld import render_clip, sample_scene

ORBIT = Trajectory.from_moves(("orbit left",), 17)


@pytest.fixture(scope="module")
def orbit() -> torch.Tensor:
    return render_clip(sample_scene(np.random.default_rng(3)), ORBIT).video


@pytest.fixture(scope="module")
def scores(orbit: torch.Tensor) -> VideoScores:
    return worldr1.score(orbit, camera=ORBIT)


def test_a_true_clip_scores_high_and_its_path_is_measured(scores: VideoScores) -> None:
    assert scores.recon > 0.5
    assert scores.traj > 0.7
    assert scores.total == pytest.approx(scores.recon + scores.traj)
    assert scores.camera_turn == pytest.approx(30.0, abs=4.0)
    chord = 2 * math.sin(math.radians(30 / 16 / 2))
    assert scores.camera_travel == pytest.approx(16 * chord, rel=0.3)


def test_a_scene_that_changes_shape_scores_lower(scores: VideoScores) -> None:
    rng = np.random.default_rng(3)
    spoilt = render_clip(sample_scene(rng), ORBIT, spoil="mix", rng=rng).video
    measured = worldr1.score(spoilt, camera=ORBIT)
    assert measured.recon < scores.recon - 0.05
    assert measured.psnr < scores.psnr - 2.0
    assert measured.mvcs < scores.mvcs - 0.05
    assert measured.rigidity < scores.rigidity - 0.1
    assert measured.smoothness < scores.smoothness


def test_confident_points_of_true_clips_meet_and_of_spoilt_ones_do_not() -> None:
    moves = [("push in",), ("move right",), ("pull out",), ("move left",)]
    clean, spoilt, _ = truth_and_spoilt(moves, seed=3)
    pairs = [(worldr1.score(a.video).mvcs, worldr1.score(b.video).mvcs) for a, b in zip(clean, spoilt, strict=True)]
    assert all(good > bad + 0.05 for good, bad in pairs), pairs


def test_frames_without_a_camera_are_left_out_and_told(orbit: torch.Tensor, scores: VideoScores) -> None:
    def forgetful(videos: torch.Tensor, trajectories: object = None) -> list[Reconstruction]:
        found = StereoReconstructor()(videos)
        c2w = found[0].c2w.clone()
        c2w[[5, 11]] = torch.nan
        return [replace(found[0], c2w=c2w)]

    measured = worldr1.score(orbit, camera=ORBIT, reconstructor=forgetful)
    assert measured.warnings[0] == "no camera was found for 2 of 17 frames, which are left out"
    assert [k for k, value in enumerate(measured.curves.psnr) if math.isnan(value)] == [5, 11]
    assert measured.rot_err == pytest.approx(scores.rot_err * 15 / 17, rel=0.3)
    assert measured.recon > 0.5


def test_too_few_cameras_are_told(orbit: torch.Tensor) -> None:
    def blind(videos: torch.Tensor, trajectories: object = None) -> list[Reconstruction]:
        return [missing(videos[0])]

    with pytest.raises(ValueError, match="cameras were found for 0 of 17 frames"):
        worldr1.score(orbit, reconstructor=blind)


def test_large_videos_are_judged_small(orbit: torch.Tensor) -> None:
    """Geometry of a larger picture gives the scores of the small one, so that sizes can be compared."""
    large = torch.nn.functional.interpolate(orbit, scale_factor=4, mode="bilinear")
    shrunk = torch.nn.functional.interpolate(large, scale_factor=0.5, mode="bilinear", antialias=True)
    a, b = worldr1.score(large, camera=ORBIT), worldr1.score(shrunk, camera=ORBIT)
    assert a.recon == pytest.approx(b.recon, abs=0.02)
    assert a.psnr == pytest.approx(b.psnr, abs=0.5)


def test_another_camera_was_not_what_the_clip_shows(orbit: torch.Tensor, scores: VideoScores) -> None:
    wrong = worldr1.score(orbit, camera=Trajectory.from_moves(("orbit right",), 17))
    assert wrong.traj < scores.traj / 2
    assert wrong.rot_err > scores.rot_err


def test_without_a_camera_its_scores_are_missing_and_json_can_hold_them(orbit: torch.Tensor) -> None:
    asked_nothing = worldr1.score(orbit)
    assert math.isnan(asked_nothing.traj)
    assert asked_nothing.total == asked_nothing.recon
    document = json.loads(json.dumps(asked_nothing.to_dict(), allow_nan=False))
    assert document["traj"] is None
    assert document["recon"] == asked_nothing.recon


def test_blur_lowers_sharpness(orbit: torch.Tensor, scores: VideoScores) -> None:
    blurred = torch.nn.functional.avg_pool2d(orbit, 5, stride=1, padding=2, count_include_pad=False)
    assert worldr1.score(blurred).sharpness < 0.7 * scores.sharpness


def test_a_long_video_is_thinned_with_its_camera(orbit: torch.Tensor) -> None:
    from worldr1.scoring import _thinned

    camera = Trajectory.from_moves(("push in",), 81)
    video, asked, places = _thinned(torch.linspace(0, 1, 81).view(81, 1, 1, 1).expand(81, 3, 32, 32), camera, None)
    assert asked is not None
    assert [place / 80 for place in places] == pytest.approx(video[:, 0, 0, 0].tolist())
    assert len(video) == asked.frames == MAX_FRAMES
    assert torch.allclose(asked.c2w[:, 2, 3], 0.4 * video[:, 0, 0, 0], atol=1e-6)
    assert float(video[-1, 0, 0, 0]) == 1.0


@pytest.mark.parametrize(
    ("video", "told"),
    [
        (torch.zeros(5, 32, 32), r"must be \[T, 3, H, W\]"),
        (torch.zeros(2, 3, 32, 32), "needs 3 frames"),
        (torch.zeros(5, 3, 16, 64), "32 pixels a side"),
        (torch.full((5, 3, 32, 32), torch.nan), "not finite"),
    ],
)
def test_what_cannot_be_scored_is_told(video: torch.Tensor, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        worldr1.score(video)


def test_a_camera_of_another_length_is_told(orbit: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="camera has 9 frames, the video 17"):
        worldr1.score(orbit, camera=Trajectory.from_moves((), 9))


def test_the_scene_can_be_rendered_again(orbit: torch.Tensor) -> None:
    scene = worldr1.reconstruct(orbit, camera=ORBIT)
    image, depth, alpha = worldr1.render(scene.splats, scene.c2w[0], scene.intrinsics, height=64, width=64)
    assert image.shape == (3, 64, 64)
    assert depth.shape == alpha.shape == (64, 64)
    seen = alpha > 0.5
    assert float(seen.float().mean()) > 0.8
    assert float((image - orbit[0]).abs().mean(0)[seen].mean()) < 0.1


def test_the_command_scores_files(orbit: torch.Tensor, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_video(tmp_path / "orbit.mp4", orbit)
    write_trajectory(ORBIT, tmp_path / "asked.json")
    assert main(["score", str(file), str(file), "--camera", "orbit left", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["videos"]
    assert [row["video"] for row in rows] == [str(file), str(file)]
    assert main(["score", str(file), "--trajectory", str(tmp_path / "asked.json"), "--json"]) == 0
    from_file = json.loads(capsys.readouterr().out)["videos"][0]
    assert from_file["traj"] == pytest.approx(rows[0]["traj"], abs=1e-4)


@pytest.mark.parametrize(
    ("words", "told"),
    [(["--camera", "sideways"], "names no camera move"), (["--camera", "fixed", "--trajectory", "a.json"], "not both")],
)
def test_the_command_tells_what_is_wrong(
    words: list[str], told: str, orbit: torch.Tensor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_video(tmp_path / "orbit.mp4", orbit)
    assert main(["score", str(file), *words]) == 2
    assert told in capsys.readouterr().err


def test_a_file_that_is_no_video_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "note.mp4").write_text("not a video")
    assert main(["score", str(tmp_path / "note.mp4")]) == 1
    assert capsys.readouterr().err.startswith("worldr1: ")


def test_nan_becomes_none(scores: VideoScores) -> None:
    assert replace(scores, psnr=math.nan).to_dict()["psnr"] is None


def test_white_noise_is_no_consistent_world() -> None:
    noise = torch.rand(7, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    measured = worldr1.score(noise)
    assert measured.recon < 0.05
    assert any("hardly resemble each other" in warning for warning in measured.warnings)
