"""`worldr1 tinyworld modes`: a name that no picture can have is told before anything is sampled."""

from __future__ import annotations

from pathlib import Path

import pytest

from worldr1.cli.main import main


def test_a_picture_without_an_ending_is_told_before_sampling(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def sampled(*parts: object) -> None:
        raise AssertionError("sampled")

    monkeypatch.setattr("worldr1.evaluation.samples.sample_modes", sampled)
    assert main(["tinyworld", "modes", "--out", str(tmp_path / "modes")]) == 1
    assert f"{tmp_path / 'modes'} has no ending of a picture; give one such as {tmp_path / 'modes.png'}" in (
        capsys.readouterr().err.replace("\n", " ")
    )
