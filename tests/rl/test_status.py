"""What a run directory tells, whatever lies in it; nothing is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from toy import toy_recipe, toy_trainer

from worldr1.recipes import save_recipe
from worldr1.rl.checkpoint import Checkpoint, save_checkpoint
from worldr1.rl.metrics import MetricsWriter
from worldr1.rl.run import RunDirectory, writing
from worldr1.rl.status import list_runs, run_status

_HOLD = """
import sys, pathlib
from worldr1.rl.run import RunDirectory, writing
with writing(RunDirectory(pathlib.Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def made(root: Path, steps: int = 3, total: int = 8, max_minutes: float | None = None) -> RunDirectory:
    """A run directory after `steps` updates, with a checkpoint there and half a minute of training behind it."""
    run = RunDirectory(root)
    root.mkdir(parents=True)
    recipe = toy_recipe(total_steps=total)
    schedule = recipe.schedule.model_copy(update={"max_minutes": max_minutes})
    save_recipe(recipe.model_copy(update={"schedule": schedule}), run.recipe)
    with MetricsWriter(run.metrics) as metrics:
        metrics.write("evaluation", 0, {"reward/total": 0.25})
        for step in range(steps):
            metrics.write("train", step, {"phase": "main", "reward/total": 0.5 + step})
    save_checkpoint(run.checkpoints, Checkpoint(steps, {"w": torch.zeros(64)}, {"minutes": 0.5}))
    return run


def test_a_run_is_stopped_until_its_weights_are_written_after_the_last_step(tmp_path: Path) -> None:
    run = made(tmp_path / "run", steps=8)
    assert run_status(run.root).state == "stopped"
    run.lora.mkdir()
    assert run_status(run.root).state == "finished"
    made(tmp_path / "short", steps=3).lora.mkdir()
    assert run_status(tmp_path / "short").state == "stopped"


@pytest.mark.parametrize(("minutes", "state"), [(0.5, "finished"), (0.6, "stopped")])
def test_a_run_whose_time_is_over_is_finished(minutes: float, state: str, tmp_path: Path) -> None:
    made(tmp_path / "run", steps=3, max_minutes=minutes).lora.mkdir()
    assert run_status(tmp_path / "run").state == state


def test_a_trained_run_is_finished(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    with writing(run):
        save_recipe(toy_recipe(), run.recipe)
        toy_trainer(toy_recipe(), run).fit()
    status = run_status(run.root)
    assert (status.state, status.steps, status.total_steps, status.resumes_at) == ("finished", 8, 8, 8)


def test_progress_and_rewards_are_the_last_ones_told(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    (run.root / "evaluation.json").write_text('{"gap_closed": 0.37, "hacked": true}')
    status = run_status(run.root)
    assert (status.recipe, status.steps, status.total_steps, status.resumes_at) == ("toy", 3, 8, 3)
    assert (status.phase, status.reward, status.held_out) == ("main", 2.5, 0.25)
    assert (status.gap_closed, status.hacked) == (0.37, True)


def test_the_lock_tells_who_runs_and_is_left_alone(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(run.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    status = run_status(run.root)
    assert (status.state, status.process, status.recipe) == ("running", holder.pid, "toy")
    holder.kill()
    holder.communicate()
    assert (run_status(run.root).state, run_status(run.root).process) == ("stopped", None)


def test_a_run_that_has_not_written_its_recipe_yet_is_running(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    with writing(run):
        status = run_status(run.root)
    assert (status.state, status.process, status.recipe) == ("running", os.getpid(), None)
    assert run_status(run.root).state == "broken"


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


_DAMAGE: dict[str, Callable[[RunDirectory], object]] = {
    "recipe.yaml": lambda run: run.recipe.write_text("schedule: {totl_steps: 3}"),
    "metrics.jsonl, line 2": lambda run: run.metrics.write_text('{"kind": "train", "step": 0}\n3\n'),
    "metrics.jsonl: reward/total": lambda run: run.metrics.write_text('{"kind": "train", "reward/total": "x"}\n'),
    "state.safetensors is damaged": lambda run: _cut(run.checkpoints / "step-00000003" / "state.safetensors"),
    "state.json is damaged": lambda run: _cut(run.checkpoints / "step-00000003" / "state.json"),
    "state.json is missing": lambda run: (run.checkpoints / "step-00000003" / "state.json").unlink(),
    "evaluation.json: not a JSON object": lambda run: (run.root / "evaluation.json").write_text("[1]"),
    "decode": lambda run: run.metrics.write_bytes(b"\xff\xfe\n"),
    "no recipe.yaml": lambda run: run.recipe.unlink(),
}


@pytest.mark.parametrize("reason", _DAMAGE)
def test_damage_is_told_in_one_sentence(reason: str, tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    assert run_status(run.root).state == "stopped"
    _DAMAGE[reason](run)
    status = run_status(run.root)
    assert status.state == "broken"
    assert status.reason is not None
    assert reason in status.reason
    assert "\n" not in status.reason


def test_one_damaged_checkpoint_of_two_stops_nothing(tmp_path: Path) -> None:
    run = made(tmp_path / "run", steps=3)
    save_checkpoint(run.checkpoints, Checkpoint(5, {"w": torch.zeros(64)}, {"minutes": 0.5}))
    assert run_status(run.root).resumes_at == 5
    _cut(run.checkpoints / "step-00000005" / "state.safetensors")
    assert (run_status(run.root).state, run_status(run.root).resumes_at) == ("stopped", 3)


def test_half_a_last_line_is_no_damage(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    with run.metrics.open("a") as file:
        file.write(json.dumps({"kind": "train", "step": 3})[:-4])
    assert (run_status(run.root).state, run_status(run.root).steps) == ("stopped", 3)


def test_runs_are_listed_by_when_they_were_written_and_nothing_is_changed(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "older", "oldest")):
        os.utime(made(tmp_path / name).metrics, (1e9 - age, 1e9 - age))
    (tmp_path / "foreign").mkdir()
    (tmp_path / "notes.txt").touch()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    found = list_runs(tmp_path)
    assert [run.directory.name for run in found] == ["oldest", "older", "new", "foreign"]
    assert [run.state for run in found] == ["stopped", "stopped", "stopped", "broken"]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert list_runs(tmp_path / "new") == [found[2]]
    with pytest.raises(FileNotFoundError, match="no directory"):
        list_runs(tmp_path / "none")
