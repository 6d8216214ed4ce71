"""`worldr1 generate` on a small random pipeline: what is told, what is kept, and files that are made again."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest
import torch

from tiny_pipeline_parts import build_tiny_pipeline
from worldr1 import provenance
from worldr1.camera.fit import fit_trajectory
from worldr1.camera.io import write_trajectory
from worldr1.camera.trajectory import Trajectory
from worldr1.cli.main import main
from worldr1.policy.wan import LoraSettings, WanPolicy

PROMPT = "camera orbit left. a red box"
SMALL = ["--steps", "2", "--frames", "5", "--height", "32", "--width", "32"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "pipeline"
    build_tiny_pipeline().save_pretrained(str(path))
    return path


def _run(model: Path, out: Path, *words: str) -> provenance.Provenance:
    assert main(["generate", PROMPT, "-o", str(out), "--model", str(model), *SMALL, *words]) == 0
    return provenance.read(out)


def test_best_of_tells_all_seeds_and_the_file_can_be_made_again(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = _run(model, tmp_path / "a.mp4", "--best-of", "3", "--seed", "7", "--fps", "12")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[:3]] == ["7", "8", "9"]
    totals = [line.split()[3] for line in lines[:3]]
    best = max(range(3), key=lambda n: -9.0 if totals[n] == "nan" else float(totals[n]))
    assert f"kept seed {7 + best} of 3" in lines[3]
    assert (made.prompt, made.seed, made.best_of, made.fps, made.model) == (PROMPT, 7 + best, 3, 12, str(model))
    assert main(["generate", "--from", str(tmp_path / "a.mp4"), "-o", str(tmp_path / "b.mp4")]) == 0
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "a.mp4").read_bytes()
    other = _run(model, tmp_path / "c.mp4", "--seed", "3")
    assert other.weights == made.weights
    assert (tmp_path / "c.mp4").read_bytes() != (tmp_path / "a.mp4").read_bytes()


def test_other_programs_find_the_comment_and_the_pictures(model: Path, tmp_path: Path) -> None:
    made = _run(model, tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert json.loads(container.metadata["comment"]) == made.model_dump()
        assert len(list(container.decode(video=0))) == 5
        assert float(container.streams.video[0].average_rate or 0) == pytest.approx(8.0)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("name", ["path.json", "path.txt", "colmap"])
def test_a_camera_file_is_spread_over_the_frames(name: str, model: Path, tmp_path: Path) -> None:
    path = Trajectory.from_moves(("move right", "push in"), 23, fov=50.0)
    write_trajectory(path, tmp_path / name)
    made = _run(model, tmp_path / "a.mp4", "--trajectory", str(tmp_path / name), "--scene-depth", "2.5")
    camera = made.shot.camera
    torch.testing.assert_close(camera.c2w, fit_trajectory(path, 5, 2.5).c2w, atol=1e-5, rtol=0)
    assert camera.fov == pytest.approx(50.0, abs=1e-3)


def test_an_adapter_is_named_in_the_file_and_put_on_again(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = WanPolicy(build_tiny_pipeline(), max_sequence_length=32, lora=LoraSettings(2, 8.0))
    with torch.no_grad():
        for parameter in policy.trainable_parameters():
            parameter.add_(0.1)
    policy.save(tmp_path / "adapter")
    plain = _run(model, tmp_path / "plain.mp4")
    words = ("--lora", str(tmp_path / "adapter"))
    weak = _run(model, tmp_path / "weak.mp4", *words)
    styled = _run(model, tmp_path / "styled.mp4", *words, "--lora-scale", "1.5")
    assert (tmp_path / "weak.mp4").read_bytes() != (tmp_path / "styled.mp4").read_bytes()
    assert (styled.lora, weak.lora_scale, styled.lora_scale) == (str(tmp_path / "adapter"), 1.0, 1.5)
    assert styled.weights != plain.weights
    assert main(["generate", "--from", str(tmp_path / "styled.mp4"), "-o", str(tmp_path / "b.mp4")]) == 0
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "styled.mp4").read_bytes()
    capsys.readouterr()
    words = ["generate", "--from", str(tmp_path / "styled.mp4"), "--model", str(model), "-o", str(tmp_path / "c.mp4")]
    assert main(words) == 0
    assert "weights are not those of then" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give a prompt"),
        (["--from", "a.mp4", "--seed", "3"], "leave out --seed"),
        ([PROMPT, "--scene-depth", "2"], "goes with --trajectory"),
        ([PROMPT, "--judge", "tiny"], "goes with --best-of"),
        (["--from", "a.mp4", "--lora-scale", "2"], "leave out --lora-scale"),
    ],
)
def test_wrong_usage_is_told(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", *words]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--fps", "0"], ["--best-of", "0"], ["--strength", "2"], ["--frames", "6"]])
def test_bad_numbers_are_told(words: list[str], model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", PROMPT, "--model", str(model), *words]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("worldr1: ")
    assert words[1] in told


def test_files_that_say_nothing_are_told(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from worldr1.evaluation.video import write_video

    write_video(tmp_path / "silent.mp4", torch.rand(5, 3, 32, 32))
    (tmp_path / "note.mp4").write_text("not a video")
    told = {"silent": "does not say how it was made", "note": "cannot be read as a video", "none": "there is no file"}
    for name, sentence in told.items():
        assert main(["generate", "--from", str(tmp_path / f"{name}.mp4"), "-o", str(tmp_path / "b.mp4")]) == 1
        assert sentence in capsys.readouterr().err
    assert main(["generate", PROMPT, "--model", str(model), "--trajectory", str(tmp_path / "none.json")]) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_a_long_path_fits_into_the_comment(model: Path, tmp_path: Path) -> None:
    made = _run(model, tmp_path / "a.mp4")
    path = Trajectory.from_moves(("orbit left", "push in", "pan right"), 321)
    camera = json.loads(made.model_copy(update={"camera": json.loads(_text(path))}).model_dump_json())["camera"]
    provenance.attach(tmp_path / "a.mp4", made.model_copy(update={"camera": camera}))
    assert torch.equal(provenance.read(tmp_path / "a.mp4").shot.camera.c2w, path.c2w)


def _text(path: Trajectory) -> str:
    from worldr1.camera.formats import to_json

    return to_json(path)
