"""Backends of `worldr1 score`: COLMAP against known cameras, Depth Anything 3 from files, and wrong wishes."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import worldr1
from odd_videos import encode
from worldr1.camera.io import write_trajectory
from worldr1.camera.metrics import camera_errors
from worldr1.camera.trajectory import Trajectory
from worldr1.cli.main import main
from worldr1.reconstruction.backends import load_backend
from worldr1.tinyworld import render_clip, sample_scene

needs_colmap = pytest.mark.skipif(
    importlib.util.find_spec("pycolmap") is None or importlib.util.find_spec("cv2") is None,
    reason="needs pycolmap and opencv-python-headless: pip install 'worldr1[colmap]' opencv-python-headless",
)
FRAMES, FOV = 7, 58.0
PATH = Trajectory.from_moves(("orbit left", "crane up"), FRAMES, FOV)


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Painted cards, drawn by OpenCV, with a blank picture in the place of frame 3."""
    from foreign_scenes import film, sample_cards

    cards = sample_cards(np.random.default_rng(11))
    drawn = film(cards, PATH.c2w.double().numpy(), FOV, None, 240, 416)
    return [*drawn[:3], np.full_like(drawn[3], 128), *drawn[4:]]


@needs_colmap
def test_colmap_finds_the_cameras_and_leaves_out_what_it_cannot_register(pictures: list[np.ndarray]) -> None:
    video = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    guess = Trajectory.from_moves((), FRAMES, 62.0)
    scene = load_backend("colmap").reconstructor(video[None], [guess])[0]
    registered = [0, 1, 2, 4, 5, 6]
    assert torch.isfinite(scene.c2w).flatten(1).all(1).tolist() == [k in registered for k in range(FRAMES)]
    assert torch.equal(scene.c2w[0], torch.eye(4))
    errors = camera_errors(scene.c2w[registered], PATH.c2w[registered])
    assert math.degrees(errors.rot_err / 6) < 0.3
    assert errors.trans_err / 6 < 0.01
    assert (
        0.9 < errors.scale < 2.6
    )  # the unit is a mean depth, and all depths lie between the nearest card and the wall
    true_focal = 0.5 * 416 / math.tan(math.radians(FOV / 2))
    assert float(scene.intrinsics[0, 0]) == pytest.approx(true_focal, rel=0.03)
    assert float(scene.confidence[3].max()) == 0.0
    assert scene.splats.source is not None
    assert set(scene.splats.source.tolist()) <= set(registered)


@needs_colmap
def test_score_judges_by_colmap(pictures: list[np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = encode(tmp_path / "cards.mp4", pictures, "libx264", "yuv420p")
    blank = encode(tmp_path / "blank.mp4", [pictures[3]] * 4, "libx264", "yuv420p")
    write_trajectory(PATH, tmp_path / "poses.json")
    words = ["score", str(good), "--trajectory", str(tmp_path / "poses.json"), "--backend", "colmap", "--json"]
    assert main(words) == 0
    document = json.loads(capsys.readouterr().out)
    row = document["videos"][0]
    assert document["backend"] == "colmap"
    assert row["warnings"][0] == "no camera was found for 1 of 7 frames, which are left out"
    assert math.degrees(row["rot_err"] / 6) < 0.5
    assert row["size"] == {"height": 240, "width": 416, "scored_at": [128, 222]}
    assert row["psnr"] > 18
    assert row["curves"]["rot_err"][3] is None
    assert main(["score", str(blank), "--backend", "colmap"]) == 1
    assert "cameras were found for 0 of 4 frames, too few to judge by" in capsys.readouterr().err


def test_depth_anything_that_tells_the_truth_gives_its_cameras() -> None:
    from da3_networks import Truth

    from worldr1.reconstruction.depth_anything import DepthAnythingReconstructor

    asked = Trajectory.from_moves(("orbit left",), 9)
    clip = render_clip(sample_scene(np.random.default_rng(3)), asked, 56, 56)
    rebuild = DepthAnythingReconstructor(Truth([clip], torch.eye(4), 2.0), process_res=56)
    scores = worldr1.score(clip.video, camera=asked, reconstructor=rebuild)
    assert scores.rot_err < 1e-3
    assert scores.trans_err < 1e-3
    assert scores.mvcs > 0.9
    assert scores.psnr > worldr1.score(clip.video.roll(1, 0), camera=asked, reconstructor=rebuild).psnr


def test_score_reads_depth_anything_from_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tiny random network in the published form; what it sees is nonsense, and every number is there."""
    pytest.importorskip("depth_anything_3")
    from benchmarks.random_models.depth import tiny_network
    from safetensors.torch import save_model
    from torch.nn import ModuleDict

    from worldr1.reconstruction import da3_loading

    (tmp_path / "config.json").write_text('{"model_name": "da3-small"}')
    save_model(ModuleDict({"model": tiny_network(seed=1)}), str(tmp_path / "model.safetensors"))
    built = tiny_network(seed=2)
    monkeypatch.setattr(da3_loading, "build_network", lambda variant: built)
    clip = render_clip(sample_scene(np.random.default_rng(3)), Trajectory.from_moves(("push in",), 4))
    file = encode(tmp_path / "a.mkv", [(f.permute(1, 2, 0) * 255).byte().numpy() for f in clip.video])
    capsys.readouterr()  # what upstream said when it was imported
    words = ["score", str(file), "--camera", "push in", "--backend", "da3", "--weights", str(tmp_path), "--json"]
    assert main(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["backend"] == "da3"
    row = document["videos"][0]
    assert row["error"] is None
    assert all(row[name] is not None for name in ("rot_err", "trans_err", "traj", "confidence", "camera_travel"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--backend", "da3"], "the da3 backend needs --weights"),
        (["--weights", "DA3-BASE"], "the stereo backend has no weights"),
        (["--backend", "da3", "--weights", "./nowhere"], "There is no directory ./nowhere"),
    ],
)
def test_wrong_weights_are_told(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "a.mp4", *words]) == 1
    assert told in capsys.readouterr().err


def test_a_backend_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'worldr1\[colmap\]'"):
        load_backend("colmap")
