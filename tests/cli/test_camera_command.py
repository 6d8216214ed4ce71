"""``worldr1 camera`` as a function: output, files, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from worldr1.camera import Trajectory, read_trajectory
from worldr1.cli.camera import camera

PROMPT = "camera orbit left, then push in. a red box"


def test_json_is_one_document_and_nothing_else(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert camera(PROMPT, frames=9, json=True, export=tmp_path / "camera.txt") == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    expected = Trajectory.from_prompt(PROMPT, 9)
    assert document["prompt"] == PROMPT
    assert document["moves"] == ["orbit left", "push in"]
    assert document["frames"] == 9
    assert torch.equal(torch.tensor(document["c2w"]), expected.c2w)
    torch.testing.assert_close(read_trajectory(tmp_path / "camera.txt").c2w, expected.c2w, atol=1e-6, rtol=0)
    assert "Wrote" in captured.err


def test_text_names_the_moves(capsys: pytest.CaptureFixture[str]) -> None:
    assert camera(PROMPT) == 0
    assert "orbit left, then push in" in capsys.readouterr().out
    assert camera("a red box", frames=1) == 0
    assert "no camera words" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_plot_is_a_picture(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"path{suffix}"
    assert camera(PROMPT, plot=file) == 0
    assert file.read_bytes().startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")
    assert list(tmp_path.iterdir()) == [file]


def test_wrong_usage_is_two_and_says_why(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert camera(PROMPT, frames=0) == 2
    assert camera(PROMPT, json=True, export=tmp_path / "camera.ply") == 2
    (tmp_path / "file").touch()
    assert camera(PROMPT, export=tmp_path / "file" / "camera.json") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "at least 1 frame" in captured.err
    assert "must end in" in captured.err
    assert "Cannot write" in captured.err
