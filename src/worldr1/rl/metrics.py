"""Metrics of a run: one JSON object a line, and the same scalars in TensorBoard."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

from worldr1.data.atomic import write_text

Value = float | int | str | None

TIME_PREFIX = "time/"
"""Columns that measure the clock; all others are the same, bit for bit, whenever a run is repeated."""


class MetricsWriter:
    """Appends records to `metrics.jsonl` and to TensorBoard.

    Args:
        path: the JSONL file.
        tensorboard: directory of the event files; None writes none.
        resume_at: the first step that will be written; records of this step and later ones (of a run that was cut off
            after its last checkpoint) are dropped. None starts a new file.
    """

    def __init__(self, path: Path, tensorboard: Path | None = None, resume_at: int | None = None) -> None:
        if resume_at is None:
            write_text(path, "")
        else:
            _keep_before(path, resume_at)
        self._file = path.open("ab", buffering=0)
        self._board: Any = None
        if tensorboard is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(tensorboard), purge_step=resume_at)

    def write(self, kind: str, step: int, values: Mapping[str, Value]) -> None:
        """Write one record {"kind", "step", **values}; nan and infinity become null, as JSON has neither.

        Raises:
            OSError: the disk is full or broken; the file is left as it was.
        """
        record = {"kind": kind, "step": step, **{key: _finite(value) for key, value in values.items()}}
        _append_line(self._file, json.dumps(record, allow_nan=False))
        if self._board is None:
            return
        for key, value in values.items():
            if isinstance(value, (int, float)) and math.isfinite(value):
                self._board.add_scalar(f"{kind}/{key}", value, step)
        self._board.flush()

    def close(self) -> None:
        """Flush and close both files."""
        self._file.close()
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_metrics(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """Records of a metrics file in order, of one `kind` ("train", "evaluation") if given; half a last line is left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line before the last is no JSON object.
    """
    return [record for record in _records(path) if kind is None or record.get("kind") == kind]


def _records(path: Path) -> Iterator[dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                return
            raise ValueError(f"{path}, line {number}: not a JSON object") from error
        if not isinstance(record, dict):
            raise ValueError(f"{path}, line {number}: not a JSON object")
        yield record


def _keep_before(path: Path, step: int) -> None:
    kept = [record for record in _records(path) if record["step"] < step] if path.is_file() else []
    write_text(path, "".join(json.dumps(record) + "\n" for record in kept))


def _append_line(file: FileIO, text: str) -> None:
    """Append a line and bring it to the disk; half a line is taken back."""
    end, rest = os.fstat(file.fileno()).st_size, text.encode() + b"\n"
    try:
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
    except OSError:
        file.truncate(end)
        raise


def _finite(value: Value) -> Value:
    return None if isinstance(value, float) and not math.isfinite(value) else value
