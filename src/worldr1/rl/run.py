"""The run directory: its places, and the lock that leaves it one writer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunDirectory:
    """Names of what lies in a run directory; creates nothing."""

    root: Path

    @property
    def recipe(self) -> Path:
        return self.root / "recipe.yaml"

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
    def lock(self) -> Path:
        return self.root / ".lock"


@contextmanager
def writing(run: RunDirectory) -> Iterator[None]:
    """Hold the only right to write into a run directory; the system takes it back however the process ends.

    Raises:
        ValueError: another process holds it.
    """
    run.root.mkdir(parents=True, exist_ok=True)
    with run.lock.open("a+") as lock:
        if not _try_lock(lock.fileno()):
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise ValueError(f"{run.root}: process {holder} is writing here; give another directory with --run")
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _try_lock(descriptor: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
