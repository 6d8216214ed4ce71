"""A run directory has one writer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from worldr1.rl.run import RunDirectory, writing

_HOLD = """
import sys, pathlib
from worldr1.rl.run import RunDirectory, writing
with writing(RunDirectory(pathlib.Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(run.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match=f"process {holder.pid} is writing here"), writing(run):
        pass
    holder.kill()
    holder.communicate()
    with writing(run):
        assert run.lock.read_text() == str(os.getpid())
