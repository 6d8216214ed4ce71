"""The reward from actors of a real Ray cluster on this machine; some are killed and frozen while they score."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from unsteady_workers import equal

from tiny_clips import truth_and_spoilt
from worldr1.recipes import Recipe, load_recipe
from worldr1.recipes.pool import PoolSettings
from worldr1.rewards.compose import InBatches
from worldr1.rewards.pool.messages import Request
from worldr1.rewards.registry import build_composer
from worldr1.rewards.types import Sample
from worldr1.rl.launch import start
from worldr1.rl.metrics import read_metrics

ray = pytest.importorskip("ray", reason='needs pip install "worldr1[ray]"')

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

_FAULTS = (None, signal.SIGKILL, None, signal.SIGKILL, signal.SIGSTOP)
"""What befalls the worker that has just got the first batch, the second, ..."""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(address="local", num_cpus=4, include_dashboard=False, logging_level="warning")
    yield
    ray.shutdown()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many as a worker has: the last bit of a matrix product depends on it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_killed_and_frozen_actors_change_no_score(
    cluster: None, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from worldr1.rewards.pool.ray_workers import RayWorkers, ray_pool

    clean, spoilt, asked = truth_and_spoilt([("orbit left",), ("push in",), ("pan right",), ("pull left",)], seed=3)
    samples = [
        Sample(clip.video, clip.prompt, path) for clip, path in zip([*clean, *spoilt], [*asked, *asked], strict=True)
    ]
    hit: list[tuple[int, int]] = []
    sent = iter(_FAULTS)
    send = RayWorkers.send

    def unkind(self: RayWorkers, worker: int, request: Request) -> None:
        send(self, worker, request)
        fault = next(sent, None)
        if fault is not None:
            os.kill(self.processes[worker], fault)
            hit.append((fault, self.processes[worker]))

    monkeypatch.setattr(RayWorkers, "send", unkind)
    reward = load_recipe("tiny").reward
    settings = {"kind": "ray", "batch": 2, "workers": [2, 2], "timeout": 60, "apart": [{"reward": "general"}]}
    pool, local = ray_pool(reward, PoolSettings.model_validate(settings)), InBatches(build_composer(reward), 2)
    for use_3d in (True, False, True):
        scores, expected = pool(samples, use_3d), local(samples, use_3d)
        assert equal(scores.components, expected.components)
        assert equal({"total": scores.total}, {"total": expected.total})
        assert bool(scores.total.isfinite().any())
    assert [fault for fault, _ in hit] == [fault for fault in _FAULTS if fault is not None]
    assert _all_gone([process for _, process in hit])
    pool.close()


def test_a_training_run_whose_workers_are_killed_at_random_writes_the_metrics_of_one_without_them(
    cluster: None, one_thread: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from worldr1.rewards.pool.ray_workers import RayWorkers

    rng, killed = random.Random(5), []
    send = RayWorkers.send

    def deadly(self: RayWorkers, worker: int, request: Request) -> None:
        send(self, worker, request)
        if rng.random() < 0.3:
            os.kill(self.processes[worker], signal.SIGKILL)
            killed.append(self.processes[worker])

    monkeypatch.setattr(RayWorkers, "send", deadly)
    tiny = load_recipe("tiny").model_dump()
    tiny["schedule"] |= {"total_steps": 3, "main_steps": 2, "dynamic_steps": 1, "groups": 2, "group_size": 4}
    tiny["evaluation"] |= {"every": 0, "prompts": 2, "videos": 0}
    tiny["preserve"] |= {"weight": 0.0}
    tiny["sampling"] |= {"micro_batch": 2}
    metrics = []
    for name, pool in (
        ("local", {"batch": 2}),
        ("ray", {"batch": 2, "kind": "ray", "workers": [2, 3], "attempts": 20}),
    ):
        start(Recipe.model_validate({**tiny, "pool": pool}), tmp_path / name)
        rows = read_metrics(tmp_path / name / "metrics.jsonl")
        metrics.append([{key: row[key] for key in row if not key.startswith("time/")} for row in rows])
    assert len(metrics[0]) == 5
    assert metrics[0] == metrics[1]
    assert len(killed) >= 4


def test_a_worker_that_cannot_have_its_models_ends_the_run_with_the_reason(cluster: None) -> None:
    from worldr1.rewards.pool.ray_workers import ray_pool

    reward = load_recipe("tiny").reward.model_copy(update={"critics": "/none"})
    pool = ray_pool(reward, PoolSettings.model_validate({"kind": "ray", "batch": 2, "attempts": 1}))
    clean, _, asked = truth_and_spoilt([("push in",)], seed=3)
    with pytest.raises(ChildProcessError, match=r"FileNotFoundError.*none"):
        pool([Sample(clean[0].video, clean[0].prompt, asked[0])])


def _all_gone(processes: list[int], seconds: float = 60.0) -> bool:
    """Whether processes end, also those that were frozen; Ray sends them the signal a little later."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(os.path.exists(f"/proc/{process}") for process in processes):
            return True
        time.sleep(0.2)
    return False
