"""Launch files start what they say, with options that exist."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from worldr1 import __version__
from worldr1.cli.main import main
from worldr1.recipes import Recipe, load_recipe, save_recipe
from worldr1.rl import launch
from worldr1.rl.launch import changes
from worldr1.rl.preemption import SIGNALS

_LAUNCH = Path(__file__).resolve().parents[1] / "launch"


@pytest.fixture
def job() -> dict[str, Any]:
    return yaml.safe_load((_LAUNCH / "kuberay.yaml").read_text())["spec"]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Recipe, Path, bool]]:
    calls: list[tuple[Recipe, Path, bool]] = []
    monkeypatch.setattr(
        launch, "_train", lambda recipe, run, world, resume, _: calls.append((recipe, run.root, resume))
    )
    return calls


def words_of(entrypoint: str, data: Path) -> list[str]:
    """What the entrypoint, run by a shell with /data elsewhere, hands to `worldr1`."""
    stub = data / "bin" / "worldr1"
    stub.parent.mkdir()
    stub.write_text("#!/usr/bin/env python3\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    stub.chmod(0o755)
    command = shlex.split(entrypoint.replace("/data", str(data)))
    path = f"{stub.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PATH": path})
    return list(json.loads(done.stdout))


def test_kuberay_begins_a_run_with_rewards_in_a_pool(
    job: dict[str, Any], trained: list[tuple[Recipe, Path, bool]], tmp_path: Path
) -> None:
    assert main(words_of(job["entrypoint"], tmp_path)) == 0
    [(recipe, root, resume)] = trained
    assert (root, resume) == (tmp_path / "runs" / "small", False)
    assert recipe.pool.kind == "ray"
    assert all(name.startswith("pool.") for name in changes(recipe, load_recipe("world-r1-small")))


def test_kuberay_goes_on_with_a_run_that_exists(
    job: dict[str, Any], trained: list[tuple[Recipe, Path, bool]], tmp_path: Path
) -> None:
    root = tmp_path / "runs" / "small"
    root.mkdir(parents=True)
    save_recipe(load_recipe("tiny"), root / "recipe.yaml")
    assert main(words_of(job["entrypoint"], tmp_path)) == 0
    assert trained == [(load_recipe("tiny"), root, True)]


def test_kuberay_has_room_for_the_trainer_and_for_the_workers_it_asks_for(
    job: dict[str, Any], trained: list[tuple[Recipe, Path, bool]], tmp_path: Path
) -> None:
    assert main(words_of(job["entrypoint"], tmp_path)) == 0
    pool = trained[0][0].pool
    cluster = job["rayClusterSpec"]
    [group] = cluster["workerGroupSpecs"]
    pods = [cluster["headGroupSpec"]["template"]["spec"], group["template"]["spec"]]
    for pod in pods:
        [container] = pod["containers"]
        assert container["image"].endswith(f"worldr1:{__version__}")
        assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/data"]
        assert [mount["name"] for mount in container["volumeMounts"]] == [volume["name"] for volume in pod["volumes"]]
    head, worker = (pod["containers"][0]["resources"]["limits"] for pod in pods)
    assert int(head["nvidia.com/gpu"]) == 1
    assert cluster["headGroupSpec"]["rayStartParams"]["num-gpus"] == "0"
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for pods_there, workers in ((group["minReplicas"], pool.workers[0]), (group["maxReplicas"], pool.workers[1])):
        assert workers * pool.gpus <= pods_there * int(worker["nvidia.com/gpu"])
        assert workers * pool.cpus <= pods_there * int(worker["cpu"])


def test_kuberay_asks_the_trainer_to_save_and_waits_for_it_before_the_head_is_stopped(
    job: dict[str, Any], tmp_path: Path
) -> None:
    head = job["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert head["terminationGracePeriodSeconds"] >= 600
    hook = head["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    command = [word.replace("/data", str(tmp_path)) for word in hook]
    (tmp_path / "runs" / "small").mkdir(parents=True)
    trainer = subprocess.Popen(
        [sys.executable, "-c", _TRAINER], cwd=tmp_path / "runs" / "small", stdout=subprocess.PIPE, text=True
    )
    assert trainer.stdout is not None
    assert trainer.stdout.readline() == "held\n"
    assert subprocess.run(command).returncode == 0
    assert (tmp_path / "runs" / "small" / "saved").exists()
    assert trainer.wait() == 75
    assert subprocess.run(command).returncode == 0


_TRAINER = """
import fcntl, os, signal, sys, time
lock = open(".lock", "a+")
fcntl.flock(lock, fcntl.LOCK_EX)
lock.write(str(os.getpid()))
lock.flush()
def stop(*_):
    time.sleep(0.2)
    open("saved", "w").close()
    sys.exit(75)
signal.signal(signal.SIGUSR1, stop)
print("held", flush=True)
signal.pause()
"""


class Slurm:
    """A directory in which `launch/slurm.sh` finds programs that tell what they were asked, and end as told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, lines in {
            "srun": 'shift\nSLURM_PROCID=3 SLURM_LOCALID=1 SLURM_NTASKS=16 exec "$@"',
            "scontrol": 'if [ "$1" = show ]; then echo node-1; echo node-2; else echo "$@" >> scontrol.txt; fi',
            "python": 'echo "$RANK $LOCAL_RANK $WORLD_SIZE $MASTER_ADDR $TORCHELASTIC_RUN_ID $*" > told\nexit $CODE',
        }.items():
            (root / name).write_text(f"#!/bin/bash\n{lines}\n")
            (root / name).chmod(0o755)

    def submit(self, *words: str, code: int = 0) -> tuple[int, str]:
        """The job's exit code and what each of its processes was told."""
        known = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node-[1-2]", "CODE": str(code)}
        environment = {**os.environ, **known, "PATH": f"{self.root}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(["bash", str(_LAUNCH / "slurm.sh"), *words], cwd=self.root, env=environment)
        return done.returncode, (self.root / "told").read_text().strip()

    @property
    def asked(self) -> list[str]:
        """What the scheduler was asked to do."""
        path = self.root / "scontrol.txt"
        return path.read_text().splitlines() if path.exists() else []


def test_slurm_queues_a_preempted_run_again_and_goes_on_with_it(tmp_path: Path) -> None:
    slurm = Slurm(tmp_path)
    train = "3 1 16 node-1 7 -m worldr1.cli.main train"
    assert slurm.submit("tiny", "--seed", "2", code=75) == (75, f"{train} tiny --seed 2 --run runs/slurm-7")
    assert slurm.asked == ["requeue 7"]
    (tmp_path / "runs" / "slurm-7").mkdir(parents=True)
    (tmp_path / "runs" / "slurm-7" / "recipe.yaml").touch()
    assert slurm.submit("tiny", "--seed", "2") == (0, f"{train} --resume runs/slurm-7")
    assert slurm.submit("--resume", "runs/other", code=1) == (1, f"{train} --resume runs/other")
    assert slurm.asked == ["requeue 7"]


def test_slurm_sends_a_signal_that_the_trainer_hears() -> None:
    [line] = [line for line in (_LAUNCH / "slurm.sh").read_text().splitlines() if line.startswith("#SBATCH --signal=")]
    name, _, seconds = line.removeprefix("#SBATCH --signal=").partition("@")
    assert signal.Signals[f"SIG{name}"] in SIGNALS
    assert int(seconds) >= 600
