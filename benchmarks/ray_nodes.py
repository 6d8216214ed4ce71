"""A Ray cluster of two nodes, each in its own network namespace."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.nodes import Node

_ROOT = Path(__file__).resolve().parent.parent
_PORT = 6379
_OBJECTS = 256 * 1024**2
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_worker_niceness": "0",
    "RAY_DISABLE_DOCKER_CPU_WARNING": "1",
    "OMP_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}


class RayNodes:
    """The head, with the store of the cluster, on the first node, and one more raylet on the second.

    Args:
        nodes: where.
        cpus: how many workers each has room for.
        folder: where Ray writes its logs and sockets; its path must be short.
        settings: of Ray (`RAY_...`), beyond those that keep it to itself.
        pins: processor cores of each node, such as ("0", "1"); empty for all.
    """

    def __init__(
        self,
        nodes: tuple[Node, Node],
        cpus: tuple[int, int],
        folder: Path,
        settings: Mapping[str, str] | None = None,
        pins: Sequence[str] = (),
    ) -> None:
        self.nodes = nodes
        self._cpus, self._folder, self._pins = cpus, folder, pins
        self._log = folder.with_suffix(".txt")
        paths = os.pathsep.join([str(_ROOT / "src"), str(_ROOT)])
        self.environment = {
            **os.environ,
            **_SETTINGS,
            **(settings or {}),
            "PYTHONPATH": paths,
            "RAY_ADDRESS": f"{nodes[0].address}:{_PORT}",
        }
        """Of all processes of the cluster, and of those that use it."""
        self._starting: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin both; returns when they are there."""
        head = ["--head", f"--port={_PORT}", "--include-dashboard=false", f"--temp-dir={self._folder}"]
        self._expect(self._begin(0, head))
        self._expect(self._begin_other())

    def mend(self, keep: int | None = None) -> bool:
        """Begin again what has ended, without waiting for the second node. Whether all was running.

        Args:
            keep: a process that stays where the first node is cleared of leftovers.
        """
        if self._starting is not None:
            if self._starting.poll() is None:
                return False
            self._starting = None
        if not (self.running(0, "gcs_server") and self.running(0, "raylet")):
            self.nodes[1].kill()
            self.nodes[0].kill(() if keep is None else (keep,))
            self.start()
            return False
        if not self.running(1, "raylet"):
            self.nodes[1].kill()
            self._starting = self._begin_other()
            return False
        return True

    def running(self, node: int, name: str) -> list[int]:
        """Processes of one program of Ray on a node."""
        found = self.nodes[node].processes()
        return [number for number, words in found.items() if words.split(maxsplit=1)[0].endswith(f"/{name}")]

    def _begin_other(self) -> subprocess.Popen[bytes]:
        return self._begin(1, [f"--address={self.environment['RAY_ADDRESS']}"])

    def _begin(self, node: int, words: Sequence[str]) -> subprocess.Popen[bytes]:
        pin = ["taskset", "-c", self._pins[node]] if self._pins else []
        start = [sys.executable, "-m", "ray.scripts.scripts", "start", *words]
        start += [f"--node-ip-address={self.nodes[node].address}", f"--num-cpus={self._cpus[node]}", "--num-gpus=0"]
        return self.nodes[node].start([*pin, *start, f"--object-store-memory={_OBJECTS}"], self.environment, self._log)

    def _expect(self, process: subprocess.Popen[bytes]) -> None:
        if process.wait():
            raise ChildProcessError(f"Ray does not start; see {self._log}: {self._log.read_text()[-2000:]}")


def actors(node: Node, kind: str) -> list[int]:
    """Processes of the actors of one class on a node."""
    return [number for number, words in node.processes().items() if words.startswith(f"ray::{kind}")]
