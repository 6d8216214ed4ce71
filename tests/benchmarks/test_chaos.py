"""The chaos of a cluster: its plan, its reward, how it tells lost and swapped scores; and, slow, two hundred faults."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("ray", reason='needs pip install "worldr1[ray]"')

from benchmarks.chaos_plan import DAMAGE, ENDS, KINDS, MACHINES, REWARD, count, lives
from benchmarks.chaos_reward import FaultyComposer, Orders, PooledRecorded, Recorded, read_ledger
from benchmarks.chaos_runs import Intact, differences
from benchmarks.sandbox import obstacle

from worldr1.camera.trajectory import Trajectory
from worldr1.rewards.types import Sample, Scores
from worldr1.rl.checkpoint import Checkpoint, save_checkpoint

_ROOT = Path(__file__).resolve().parents[2]
_SAMPLES = [Sample(torch.full((1, 3, 2, 2), value), "", Trajectory.from_moves((), 1)) for value in (0.25, 0.5)]


def means(samples: Sequence[Sample], use_3d: bool = True) -> Scores:
    values = torch.stack([sample.video.mean() for sample in samples])
    return Scores({"general": values}, values)


class Pooled:
    """Scores when it is asked to finish."""

    seconds = 1.0

    def __init__(self) -> None:
        self._samples: list[Sample] = []

    def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
        return means(samples)

    @contextmanager
    def begin(self, use_3d: bool = True) -> Iterator[Pooled]:
        yield self

    def add(self, samples: Sequence[Sample]) -> None:
        self._samples += samples

    def finish(self) -> Scores:
        return means(self._samples)


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    (tmp_path / "orders").mkdir()
    return Orders(tmp_path / "orders")


@pytest.mark.parametrize("faults", [1, 60, 220])
def test_a_plan_has_every_kind_and_as_many_faults_as_asked(faults: int) -> None:
    planned = lives(faults, seed=3)
    assert count(planned).total() >= faults
    assert count(planned).keys() == KINDS.keys()
    assert {life.end for life in planned} == ENDS.keys()
    assert {kind for life in planned for kind in life.after} == DAMAGE.keys()
    assert {kind for life in planned for kind in life.during} == REWARD.keys() | MACHINES.keys()
    assert planned == lives(faults, seed=3) != lives(faults, seed=4)


def test_an_order_is_done_once_and_counted(orders: Orders) -> None:
    composer = FaultyComposer(means, orders)
    for number, kind in enumerate(["reward raises", "reward: a batch of nan", "reward: a batch of nan"]):
        orders.give(kind, number)
    with pytest.raises(RuntimeError, match="broke down"):
        composer(_SAMPLES)
    assert composer(_SAMPLES).total.isnan().all()
    assert torch.equal(composer(_SAMPLES).total, torch.tensor([0.25, 0.5])), "the same batch was nan twice"
    assert [orders.taken(kind) for kind in ("reward raises", "reward: a batch of nan")] == [1, 1]
    assert composer(_SAMPLES[1:]).total.isnan().all()
    assert orders.taken("reward: a batch of nan") == 2


def test_the_ledger_tells_whose_scores_are_whose(orders: Orders, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    with PooledRecorded(Pooled(), ledger, orders).begin() as scoring:
        for sample in _SAMPLES:
            scoring.add([sample])
        scoring.finish()
    known = read_ledger(ledger)
    assert sorted(float.fromhex(scores["general"]) for scores in known.values()) == [0.25, 0.5]
    Recorded(means, ledger, orders)(_SAMPLES)
    assert read_ledger(ledger) == known
    swapped = Recorded(lambda samples, use_3d: means(samples[::-1]), ledger, orders)
    swapped(_SAMPLES)
    with pytest.raises(AssertionError, match="has the scores"):
        read_ledger(ledger)
    with pytest.raises(AssertionError, match="1 scores came for 2 videos"):
        Recorded(lambda samples, use_3d: means(samples[1:]), ledger, orders)(_SAMPLES)


def test_damage_is_found_and_leaves_one_checkpoint_to_go_on_from(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    one = Checkpoint(1, {"weight": torch.ones(4)}, {})
    intact, draw = Intact(tmp_path), random.Random(0)
    save_checkpoint(folder, one, keep=5)
    assert not intact.damage("checkpoint truncated", draw)
    for step, kind in enumerate(DAMAGE, start=2):
        save_checkpoint(folder, replace(one, step=step), keep=5)
        assert intact.damage(kind, draw)
    assert not intact.damage("checkpoint truncated", draw)


def test_runs_differ_when_a_metric_or_a_weight_does(tmp_path: Path) -> None:
    runs = [tmp_path / name for name in ("one", "two")]
    for root in runs:
        save_checkpoint(root / "checkpoints", Checkpoint(1, {"weight": torch.ones(4)}, {}))
        (root / "pipeline").mkdir()
        (root / "pipeline" / "weights.safetensors").write_bytes(b"weights")
        records = [{"kind": "train", "step": 0, "loss": 1.0, "time/total": root.stat().st_mtime}]
        (root / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert differences(*runs) == []
    (runs[0] / "pipeline" / "weights.safetensors").write_bytes(b"Weights")
    assert differences(*runs) == ["pipeline/weights.safetensors differs"]
    (runs[0] / "metrics.jsonl").write_text('{"kind": "train", "step": 0, "loss": 1.5}\n')
    assert len(differences(*runs)) == 2


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_faults_on_two_nodes_change_nothing(tmp_path: Path) -> None:
    if reason := obstacle():
        pytest.skip(reason)
    command = [sys.executable, "-m", "benchmarks.chaos", "--faults", "200", "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT / "src"), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert sum(told["faults"].values()) >= 200
    assert min(told["faults"].values()) >= 1
    assert told["scores"]["videos"] > 0
    assert [told["scores"][kind] for kind in ("lost", "swapped", "unknown")] == [0, 0, 0]
