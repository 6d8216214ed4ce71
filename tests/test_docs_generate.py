"""The examples of docs/generate.md and docs/look.md run as they stand, with a small random pipeline as "tiny"."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import worldr1
from worldr1.camera.trajectory import Trajectory

DOCS = Path(__file__).parent.parent / "docs"


def _examples(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch, tiny_pipeline: Any) -> None:
    monkeypatch.setattr(worldr1, "load_pipeline", lambda name: tiny_pipeline, raising=False)


def test_a_camera_and_the_better_of_two_from_python() -> None:
    names: dict[str, Any] = {}
    exec(_examples("generate.md")[0], names)
    assert names["video"].shape == (17, 3, 64, 64)


def test_any_wan_pipeline_takes_the_latents() -> None:
    example = _examples("generate.md")[1]
    made = {}
    for words in ("camera orbit left", "camera orbit right"):
        names: dict[str, Any] = {}
        exec(example.replace("camera orbit left", words), names)
        made[words] = names["video"]
    left, right = made.values()
    assert left.shape == (17, 3, 64, 64)
    assert not torch.equal(left, right)
    assert names["latents"].shape == (1, 4, 5, 8, 8)
    assert len([line for line in example.splitlines() if line]) == 6


def test_the_pipelines_own_call_nearly_agrees_with_generate(tiny_pipeline: Any) -> None:
    """Not quite: diffusers' schedule ends at another sigma. The gap is small against that to another seed."""
    names: dict[str, Any] = {}
    exec(_examples("generate.md")[1], names)
    camera = Trajectory.from_moves(("orbit left",), 17)
    how: dict[str, Any] = {"camera": camera, "height": 64, "width": 64, "steps": 10, "guidance": 1.0, "strength": 0.7}
    same, other = (worldr1.generate(tiny_pipeline, "a red box", seed, **how) for seed in (0, 1))
    gaps = [float((video - names["video"]).square().mean().sqrt()) for video in (same, other)]
    assert gaps[0] < 0.4 * gaps[1], gaps


def test_a_scene_is_exported_and_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import numpy as np

    from worldr1.tinyworld import render_clip, sample_scene

    pytest.importorskip("viser")
    path = Trajectory.from_moves(("orbit left",), 5)
    video = render_clip(sample_scene(np.random.default_rng(3)), path).video
    asked: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.input", asked.append)
    exec(_examples("look.md")[0], {"video": video})
    assert asked[0].startswith("http://127.0.0.1:")
    assert (tmp_path / "scene" / "images" / "000004.png").is_file()
