"""A disk without room: threads that meet it leave the telling to the run's one sentence."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import pytest

from worldr1.rl.full_disk import full_disk_told
from worldr1.rl.run import RunDirectory


def _in_a_thread(error: Exception) -> None:
    def fail() -> None:
        raise error

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


def test_a_thread_tells_every_error_but_that_of_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[BaseException | None] = []

    def tell(ended: threading.ExceptHookArgs) -> None:
        told.append(ended.exc_value)

    monkeypatch.setattr(threading, "excepthook", tell)
    others = [ValueError("a bug"), OSError(errno.EACCES, "Permission denied")]
    with full_disk_told(RunDirectory(tmp_path)):
        for error in (OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EFBIG, "too large"), *others):
            _in_a_thread(error)
    assert told == others
    assert threading.excepthook is tell
