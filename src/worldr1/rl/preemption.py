"""The signals by which a cluster takes a machine back: heard, so that the running step ends and is saved."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What Kubernetes, cloud machines and torchrun send, and what Slurm sends when it is told to."""


@contextmanager
def listening() -> Iterator[Callable[[], bool]]:
    """Within the block the signals end nothing; the function given tells whether one has come.

    Raises:
        ValueError: this is not the main thread, the only one that may listen.
    """
    heard: list[int] = []
    former = {one: signal.signal(one, lambda number, _: heard.append(number)) for one in SIGNALS}
    try:
        yield lambda: bool(heard)
    finally:
        for one, handler in former.items():
            signal.signal(one, handler or signal.SIG_DFL)
