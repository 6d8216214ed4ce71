"""A full disk in one sentence, whichever library met it."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from worldr1.rl.run import RunDirectory

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No room on the disk, in the user's share of it, or for a file of this size."""


@contextmanager
def full_disk_told(run: RunDirectory) -> Iterator[None]:
    """Turn an error of a disk without room into a sentence that says how to go on.

    A thread that meets it, as TensorBoard's may, ends without a word: the next to write tells.

    Raises:
        OSError: the disk of the run is full; what the run wrote before is whole.
    """
    try:
        with _threads_silent():
            yield
    except (OSError, SafetensorError) as error:
        full = _code(error)
        if full is None:
            raise
        again = f"go on with `worldr1 train --resume {run.root}`" if run.recipe.is_file() else "start again"
        raise OSError(
            f"no room to write on the disk of {run.root} ({os.strerror(full)}); all that was written before is whole: "
            f"free some space and {again}"
        ) from error


@contextmanager
def _threads_silent() -> Iterator[None]:
    former = threading.excepthook

    def hook(ended: threading.ExceptHookArgs) -> None:
        if not isinstance(ended.exc_value, (OSError, SafetensorError)) or _code(ended.exc_value) is None:
            former(ended)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = former


def _code(error: OSError | SafetensorError) -> int | None:
    """Which of the errors of a disk without room it is, if any."""
    return next((code for code in _FULL if _is(code, error)), None)


def _is(code: int, error: OSError | SafetensorError) -> bool:
    """safetensors tells the system's number in words only, also where it caused another error."""
    return (isinstance(error, OSError) and error.errno == code) or f"(os error {code})" in str(error)
