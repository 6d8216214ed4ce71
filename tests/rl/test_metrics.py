"""Metrics: valid JSON whatever the values, and a cut-off run goes on without doubled steps."""

from __future__ import annotations

import math
import resource
from pathlib import Path

import pytest

from worldr1.rl.metrics import MetricsWriter, read_metrics


def test_records_come_back_and_nan_is_null(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as metrics:
        metrics.write("train", 0, {"reward": 0.1 + 0.2, "meta": math.nan, "phase": "main"})
        metrics.write("evaluation", 0, {"reward": 1})
    assert read_metrics(path) == [
        {"kind": "train", "step": 0, "reward": 0.1 + 0.2, "meta": None, "phase": "main"},
        {"kind": "evaluation", "step": 0, "reward": 1},
    ]
    assert [record["reward"] for record in read_metrics(path, kind="evaluation")] == [1]


def test_a_new_run_starts_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "train", "step": 9}\n')
    MetricsWriter(path).close()
    assert read_metrics(path) == []


def test_resuming_drops_later_steps_and_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as metrics:
        for step in range(5):
            metrics.write("train", step, {"x": step})
    with path.open("a") as file:
        file.write('{"kind": "tra')
    with MetricsWriter(path, resume_at=3) as metrics:
        metrics.write("train", 3, {"x": -3})
    assert [(record["step"], record["x"]) for record in read_metrics(path)] == [(0, 0), (1, 1), (2, 2), (3, -3)]


def test_resuming_leaves_kept_lines_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as metrics:
        metrics.write("train", 0, {"x": 1e-7 / 3, "y": None, "z": "ä"})
        metrics.write("train", 1, {"x": 2.0})
    before = path.read_bytes().splitlines()[0]
    MetricsWriter(path, resume_at=1).close()
    assert path.read_bytes().splitlines() == [before]


def test_a_damaged_line_in_the_middle_is_told(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "train", "step": 0}\nrubbish\n{"kind": "train", "step": 1}\n')
    with pytest.raises(ValueError, match="line 2"):
        read_metrics(path)


def test_a_line_that_does_not_fit_is_taken_back_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with MetricsWriter(path) as metrics:
        metrics.write("train", 0, {"x": 1})
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, hard))
        try:
            with pytest.raises(OSError, match="too large"):
                metrics.write("train", 1, {"x": 2})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == '{"kind": "train", "step": 0, "x": 1}\n'


def test_tensorboard_holds_the_same_scalars(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with MetricsWriter(tmp_path / "metrics.jsonl", tmp_path / "tensorboard") as metrics:
        for step in range(3):
            metrics.write("train", step, {"reward/total": step / 7, "phase": "main", "reward/meta": math.nan})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert events.Tags()["scalars"] == ["train/reward/total"]
    values = [event.value for event in events.Scalars("train/reward/total")]
    assert values == pytest.approx([step / 7 for step in range(3)], rel=1e-6)
