"""Launch files start what they say, with options that exist."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from worldr1 import __version__
from worldr1.cli.main import main
from worldr1.recipes import Recipe, load_recipe, save_recipe
from worldr1.rl import launch
from worldr1.rl.launch import changes

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
