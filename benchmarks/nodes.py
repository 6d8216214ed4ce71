"""Two machines in one: network namespaces of a sandbox, joined by a cable that can be pulled."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNET = 0x40000000
CABLE = "cable"
"""Name of a node's end of it, a network interface."""


@dataclass(frozen=True)
class Node:
    """A network namespace with its address on the cable."""

    name: str
    address: str

    def start(
        self, words: Sequence[str], environment: Mapping[str, str], log: Path, output: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Begin a process on this node; what it says is added to the log, its standard output where one is given."""
        with log.open("ab") as said, (output or log).open("ab") as out:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.name, *words],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=said,
            )

    def enter(self) -> None:
        """Move this process, which has a single thread, to the node."""
        libc = ctypes.CDLL(None, use_errno=True)
        with self._file.open("rb") as namespace:
            if libc.setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter {self.name}")

    def processes(self) -> dict[int, str]:
        """Living processes of the node and their command lines."""
        found, here = {}, self._file.stat().st_ino
        for place in Path("/proc").iterdir():
            if not place.name.isdigit():
                continue
            try:
                if (place / "ns" / "net").stat().st_ino == here:
                    words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    found[int(place.name)] = words.strip()
            except OSError:
                continue
        return {number: words for number, words in found.items() if words}

    def kill(self, keep: Collection[int] = ()) -> None:
        """End all processes of the node but those to keep."""
        while found := self.processes().keys() - set(keep):
            for number in found:
                send(number, signal.SIGKILL)
            time.sleep(0.05)

    def plug(self, joined: bool) -> None:
        """Put the node's end of the cable in, or pull it: the other end loses its carrier and sends into the void."""
        _ip("-n", self.name, "link", "set", CABLE, "up" if joined else "down")

    @property
    def _file(self) -> Path:
        return Path("/run/netns") / self.name


NODES = Node("one", "10.213.0.1"), Node("other", "10.213.0.2")


def two_nodes() -> tuple[Node, Node]:
    """Make both nodes, with a cable between them; they last as long as the sandbox."""
    one, other = NODES
    for node in (one, other):
        _ip("netns", "add", node.name)
    _ip("link", "add", CABLE, "netns", one.name, "type", "veth", "peer", "name", CABLE, "netns", other.name)
    for node in (one, other):
        _ip("-n", node.name, "address", "add", f"{node.address}/24", "dev", CABLE)
        _ip("-n", node.name, "link", "set", "lo", "up")
        node.plug(True)
    return one, other


def send(number: int, sent: signal.Signals) -> bool:
    """Signal a process; False where it is gone."""
    try:
        os.kill(number, sent)
    except ProcessLookupError:
        return False
    return True


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def cpu_seconds(numbers: Collection[int]) -> float:
    """Processor seconds that processes have used so far, all together."""
    ticks = 0
    for number in numbers:
        fields = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
