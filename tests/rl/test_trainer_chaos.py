"""Whatever hits a run, once it is resumed to its end it has written what an unbroken one writes, bit for bit."""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_FAULTS = {
    "SIGKILL between two file operations",
    "SIGKILL by the clock",
    "SIGTERM",
    "SIGUSR1",
    "checkpoint: byte flipped",
    "checkpoint: missing",
    "checkpoint: truncated",
    "file too large",
    "nan",
    "reward raises",
    "samples: byte flipped",
    "samples: missing",
    "samples: truncated",
}
_ONCE = {"one of two preempted"}


def _on_a_small_disk(folder: Path, command: str) -> list[str]:
    """The command, with a disk of 4 MiB mounted at the folder for it alone."""
    return ["unshare", "-Urm", "sh", "-c", f"mount -t tmpfs -o size=4m tmpfs {shlex.quote(str(folder))} && {command}"]


def _may_mount(folder: Path) -> bool:
    try:
        return subprocess.run(_on_a_small_disk(folder, "true"), capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.timeout(1800)
def test_a_hundred_faults_of_all_kinds_change_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    command = [sys.executable, str(_HERE / "chaos.py"), str(tmp_path), "6", "140"]
    kinds = set(_FAULTS)
    if _may_mount(tmp_path):
        command = _on_a_small_disk(tmp_path, f"exec {shlex.join([*command, '--small-disk'])}")
        kinds.add("disk full")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    faults = told.pop("faults")
    with caplog.at_level(logging.INFO):
        logging.getLogger(__name__).info("%d faults: %s; %s", sum(faults.values()), faults, told)
    assert sum(faults.values()) >= 100
    assert faults.keys() == kinds | _ONCE
    assert min(faults[kind] for kind in kinds) >= 2
