"""Runs of `worldr1 train` that are cut off and go on, and what must hold of them each time."""

from __future__ import annotations

import importlib
import logging
import os
import random
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba
import torch

from worldr1.cli.main import FAILED, PREEMPTED, main
from worldr1.recipes import Recipe, load_recipe
from worldr1.rl.checkpoint import list_checkpoints, newest_intact, verify_checkpoint
from worldr1.rl.metrics import TIME_PREFIX, read_metrics
from worldr1.rl.run import RunDirectory

TIMEOUT = 10.0
"""Seconds in which a worker must answer."""
NO_ROOM = "no room to write"
SILENT = "videos has a reward"


def recipe_of(kind: str, steps: int) -> Recipe:
    """The recipe `tiny`, smaller: 8 videos of 9 frames a step, which are four batches; a checkpoint after each."""
    content = load_recipe("tiny").model_dump()
    content["clip"] |= {"frames": 9}
    content["schedule"] |= {"total_steps": steps, "main_steps": 4, "dynamic_steps": 1, "groups": 2, "group_size": 4}
    content["sampling"] |= {"steps": 4, "window_range": [0, 3], "micro_batch": 2}
    content["preserve"] |= {"weight": 0.0}
    content["evaluation"] |= {"every": 10, "prompts": 2, "videos": 0}
    content["checkpoint"] |= {"every": 1, "keep": 4}
    content["pool"] |= {"kind": kind, "batch": 2, "workers": [2, 3], "attempts": 1000}
    content["pool"] |= {"timeout": TIMEOUT, "start_timeout": 120.0}
    return Recipe.model_validate(content)


@dataclass
class Trainer:
    """A process that trains, and the file that holds its words."""

    number: int
    words: Path
    code: int | None = None

    def ended(self) -> bool:
        """Whether it has; then `code` is its exit code, or the negative signal that killed it."""
        if self.code is None:
            number, status = os.waitpid(self.number, os.WNOHANG)
            if number:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def kill(self) -> None:
        """End it at once."""
        if not self.ended():
            os.kill(self.number, signal.SIGKILL)
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.number, 0)[1])


def begin(recipe: Path, root: Path, words: Path, prepare: Callable[[], object]) -> Trainer:
    """A new process that trains in a directory, from its beginning or its newest intact checkpoint.

    Args:
        recipe: the YAML of a run that begins.
        root: the run directory.
        words: the file for what it says.
        prepare: called in the process before it trains.
    """
    number = os.fork()
    if number:
        return Trainer(number, words)
    code = FAILED
    try:
        with words.open("w") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        prepare()
        begun = RunDirectory(root).recipe.is_file()
        code = main(["train", *(["--resume", str(root)] if begun else [str(recipe), "--run", str(root)])])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


class Intact:
    """What must hold of a run whenever its trainer has ended, and the damage that was done to it on purpose."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = RunDirectory(root).checkpoints
        self._damaged: set[Path] = set()
        self._left: set[Path] = set()

    def begin(self) -> None:
        """A trainer begins: what earlier ones left half written, being killed, is not its doing."""
        self._left = self._unfinished()

    def check(self, trainer: Trainer) -> None:
        """A trainer has ended.

        Raises:
            AssertionError: what should be whole is not.
        """
        checkpoints = list_checkpoints(self._folder)
        for path in checkpoints:
            if path not in self._damaged:
                verify_checkpoint(path)
        if trainer.code not in (FAILED, PREEMPTED):
            return
        words = trainer.words.read_text(errors="replace")
        _require(self._unfinished() <= self._left, f"something was left half written: {words}")
        metrics = RunDirectory(self._root).metrics
        _require(not metrics.is_file() or metrics.read_bytes()[-1:] in (b"", b"\n"), "half a line of metrics was left")
        if trainer.code == PREEMPTED:
            done = len(read_metrics(metrics, "train"))
            _require(checkpoints[-1].name == f"step-{done:08d}", "a step was lost")

    def damage(self, kind: str, draw: random.Random) -> bool:
        """Spoil a file of the newest intact checkpoint; False where no older one is intact."""
        whole = [path for path in list_checkpoints(self._folder) if _intact(path)]
        if len(whole) < 2:
            return False
        newest = whole[-1]
        file = draw.choice(sorted(path for path in newest.iterdir() if path.name != "SHA256SUMS"))
        content = bytearray(file.read_bytes())
        place = draw.randrange(len(content))
        if kind == "checkpoint: file missing":
            file.unlink()
        elif kind == "checkpoint truncated":
            file.write_bytes(content[:place])
        else:
            content[place] ^= draw.randrange(1, 256)
            file.write_bytes(content)
        self._damaged.add(newest)
        _require(newest_intact(self._folder) == whole[-2], f"{kind}: not found in {file}")
        return True

    def newest(self) -> int:
        """The step of the newest checkpoint, whole or not; 0 where there is none."""
        return max((int(path.name.removeprefix("step-")) for path in list_checkpoints(self._folder)), default=0)

    def _unfinished(self) -> set[Path]:
        return set(self._root.rglob(".*.new"))


def outcome(root: Path) -> tuple[list[dict[str, Any]], Mapping[str, str]]:
    """Metrics but for the clock's; checksums of the trained weights and of all that the last checkpoint holds."""
    run = RunDirectory(root)
    metrics = [
        {name: value for name, value in record.items() if not name.startswith(TIME_PREFIX)}
        for record in read_metrics(run.metrics)
    ]
    newest = newest_intact(run.checkpoints)
    _require(newest is not None and run.pipeline.is_dir(), f"{root} has not come to its end")
    files = [*run.pipeline.rglob("*.safetensors"), run.checkpoints / newest.name / "state.safetensors"]
    return metrics, {str(file.relative_to(root)): sha256(file.read_bytes()).hexdigest() for file in files}


def differences(root: Path, whole: Path) -> list[str]:
    """In which lines of the metrics, and which weights, two runs that have ended differ."""
    (lines, weights), (others, others_weights) = outcome(root), outcome(whole)
    found = [f"{len(lines)} lines of metrics, not {len(others)}"] if len(lines) != len(others) else []
    found += [f"{one} is not {other}" for one, other in zip(lines, others, strict=False) if one != other]
    names = weights.keys() | others_weights.keys()
    return found + [f"{name} differs" for name in sorted(names) if weights.get(name) != others_weights.get(name)]


def load_what_is_slow() -> None:
    """Before forking, so that no trainer has to; without threads, which allow no fork."""
    torch.set_num_threads(1)
    numba.config.THREADING_LAYER = "workqueue"
    for name in ("av", "ray", "torch._dynamo", "torch.utils.tensorboard", "worldr1.evaluation.report"):
        importlib.import_module(name)
    from worldr1.cli import train  # noqa: F401
    from worldr1.rl.assemble_policy import load_policy

    load_policy(load_recipe("tiny"))
    logging.getLogger("ray").setLevel(logging.ERROR)


def clear(root: Path) -> None:
    """Remove a run."""
    shutil.rmtree(root, ignore_errors=True)


def _intact(path: Path) -> bool:
    try:
        verify_checkpoint(path)
    except (ValueError, OSError):
        return False
    return True


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)
