"""`worldr1 reconstruct` on a clip whose camera is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from worldr1.camera.io import read_trajectory
from worldr1.camera.metrics import rotation_geodesic
from worldr1.camera.trajectory import Trajectory
from worldr1.cli.main import main
from worldr1.evaluation.video import write_video
from worldr1.splats.ply import load_ply
from worldr1.tinyworld import render_clip, sample_scene


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Trajectory.from_moves(("orbit left",), 9)
    video = render_clip(sample_scene(np.random.default_rng(3)), path).video
    return write_video(tmp_path_factory.mktemp("clip") / "orbit.mp4", video, fps=5)


def test_all_formats_are_written_and_agree(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "scene"
    assert main(["reconstruct", str(clip), "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["frames"], told["height"], told["width"], told["fov"]) == (9, 64, 64, pytest.approx(64.0))
    assert told["camera_turn"] == pytest.approx(30.0, abs=5.0)
    assert told["written"] == [str(out / name) for name in ("scene.ply", "sparse/0", "images", "re10k.txt")]
    assert len(load_ply(out / "scene.ply")) == told["splats"] > 1000
    colmap, re10k = read_trajectory(out / "sparse/0"), read_trajectory(out / "re10k.txt")
    np.testing.assert_allclose(colmap.c2w.numpy(), re10k.c2w.numpy(), atol=1e-5)
    turn = float(rotation_geodesic(colmap.c2w[0, :3, :3], colmap.c2w[-1, :3, :3]).rad2deg())
    assert turn == pytest.approx(told["camera_turn"], abs=0.01)
    times = [int(line.split()[0]) for line in (out / "re10k.txt").read_text().splitlines()[1:]]
    assert times == [200_000 * frame for frame in range(9)]


def test_one_format_few_frames_and_another_lens(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["reconstruct", str(clip), "-o", str(tmp_path), "--format", "re10k", "--frames", "5", "--fov", "40"]
    assert main(words) == 0
    assert "wrote" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["re10k.txt"]
    path = read_trajectory(tmp_path / "re10k.txt")
    assert (path.frames, path.fov) == (5, pytest.approx(40.0, abs=1e-3))


def test_what_cannot_be_rebuilt_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "note.mp4").write_text("not a video")
    for name in ("note.mp4", "none.mp4"):
        assert main(["reconstruct", str(tmp_path / name), "-o", str(tmp_path / "out")]) == 1
        assert name in capsys.readouterr().err
    assert main(["reconstruct", str(tmp_path / "note.mp4"), "-o", str(tmp_path / "out"), "--frames", "2"]) == 1
    assert "at least 3" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
