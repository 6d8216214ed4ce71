"""The benchmark of two nodes: how far runs are apart, and what it calls efficient."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from benchmarks.two_nodes import Scaling, apart

_ROW = {"kind": "train", "step": 0, "loss": 1.0, "phase": "main", "time/total": 3.0}


def _run(root: Path, *rows: dict[str, object]) -> Path:
    root.mkdir()
    (root / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


@pytest.mark.parametrize(
    ("change", "distance"),
    [
        ({"time/total": 9.0}, 0.0),
        ({"loss": 1.25}, 0.25),
        ({"loss": None}, math.inf),
        ({"phase": "dynamic"}, math.inf),
        ({"more": 1.0}, math.inf),
    ],
)
def test_runs_are_as_far_apart_as_their_metrics(tmp_path: Path, change: dict[str, object], distance: float) -> None:
    one, other = _run(tmp_path / "one", _ROW, _ROW), _run(tmp_path / "other", _ROW, {**_ROW, **change})
    assert apart(one, other) == apart(other, one) == distance


def test_a_run_with_fewer_steps_is_another(tmp_path: Path) -> None:
    assert apart(_run(tmp_path / "one", _ROW), _run(tmp_path / "other", _ROW, _ROW)) == math.inf


def test_twice_the_videos_in_twice_the_time_is_half_efficient() -> None:
    scaling = Scaling(16, seconds=(2.0, 4.0), cpu=(2.0, 2.0), scored_on=(1, 1))
    assert (scaling.efficiency, scaling.cpu_efficiency) == (0.5, 1.0)
