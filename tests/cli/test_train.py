"""`worldr1 train`: which recipe, which directory, and what may change when a run goes on."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from safetensors import SafetensorError

from worldr1.cli.main import main
from worldr1.recipes import Recipe, load_recipe, save_recipe
from worldr1.rl import launch
from worldr1.rl.launch import changes
from worldr1.rl.run import RunDirectory


class Calls(list[tuple[Recipe, Path, bool]]):
    """What training was asked to do."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    made = Calls()
    monkeypatch.setattr(launch, "_train", lambda recipe, run, world, resume, _: made.append((recipe, run.root, resume)))
    return made


def test_tiny_is_the_default_and_runs_get_a_directory_of_their_own(
    calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train"]) == 0
    recipe, root, resume = calls[0]
    assert recipe == load_recipe("tiny")
    assert root.parent == Path("runs")
    assert root.name.startswith("tiny-2")
    assert not resume


def test_fields_override_the_recipe(calls: Calls, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(["train", "tiny-long", "--schedule.total-steps", "20", "--run", str(run), "--seed", "3"]) == 0
    recipe, root, _ = calls[0]
    assert changes(recipe, load_recipe("tiny-long")) == ["seed", "schedule.total_steps"]
    assert (recipe.seed, recipe.schedule.total_steps, root) == (3, 20, run)


def test_a_file_is_a_recipe_too(calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("seed: 5\n")
    assert main(["train", str(tmp_path / "mine.yaml"), "--run", str(tmp_path / "run")]) == 0
    assert (calls[0][0].name, calls[0][0].seed) == ("mine", 5)


def test_resuming_takes_the_run_s_recipe(calls: Calls, tmp_path: Path) -> None:
    stored = load_recipe("tiny").model_copy(update={"seed": 11})
    save_recipe(stored, tmp_path / "recipe.yaml")
    assert main(["train", "--resume", str(tmp_path), "--schedule.total-steps", "99"]) == 0
    recipe, root, resume = calls[0]
    assert changes(recipe, stored) == ["schedule.total_steps"]
    assert (root, resume) == (tmp_path, True)


def test_a_resumed_run_may_compute_its_reward_elsewhere(calls: Calls, tmp_path: Path) -> None:
    save_recipe(load_recipe("tiny"), tmp_path / "recipe.yaml")
    assert main(["train", "--resume", str(tmp_path), "--pool.kind", "ray", "--pool.batch", "4"]) == 0
    assert calls[0][0].pool.kind == "ray"


@pytest.mark.parametrize("goes_on", [False, True])
def test_ray_train_gets_the_same_run(
    goes_on: bool, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    stand_in = ModuleType("worldr1.rl.ray_train")
    stand_in.train_by_ray = lambda *arguments: asked.append(arguments[:-1])  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "worldr1.rl.ray_train", stand_in)
    stored = load_recipe("tiny")
    save_recipe(stored, tmp_path / "recipe.yaml")
    root = tmp_path if goes_on else tmp_path / "new"
    assert main(["train", "--resume" if goes_on else "--run", str(root), "--ray-workers", "3"]) == 0
    assert asked == [(stored, root, 3, goes_on)]
    assert not calls


def test_without_ray_train_the_command_that_brings_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "worldr1.rl.ray_train", raising=False)
    assert main(["train", "--run", str(tmp_path / "run"), "--ray-workers", "2"]) == 1
    assert '--ray-workers needs Ray Train; install it: pip install "worldr1[ray-train]"' in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_fewer_than_no_processes_are_wrong_usage(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--ray-workers", "-1"]) == 2
    assert "--ray-workers is -1; it must be" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--resume", "RUN", "--optimiser.lr", "1"], "optimiser.lr cannot change"),
        (["--resume", "RUN", "--run", "other"], "not both"),
        (["--run", "RUN"], "holds a run already"),
        (["tiny-long", "--resume", "RUN"], "leave out tiny-long"),
        (["--resume", "RUN", "tiny-long"], "read as a recipe"),
        (["--seed", "1", "tiny-long", "--run", "RUN/new"], "put it before all settings"),
    ],
)
def test_what_would_spoil_a_run_is_refused(
    words: list[str], told: str, calls: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_recipe(load_recipe("tiny"), tmp_path / "recipe.yaml")
    assert main(["train", *(word.replace("RUN", str(tmp_path)) for word in words)]) == 1
    assert told in capsys.readouterr().err
    assert not calls


def test_interruption_tells_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "_train", interrupted)
    assert main(["train", "--run", str(tmp_path / "run")]) == 130
    assert "worldr1 train --resume" in capsys.readouterr().err


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGUSR1])
def test_a_run_that_is_asked_to_leave_ends_with_its_own_code(
    sent: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(recipe: Recipe, run: object, world: object, resume: bool, stopping: Callable[[], bool]) -> bool:
        signal.signal(sent, signal.SIG_DFL)  # as ray.init does
        assert not stopping()
        os.kill(os.getpid(), sent)
        return stopping()

    before = signal.getsignal(sent)
    monkeypatch.setattr(launch, "_train", asked)
    assert main(["train", "--run", str(tmp_path / "run")]) == 75
    assert "go on with: worldr1 train --resume" in " ".join(capsys.readouterr().err.split())
    assert signal.getsignal(sent) == before


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "x"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        OSError("cannot be written: I/O error: Disk quota exceeded (os error 122)"),
    ],
)
def test_a_full_disk_is_told_in_one_sentence_with_the_way_on(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(recipe: Recipe, run: RunDirectory, *_: object) -> None:
        save_recipe(recipe, run.recipe)
        raise error

    monkeypatch.setattr(launch, "_train", full)
    root = tmp_path / "run"
    assert main(["train", "--run", str(root)]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"no room to write on the disk of {root}" in told
    assert told.endswith(f"free some space and go on with `worldr1 train --resume {root}`\n")


def test_another_error_of_the_disk_stays_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error", "metrics.jsonl")

    monkeypatch.setattr(launch, "_train", broken)
    assert main(["train", "--run", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err == "worldr1: [Errno 5] Input/output error: 'metrics.jsonl'\n"
