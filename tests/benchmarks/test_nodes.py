"""Two nodes of network namespaces: their cable can be pulled, and nothing is left of them however they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.sandbox import obstacle

_HERE = Path(__file__).parent
_REASON = obstacle()

pytestmark = pytest.mark.skipif(_REASON is not None, reason=str(_REASON))


def _begin(*words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (_HERE.parents[1], _HERE.parents[1] / "src")))}
    command = [sys.executable, str(_HERE / "cable.py"), *words]
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_hear_ctrl_c,
    )


def _hear_ctrl_c() -> None:
    """A shell's background jobs ignore SIGINT, and so would all that they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _living() -> set[str]:
    """Command lines of this test's processes, in whatever namespace."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.add(path.read_text())
        except OSError:
            continue
    return {words for words in found if str(_HERE / "cable.py") in words}


def test_the_nodes_hear_each_other_unless_one_end_of_the_cable_is_pulled() -> None:
    told, _ = _begin().communicate(timeout=30)
    assert json.loads(told) == [False, True, False, True, False, True]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_networks_and_processes_end_with_the_command(sent: signal.Signals) -> None:
    networks = set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()
    command = _begin("wait")
    assert command.stdout is not None
    assert command.stdout.readline() == "ready\n"
    assert len(_living()) >= 1
    command.send_signal(sent)
    command.wait(10)
    until = time.monotonic() + 10
    while _living() and time.monotonic() < until:
        time.sleep(0.05)
    assert not _living()
    assert (set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()) == networks
