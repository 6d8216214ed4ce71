"""The load on the reward service: what counts as clean, how memory's growth is read, and a short run."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.loads import Load, by_minute, growth

ROOT = Path(__file__).resolve().parents[2]
GOOD = Load("full", None, 1.0, 3.0, 0.1, 0.2, {200: 3, 429: 1, 503: 2}, 0, {}, 0)


def test_only_scores_and_honest_refusals_are_clean() -> None:
    assert GOOD.clean
    changes = ({"wrong": 1}, {"lost": {"ReadError": 1}}, {"without_retry": 1}, {"statuses": {200: 3, 500: 1}})
    assert not any(replace(GOOD, **change).clean for change in changes)


def test_growth_is_read_after_the_start() -> None:
    start = [(float(second), 100.0 + 50 * second) for second in range(20)]
    later = [(float(second), 1000.0 + 0.05 * second) for second in range(20, 60)]
    assert growth(start + later) == pytest.approx(3.0)


def test_memory_by_the_minute_begins_and_ends_with_the_run() -> None:
    memory = [(float(second), 100.0 + second) for second in range(0, 200, 8)]
    assert by_minute(memory) == [(0.0, 100.0), (64.0, 164.0), (120.0, 220.0), (184.0, 284.0), (192.0, 292.0)]


@pytest.mark.slow
def test_a_short_run_has_no_wrong_or_lost_answer(tmp_path: Path) -> None:
    words = ["--minutes", "0.25", "--reward", "0.2", "--out", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "benchmarks.serve", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.json")
    content = json.loads(path.read_text())
    full, twice, limited = content["loads"]
    assert set(full["statuses"]) == {"200"}
    assert twice["statuses"]["503"] > 0
    assert limited["statuses"]["429"] > 0
    assert len(content["memory_mib"]) > 60
    assert path.with_suffix(".md").read_text().count("| twice") == 2
