"""The run directory: its places, and the lock that leaves it one writer."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_ATTEMPTS = 4
"""How often a writer tries: `is_held` of another process takes the lock for an instant."""


@dataclass(frozen=True)
class RunDirectory:
    """Names of what lies in a run directory; creates nothing."""

    root: Path

    @property
    def recipe(self) -> Path:
        return self.root / "recipe.yaml"

    @property
    def base(self) -> Path:
        return self.root / "base.json"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        return self.root / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def preserved(self) -> Path:
        return self.root / "preserved"

    @property
    def samples(self) -> Path:
        return self.root / "samples"

    @property
    def lora(self) -> Path:
        return self.root / "lora"

    @property
    def pipeline(self) -> Path:
        return self.root / "pipeline"

    @property
    def evaluation(self) -> Path:
        return self.root / "evaluation.json"

    @property
    def cameras(self) -> Path:
        return self.root / "cameras.json"

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    def forget_evaluation(self) -> None:
        """Remove what `worldr1 evaluate` has told; its clips stay, and nothing names them any more."""
        for path in (self.evaluation, self.cameras):
            path.unlink(missing_ok=True)


@contextmanager
def writing(run: RunDirectory) -> Iterator[None]:
    """Hold the only right to write into a run directory; the system takes it back however the process ends.

    A directory that was made for it is removed again where nothing was written.

    Raises:
        ValueError: another process holds it.
    """
    made = not run.root.exists()
    run.root.mkdir(parents=True, exist_ok=True)
    with run.lock.open("a+") as lock:
        if not any(_try_lock(lock.fileno(), wait=0.02 * attempt) for attempt in range(_ATTEMPTS)):
            raise ValueError(
                f"{run.root}: process {holder(run) or 'unknown'} is writing here; wait until it has ended, "
                "or give another directory"
            )
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        try:
            yield
        finally:
            if made and list(run.root.iterdir()) == [run.lock]:
                run.lock.unlink()
                run.root.rmdir()


def is_held(run: RunDirectory) -> bool:
    """Whether a process holds the right to write; writes nothing.

    Raises:
        OSError: the lock's file cannot be read.
    """
    if not run.lock.exists():
        return False
    with run.lock.open("rb") as lock:
        return not _try_lock(lock.fileno(), shared=True)


def holder(run: RunDirectory) -> int | None:
    """The process that wrote, or writes, its number into the lock's file; None where there is none."""
    text = run.lock.read_text(encoding="utf-8", errors="replace").strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _try_lock(descriptor: int, shared: bool = False, wait: float = 0.0) -> bool:
    import fcntl

    time.sleep(wait)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
