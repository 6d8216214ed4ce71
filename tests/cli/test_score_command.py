"""`worldr1 score` over many files: table, CSV and JSON, and one bad file among good ones."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from odd_videos import clip, encode, images
from worldr1.cli.main import main


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    place = tmp_path_factory.mktemp("videos")
    (place / "note.mp4").write_text("not a video", encoding="utf-8")
    good = encode(place / "[red] orbit.mkv", images(clip(frames=9)))
    return [good, place / "note.mp4", encode(place / "still.mkv", images(clip(("fixed",), frames=5)))]


def test_a_bad_file_is_told_and_the_others_are_scored(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "scores.csv"
    assert main(["score", *map(str, files), "--camera", "orbit left", "--csv", str(table), "--json"]) == 1
    captured = capsys.readouterr()
    assert (
        captured.err == f"worldr1: {files[1]}: it cannot be read as a video: Invalid data found when processing input\n"
    )
    rows = json.loads(captured.out)["videos"]
    assert [row["video"] for row in rows] == [str(file) for file in files]
    assert [row["error"] is None for row in rows] == [True, False, True]
    assert rows[0]["traj"] > 0.5 > rows[2]["traj"]
    assert rows[0]["frames"] == {"used": list(range(9)), "times": [k / 8 for k in range(9)], "of": 9}
    assert {name: len(curve) for name, curve in rows[0]["curves"].items()} == dict.fromkeys(rows[0]["curves"], 9)
    lines = list(csv.DictReader(table.open(encoding="utf-8", newline="")))
    assert [line["video"] for line in lines] == [str(file) for file in files]
    assert float(lines[0]["recon"]) == rows[0]["recon"]
    assert lines[1]["recon"] == ""
    assert "cannot be read" in lines[1]["error"]
    assert "still camera" in lines[2]["warnings"]
    assert lines[2]["frames_total"] == "5"


def test_the_table_has_a_line_for_each_scored_file_and_warnings_below(
    files: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["score", str(files[0]), str(files[2])]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["video", "frames", "total", "recon"]
    assert [line.startswith(str(file)) for line, file in zip(lines, (files[0], files[2]), strict=False)] == [True, True]
    assert lines[2].startswith(f"{files[2]}: no camera motion")
    assert len(lines) == 3


def test_in_a_narrow_window_no_number_is_cut(
    files: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["score", str(files[0]), str(files[0]), "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)["videos"][0]
    assert main(["score", str(files[0])]) == 0
    name, *lines = capsys.readouterr().out.splitlines()
    assert name == str(files[0])
    assert all(line.startswith("  ") and len(line) <= 80 for line in lines)
    told = " ".join(lines).split()
    for score in ("total", "recon", "psnr", "coverage", "sharpness"):
        assert told[told.index(score) + 1] == f"{numbers[score]:.3f}"
    assert "\N{HORIZONTAL ELLIPSIS}" not in " ".join(lines)


def test_the_leaderboard_has_a_row_for_each_scored_file(files: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "board.html"
    assert main(["score", *map(str, files), "--camera", "orbit left", "--page", str(page)]) == 1
    text = page.read_text(encoding="utf-8")
    assert text.index(f'data-text="{files[0]}"') < text.index(f'data-text="{files[2]}"')
    assert text.count('<img alt="middle frame" src="data:image/png;base64,') == 2
    assert "cannot be read as a video" in text
    assert "9 frames of 64x48" in text


def test_asked_moves_follow_the_times_of_the_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Frames taken at uneven times from an even motion still show the camera that was asked for."""
    kept = [0, 1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32]
    pictures = images(clip(("move left",), frames=33)[kept])
    timed = encode(tmp_path / "a.mkv", pictures, stamps=[10 * k for k in kept])
    even = encode(tmp_path / "b.mkv", pictures)
    assert main(["score", str(timed), str(even), "--camera", "move left", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["videos"]
    assert rows[0]["trans_err"] < 0.5 * rows[1]["trans_err"]
    assert rows[0]["traj"] > rows[1]["traj"]
