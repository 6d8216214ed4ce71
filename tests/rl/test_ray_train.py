"""Processes that Ray Train starts: the run of as many of torchrun, bit for bit, whatever ends them meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch.distributed as dist

from worldr1.cli.main import DONE, FAILED, PREEMPTED
from worldr1.rl.distributed import World, joined
from worldr1.rl.metrics import TIME_PREFIX, read_metrics

_STEPS = 6
_SMALL = (
    f"--schedule.total-steps {_STEPS} --schedule.groups 1 --schedule.group-size 4 --checkpoint.every 1 "
    "--evaluation.prompts 2 --preserve.samples 4 --preserve.per-step 2 --sampling.steps 2 --sampling.window-range 0 2 "
    "--reward.general-frames 2 --model.autocast dtype"
).split()


_TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--")


class _Running:
    """`worldr1 train` in a process of its own, or in those of torchrun."""

    def __init__(self, *words: str, by: tuple[str, ...] = ("-m",)) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        command = [sys.executable, *by, "worldr1.cli.main", "train", *words]
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def steps(self, run: Path, count: int) -> None:
        """Wait until so many are done."""
        while self.process.poll() is None and _done(run) < count:
            time.sleep(0.1)

    def end(self) -> tuple[int, str]:
        """The exit code and the last line of what it said."""
        _, said = self.process.communicate(timeout=400)
        return self.process.returncode, " ".join(said.rpartition("worldr1: ")[2].split()) or said


def _done(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    return len(read_metrics(metrics, "train")) if metrics.exists() else 0


def _timeless(run: Path) -> list[dict[str, object]]:
    records = read_metrics(run / "metrics.jsonl")
    return [{key: value for key, value in one.items() if not key.startswith(TIME_PREFIX)} for one in records]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_two_processes_of_ray_train_end_as_those_of_torchrun_whatever_ends_them(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason='needs pip install "worldr1[ray-train]"')
    reference, run = tmp_path / "torchrun", tmp_path / "ray"
    code, said = _Running("tiny", "--run", str(reference), *_SMALL, by=_TORCHRUN).end()
    assert code == DONE, said

    killed = _Running("tiny", "--run", str(run), "--ray-workers", "2", *_SMALL)
    killed.steps(run, 1)
    os.kill(int((run / ".lock").read_text()), signal.SIGKILL)
    code, said = killed.end()
    assert code == FAILED
    assert said == f"a process of Ray Train was lost; go on with `worldr1 train --resume {run}`"

    begun = _done(run)
    preempted = _Running("--resume", str(run), "--ray-workers", "2")
    preempted.steps(run, begun + 1)
    preempted.process.send_signal(signal.SIGTERM)
    code, said = preempted.end()
    assert code == PREEMPTED, said
    assert 0 < _done(run) < _STEPS
    assert (run / "checkpoints" / f"step-{_done(run):08d}").is_dir()

    code, said = _Running("--resume", str(run), "--ray-workers", "2").end()
    assert code == DONE, said
    assert _timeless(run) == _timeless(reference)
    assert {path.name for path in run.iterdir()} == {path.name for path in reference.iterdir()}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_is_wrong_is_told_in_the_sentence_of_a_process_alone(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason='needs pip install "worldr1[ray-train]"')
    odd = ["--ray-workers", "2", *_SMALL, "--schedule.group-size", "3"]
    code, said = _Running("tiny", "--run", str(tmp_path / "run"), *odd).end()
    assert code == FAILED
    assert said.startswith("a step has 3 videos")
    assert said.endswith("which 2 processes cannot share evenly; make it a multiple of 2")


def test_a_group_that_is_there_is_taken_and_left(tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        with joined() as world:
            assert world == World(0, 1)
        assert dist.is_initialized()
    finally:
        dist.destroy_process_group()
    with joined() as world:
        assert world == World()
