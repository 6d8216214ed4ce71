"""Weights that are not here: told at once with the command that gets them, and nothing is asked of the network."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from worldr1.cli.main import main
from worldr1.rewards.hpsv3 import HPSv3Reward
from worldr1.rewards.qwen_judge import QwenJudge

WAN = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"


@pytest.fixture(autouse=True)
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache of the hub, and no way to it."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["generate", "a box", "--model", WAN], f"hf download {WAN}"),
        (["generate", "a box", "--model", "wan2.1-t2v-1.3b-diffusers"], f"hf download {WAN}"),
        (["generate", "a", "--best-of", "2", "--judge", "world-r1-small"], "hf download Qwen/Qwen3-VL-8B-Instruct"),
        (["evaluate", WAN], f"hf download {WAN}"),
        (["evaluate", "tiny", "--against", WAN], f"hf download {WAN}"),
        (["score", "a.mp4", "--backend", "da3", "--weights", "DA3-BASE"], "hf download depth-anything/DA3-BASE"),
    ],
)
def test_one_sentence_with_the_command(
    words: list[str],
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("another model was loaded first")

    monkeypatch.setattr("worldr1.pipelines._loaded", loaded)
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("worldr1: ")
    assert captured.err.count("\n") == 1
    assert f"get it with: {command}" in captured.err


@pytest.mark.parametrize(
    ("load", "command"),
    [
        (lambda: QwenJudge.from_pretrained("Qwen/Qwen3-VL-8B-Instruct"), "hf download Qwen/Qwen3-VL-8B-Instruct"),
        (lambda: HPSv3Reward.from_pretrained("MizzenAI/HPSv3"), "hf download MizzenAI/HPSv3"),
    ],
)
def test_the_library_asks_no_network_either(load: Callable[[], object], command: str) -> None:
    with pytest.raises(FileNotFoundError, match=command):
        load()


def test_a_start_that_fails_leaves_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert main(["train", "--model.path", WAN]) == 1
    assert list((tmp_path / "runs").iterdir()) == []
    (tmp_path / "runs" / "mine").mkdir()
    assert main(["train", "--model.path", WAN, "--run", "runs/mine"]) == 1
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["mine"]
    assert f"get it with: hf download {WAN}" in capsys.readouterr().err
