"""One, two and four processes, with whole or spread weights, groups whole or split: the same metrics, and any number
goes on with a run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cluster import Job, recipe_of, write_jobs
from safetensors.torch import load_file
from toy import toy_trainer

from tiny_pipeline_parts import build_tiny_pipeline
from worldr1.rl.checkpoint import list_checkpoints, load_checkpoint
from worldr1.rl.distributed import World
from worldr1.rl.metrics import TIME_PREFIX, read_metrics
from worldr1.rl.run import RunDirectory

_HERE = Path(__file__).parent


def _finish(command: list[str], environment: dict[str, str]) -> None:
    """Run to the end; processes that it started never outlive it."""
    started = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    with started as process:
        try:
            _, errors = process.communicate(timeout=550)
        except subprocess.TimeoutExpired:
            process.terminate()  # torchrun ends its workers, which have sessions of their own
            process.wait(timeout=40)
            raise
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, errors[-4000:]


def _run(folder: Path, jobs: list[Job]) -> None:
    """All jobs, one after another; a failed process ends them with its traceback."""
    write_jobs(folder / "jobs.json", jobs)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(_HERE / "cluster.py"), str(folder / "jobs.json")]
    _finish(command, environment)


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


def _whole(folder: Path, base: Job, others: list[tuple[str, int]]) -> list[Job]:
    """One process, and others of (strategy, processes)."""
    folder.mkdir()
    whole = [replace(base, run=str(folder / f"{s}-{size}"), strategy=s, size=size) for s, size in others]
    return [replace(base, run=str(folder / "one")), *whole]


def _jobs(folder: Path, base: Job, others: list[tuple[str, int]]) -> list[Job]:
    """As `_whole`, and the first of the others cut short, gone on with by one, and by four after damage."""
    one, *whole = _whole(folder, base, others)
    cut = replace(whole[0], run=str(folder / "cut"), total_steps=10)
    on = replace(whole[0], run=str(folder / "on-1"), size=1, goes_on=cut.run)
    again = replace(on, run=str(folder / "on-4"), size=4, spoilt=True)
    return [one, *whole, cut, on, again]


def _check(folder: Path) -> None:
    runs = [path for path in folder.iterdir() if path.name not in ("one", "cut")]
    assert len(runs) >= 2
    for run in runs:
        _same_metrics(folder / "one", run)
        _same_weights(folder / "one", run)
        videos = {
            path.relative_to(run) for path in (run / "samples").rglob("*.mp4") if path.parent.name != "step-00000010"
        }
        assert len(videos) == 2 * 4


@pytest.fixture(scope="module")
def toy_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole groups in each process, then parts of them: a half or a quarter of one, one and a half."""
    root = tmp_path_factory.mktemp("runs")
    nft, grpo = Job("", 1), Job("", 1, objective="grpo")
    jobs = [
        *_jobs(root / "nft", nft, [("fsdp", 2), ("ddp", 4)]),
        *_jobs(root / "grpo", replace(grpo, scale="batch"), [("ddp", 2), ("fsdp", 4)]),
        *_whole(root / "nft, split", replace(nft, groups=1, group_size=8), [("ddp", 2), ("fsdp", 4)]),
        *_whole(root / "grpo, split", replace(grpo, groups=3), [("fsdp", 2), ("ddp", 4)]),
    ]
    _run(root, jobs)
    return root


