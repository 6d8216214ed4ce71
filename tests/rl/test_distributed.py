"""One, two and four processes, with whole or spread weights: the same metrics, and any number goes on with a run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cluster import Job, recipe_of, write_jobs
from safetensors.torch import load_file
from toy import toy_trainer

from worldr1.rl.checkpoint import list_checkpoints, load_checkpoint
from worldr1.rl.distributed import World
from worldr1.rl.metrics import TIME_PREFIX, read_metrics
from worldr1.rl.run import RunDirectory

_HERE = Path(__file__).parent


def _run(folder: Path, jobs: list[Job]) -> None:
    """All jobs, one after another; a failed process ends them with its traceback."""
    write_jobs(folder / "jobs.json", jobs)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(_HERE / "cluster.py"), str(folder / "jobs.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


def _same_metrics(first: Path, second: Path) -> None:
    one, other = (read_metrics(path / "metrics.jsonl") for path in (first, second))
    assert len(one) == len(other) > 20
    for left, right in zip(one, other, strict=True):
        assert left.keys() == right.keys()
        timeless = {key: value for key, value in left.items() if not key.startswith(TIME_PREFIX)}
        for key, value in timeless.items():
            close = pytest.approx(value, rel=1e-5, abs=1e-5) if isinstance(value, float) else value
            assert right[key] == close, f"step {left['step']} of {second.name}: {key}"


def _same_weights(first: Path, second: Path) -> None:
    one, other = (load_checkpoint(list_checkpoints(path / "checkpoints")[-1]) for path in (first, second))
    assert one.tensors.keys() == other.tensors.keys()
    for name, tensor in one.tensors.items():
        torch.testing.assert_close(other.tensors[name], tensor, rtol=1e-4, atol=1e-5, msg=f"{second.name}: {name}")


def _compare(folder: Path, base: Job, others: list[Job]) -> None:
    """Runs against `base`, by one process; then the first of two processes, cut short, goes on with one and four."""
    reference = replace(base, run=str(folder / "one"), size=1)
    whole = [replace(job, run=str(folder / f"{job.strategy}-{job.size}")) for job in others]
    cut = replace(whole[0], run=str(folder / "cut"), total_steps=10)
    _run(folder, [reference, *whole, cut])
    resumed = []
    for size in (1, 4):
        job = replace(whole[0], run=str(folder / f"resumed-{size}"), size=size, resume=True)
        shutil.copytree(cut.run, job.run)
        resumed.append(job)
    _run(folder, resumed)
    for job in (*whole, *resumed):
        _same_metrics(Path(reference.run), Path(job.run))
        _same_weights(Path(reference.run), Path(job.run))
    videos = [{path.relative_to(job.run) for path in Path(job.run, "samples").rglob("*.mp4")} for job in whole]
    assert all(len(kept) == 2 * 4 for kept in videos)


@pytest.mark.parametrize("objective", ["nft", "grpo"])
def test_the_number_of_processes_changes_nothing(objective: str, tmp_path: Path) -> None:
    base = Job("", 1, objective=objective, scale="batch" if objective == "grpo" else "group")
    first, second = ("fsdp", "ddp") if objective == "nft" else ("ddp", "fsdp")
    others = [replace(base, size=2, strategy=first), replace(base, size=4, strategy=second)]
    _compare(tmp_path, base, others)
    saved = [load_file(tmp_path / run / "lora" / "toy.safetensors") for run in ("one", f"{first}-2", "resumed-4")]
    for name, tensor in saved[0].items():
        assert float((tensor - (0.5 if name == "scale" else 0.0)).abs().max()) > 1e-3
        for other in saved[1:]:
            torch.testing.assert_close(other[name], tensor, rtol=1e-4, atol=1e-5)


def test_groups_that_cannot_be_shared_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"schedule\.groups is 4, which 3 processes cannot share"):
        toy_trainer(recipe_of(Job("", 3)), RunDirectory(tmp_path), world=World(0, 3))


def test_a_process_alone_is_left_as_it_is() -> None:
    world, rows = World(), torch.arange(3)
    assert world.gather(rows) is rows
    assert world.bring(rows, owner=0) is rows
    assert world.agree({"a": 1}) == {"a": 1}
    assert world.share(5) == range(5)
    assert [World(rank, 3).share(5) for rank in range(3)] == [range(0, 2), range(2, 4), range(4, 6)]
