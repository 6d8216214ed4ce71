"""The command line: quick help, one sentence for every error, and exit codes that mean something."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from worldr1.cli.main import SUMMARIES, commands, main


def test_help_is_quick_and_names_every_installed_command() -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "worldr1.cli.main", "--help"], capture_output=True, text=True, check=True
    )
    assert time.monotonic() - started < 1.5
    assert all(f"  {name} " in done.stdout for name in commands())
    assert done.stderr == ""


def test_neither_help_nor_the_package_imports_torch() -> None:
    code = "import sys, worldr1, worldr1.cli.main as m; m.main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_no_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage" in capsys.readouterr().out


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert capsys.readouterr().err == "worldr1: unknown command 'trian'; did you mean 'train'?\n"


@pytest.mark.parametrize(
    "words",
    [
        ["train", "no-such-recipe"],
        ["train", "--resume", "no-such-run"],
        ["generate", "a box", "--model", "no-such-model"],
        ["score", "no-such-file.mp4"],
    ],
)
def test_what_is_missing_is_told_in_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("worldr1: ")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("words", [["train"], ["generate", "a box"], ["score", "a.mp4"], ["doctor"]])
def test_an_unknown_option_is_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*words, "--no-such-option"])
    assert caught.value.code == 2
    assert "no-such-option" in capsys.readouterr().err


def test_interruption_has_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("worldr1.cli.main._run", interrupted)
    assert main(["doctor"]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn"), 'pip install "worldr1[serve]"'),
        (ImportError("it needs evo; install with: pip install evo"), "missing: it needs evo; install with: pip in"),
    ],
)
def test_a_missing_package_is_one_sentence_for_every_command(
    error: ImportError, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*_: object) -> int:
        raise error

    monkeypatch.setattr("worldr1.cli.main._run", missing)
    assert main(["evaluate", "run"]) == 1
    shown = capsys.readouterr().err
    assert told in shown
    assert shown.count("\n") == 1


def test_a_broken_import_of_our_own_is_no_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise ImportError("cannot import name 'x' from 'worldr1.rl'", name="worldr1.rl")

    monkeypatch.setattr("worldr1.cli.main._run", broken)
    with pytest.raises(ImportError):
        main(["doctor"])


def test_every_command_module_defines_its_function() -> None:
    import importlib

    for name in commands():
        module = importlib.import_module(f"worldr1.cli.{name}")
        assert callable(getattr(module, "parse", None) or getattr(module, name))
    assert set(commands()) <= set(SUMMARIES)


def test_doctor_prints_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == (0 if document["healthy"] else 1)
    states = {finding["subject"]: finding for finding in document["findings"]}
    assert states["Python"]["state"] == "ok"
    assert all(finding["state"] == "ok" or finding["remedy"] for finding in document["findings"])


def test_doctor_tells_what_mends_a_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    from worldr1.cli import examination

    monkeypatch.setattr(examination.importlib.util, "find_spec", lambda name: None)
    finding = examination._library("numba")
    assert (finding.state, finding.remedy, finding.needed) == ("missing", "pip install numba", True)


def test_tinyworld_path_is_a_directory_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tinyworld", "path"]) == 0
    assert Path(capsys.readouterr().out.strip()).parts[-3:] == ("tinyworld", "weights", "pipeline")


def test_tinyworld_build_hands_on_its_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from worldr1.tinyworld import build as module

    calls = []

    def rebuild(work: Path, output: Path, settings: module.BuildSettings, report: Callable[[str, float], None]) -> None:
        calls.append((work, output, settings.seed, settings.device))
        for done in range(101):
            report("rendering", done / 100)

    monkeypatch.setattr(module, "build", rebuild)
    words = ["--out", str(tmp_path / "o"), "--work", str(tmp_path / "w"), "--seed", "3", "--device", "cpu"]
    assert main(["tinyworld", "build", *words]) == 0
    assert calls == [(tmp_path / "w", tmp_path / "o", 3, "cpu")]
    assert capsys.readouterr().err.count("rendering") == 21
