"""The signals by which a cluster takes a machine back: heard, so that the running step ends and is saved."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What Kubernetes, cloud machines and torchrun send, and what Slurm sends when it is told to."""


@contextmanager
def listening() -> Iterator[Callable[[], bool]]:
    """Within the block the signals end nothing; the function given tells whether one has come.

    Each time it is asked it listens anew, as `ray.init` takes SIGTERM for itself.

    Raises:
        ValueError: this is not the main thread, the only one that may listen.
    """
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    def asked() -> bool:
        for one in SIGNALS:
            signal.signal(one, hear)
        return bool(heard)

    former = {one: signal.getsignal(one) for one in SIGNALS}
    asked()
    try:
        yield asked
    finally:
        for one, handler in former.items():
            signal.signal(one, handler or signal.SIG_DFL)