@pytest.mark.parametrize("name", ["nft", "grpo", "nft, split", "grpo, split"])
def test_the_number_of_processes_changes_nothing(name: str, toy_runs: Path) -> None:
    _check(toy_runs / name)
    saved = [load_file(run / "lora" / "toy.safetensors") for run in (toy_runs / name).iterdir() if run.name != "cut"]
    start = {"scale": 0.5, "shift": 0.0}
    for name, value in start.items():
        assert float((saved[0][name] - value).abs().max()) > 1e-3
        for other in saved[1:]:
            torch.testing.assert_close(other[name], saved[0][name], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_split_groups_change_nothing_whatever_the_strategy_also_when_gone_on_with(tmp_path: Path) -> None:
    bases = {
        "all": Job("", 1, groups=1, group_size=8),
        "half": Job("", 1, groups=3, scale="batch"),
        "grpo-all": Job("", 1, objective="grpo", groups=1, group_size=8),
        "grpo-half": Job("", 1, objective="grpo", groups=3),
    }
    every = [("fsdp", 2), ("ddp", 2), ("fsdp", 4), ("ddp", 4)]
    _run(tmp_path, [job for name, base in bases.items() for job in _jobs(tmp_path / name, base, every)])
    for name in bases:
        _check(tmp_path / name)


@pytest.mark.slow
@pytest.mark.parametrize(("adapter", "objective"), [("lora", "nft"), ("lora", "grpo"), ("full", "nft")])
def test_a_wan_pipeline_learns_the_same_by_any_number_of_processes(
    adapter: str, objective: str, tmp_path: Path
) -> None:
    from diffusers import WanPipeline

    build_tiny_pipeline().save_pretrained(str(tmp_path / "pipeline"))
    base = Job("", 1, objective=objective, group_size=2, pipeline=str(tmp_path / "pipeline"), adapter=adapter)
    _run(tmp_path, _jobs(tmp_path / "runs", base, [("fsdp", 2), ("ddp", 2)]))
    _check(tmp_path / "runs")
    loaded = []
    for run in ("one", "fsdp-2"):
        place = tmp_path / "runs" / run
        pipeline = WanPipeline.from_pretrained(str(tmp_path / "pipeline" if adapter == "lora" else place / "pipeline"))
        if adapter == "lora":
            pipeline.load_lora_weights(str(place / "lora"))
        loaded.append(pipeline.transformer.state_dict())
    assert loaded[0].keys() == loaded[1].keys()
    for name, tensor in loaded[0].items():
        torch.testing.assert_close(loaded[1][name], tensor, rtol=1e-3, atol=1e-5)


def test_every_process_has_a_pool_of_its_own(tmp_path: Path) -> None:
    here = Job(str(tmp_path / "here"), 1, objective="grpo", scored="here")
    pools = replace(here, run=str(tmp_path / "pools"), size=2, strategy="fsdp", scored="pool")
    _run(tmp_path, [here, pools])
    _same_metrics(tmp_path / "here", tmp_path / "pools")
    _same_weights(tmp_path / "here", tmp_path / "pools")


def test_videos_that_cannot_be_shared_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"16 videos \(schedule\.groups 4 x .* 4\), which 3 processes .* multiple of 3"
    ):
        toy_trainer(recipe_of(Job("", 3)), RunDirectory(tmp_path), world=World(0, 3))


def test_a_process_alone_is_left_as_it_is() -> None:
    world, rows = World(), torch.arange(3)
    assert world.gather(rows) is rows
    assert world.bring(rows, owner=0) is rows
    assert world.agree({"a": 1}) == {"a": 1}
    assert world.share(5) == range(5)
    assert [World(rank, 3).share(5) for rank in range(3)] == [range(0, 2), range(2, 4), range(4, 6)]


@pytest.mark.slow
def test_torchrun_trains_the_shipped_pipeline(tmp_path: Path) -> None:
    """Fresh by two processes with spread weights, then gone on with by the same command."""
    small: dict[str, int | str] = {
        "schedule.groups": 2,
        "schedule.group-size": 2,
        "evaluation.prompts": 2,
        "preserve.samples": 4,
    }
    small |= {"preserve.per-step": 2, "sampling.steps": 2, "sampling.window-range": "0 2", "reward.general-frames": 2}
    words = [word for name, value in small.items() for word in (f"--{name}", *str(value).split())]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "--", "worldr1.cli.main", "train"]  # without the dashes torchrun takes --run for its own
    run, environment = tmp_path / "run", {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    fresh = ["tiny", "--run", str(run), "--parallel.strategy", "fsdp", "--schedule.total-steps", "1", *words]
    for arguments in (fresh, ["--resume", str(run), "--schedule.total-steps", "2", "--parallel.strategy", "ddp"]):
        _finish([*command, *arguments], environment)
    records = read_metrics(run / "metrics.jsonl", "train")
    assert [record["step"] for record in records] == [0, 1]
    assert all(record["gradient_norm"] > 0 for record in records)
    assert (run / "pipeline" / "model_index.json").is_file()
