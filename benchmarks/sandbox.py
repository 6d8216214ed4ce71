"""A command in namespaces of its own, which end with it: processes, mounts and networks leave nothing behind. Linux."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_MARK = "WORLDR1_IN_SANDBOX"
_UNSHARE = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
)
"""Each process dies with the one that began it."""
_RUN = Path("/run")
MEMORY = Path("/dev/shm")
"""Within the sandbox a disk in memory that nobody else sees; its short path leaves room for the names of sockets."""


def obstacle() -> str | None:
    """Why this machine cannot have a sandbox with networks; None where it can."""
    probe = "mount -t tmpfs tmpfs /run && mkdir /run/netns && ip netns add one && ip -n one link add cable type veth"
    try:
        done = subprocess.run([*_UNSHARE, "sh", "-c", probe], capture_output=True, text=True)
    except FileNotFoundError as error:
        return f"{error.filename} is not installed"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["unknown"])[-1]
        return f"no right to make network namespaces ({last}); run as root"
    return None


def in_sandbox(main: Callable[[], int]) -> int:
    """Begin this command again in a sandbox; there, run `main`. Its exit code.

    Ctrl-C, SIGTERM and the end of this process end all that lives in the sandbox, and with it networks and mounts.
    """
    if _MARK in os.environ:
        return _first_process(main)
    if reason := obstacle():
        sys.stderr.write(f"{reason}\n")
        return 1
    words = [*_UNSHARE, sys.executable, *sys.orig_argv[1:]]
    with subprocess.Popen(words, env={**os.environ, _MARK: "1"}) as child:
        signal.signal(signal.SIGTERM, lambda *_: child.kill())
        try:
            return child.wait()
        except KeyboardInterrupt:
            child.kill()
            return 130


def _first_process(main: Callable[[], int]) -> int:
    """Mount what is private, run `main` in a child, and bury all orphans until it ends."""
    os.environ.pop(_MARK)
    for place in (_RUN, MEMORY):
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], check=True)
    (_RUN / "netns").mkdir()
    child = os.fork()
    if child == 0:
        return main()
    while True:
        ended, status = os.wait()
        if ended == child:
            return max(1, status & 0x7F) if status & 0x7F else os.waitstatus_to_exitcode(status)
