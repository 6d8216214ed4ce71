"""Every numbered example runs as it stands, in an empty directory, and says what its page promises."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SAYS = {
    "01_camera": r"moves: \('orbit left', 'push in'\)",
    "02_noise": r"strength 0\.0: .* path -?0\.0\d\n",
    "03_generate_and_score": r"S_recon 0\.\d\d, PSNR \d\d\.\d dB, S_traj [01]\.\d\d",
    "04_rebuild": r"in truth 0\.35",
    "05_write_a_reward": r'"reward/colourful": 0\.\d+',
    "06_policy_adapter": r"latents \[2, 4, 5, 8, 8\] videos \[2, 17, 3, 64, 64\]",
    "07_camera_move": r"S_traj [01]\.\d\d; the camera turned by \d+ degrees",
}
FILES = {"01_camera": "01_path.png", "03_generate_and_score": "03_video.mp4", "04_rebuild": "04_scene/scene.ply"}


def test_examples_are_numbered_and_listed() -> None:
    names = sorted(path.name for path in EXAMPLES.glob("*.py"))
    assert [name[:2] for name in names] == [f"{k:02d}" for k in range(1, len(names) + 1)]
    assert {name.removesuffix(".py") for name in names} == set(SAYS)
    listed = re.findall(r"\((\d\d_\w+\.py)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8"))
    assert listed == names


@pytest.mark.parametrize("name", SAYS)
def test_example(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "4000")
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert re.search(SAYS[name], said), said
    if name in FILES:
        assert (tmp_path / FILES[name]).stat().st_size > 1000
