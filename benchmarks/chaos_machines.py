"""Faults of the machines of a cluster: processes that die or freeze, and a network that is cut."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

from benchmarks.nodes import send
from benchmarks.ray_nodes import RayNodes, actors

_SHORT, _LONG = (0.3, 3.0), (14.0, 18.0)
"""Seconds of a cut that heals, and of one after which the head has given the node up."""


class Machines:
    """What can befall the two nodes, and what brings them back.

    Args:
        cluster: two nodes that run.
        draw: chooses workers, ends of the cable and lengths.
    """

    def __init__(self, cluster: RayNodes, draw: random.Random) -> None:
        self._cluster, self._draw = cluster, draw
        self._pulled: int | None = None
        self._heal_at = 0.0
        self._faults: dict[str, Callable[[], bool]] = {
            "SIGKILL of a worker": lambda: self._hit_worker(signal.SIGKILL),
            "SIGSTOP of a worker": lambda: self._hit_worker(signal.SIGSTOP),
            "SIGKILL of the second node's raylet": lambda: self._kill(1, "raylet"),
            "network cut, healed": lambda: self._cut(_SHORT),
            "network cut until the node is lost": lambda: self._cut(_LONG),
        }

    def befall(self, kind: str) -> bool:
        """Do it; False where it cannot be now, as no worker lives or the network is cut already."""
        return self._faults[kind]()

    def kill_head(self) -> bool:
        """Kill the store of the cluster and the head's raylet; False where they are gone already."""
        killed = self._kill(0, "gcs_server"), self._kill(0, "raylet")
        return all(killed)

    def care(self, trainer: int | None) -> bool:
        """Join what was cut long enough, begin again what has ended. Whether both nodes are up and joined.

        Args:
            trainer: the process that uses the cluster, which stays.
        """
        if self._pulled is not None:
            if time.monotonic() < self._heal_at:
                return False
            self._cluster.nodes[self._pulled].plug(True)
            self._pulled = None
        return self._cluster.mend(trainer)

    def _hit_worker(self, sent: signal.Signals) -> bool:
        workers = [number for node in self._cluster.nodes for number in actors(node, "Scorer")]
        return bool(workers) and send(self._draw.choice(workers), sent)

    def _kill(self, node: int, program: str) -> bool:
        found = self._cluster.running(node, program)
        return bool(found) and all(send(number, signal.SIGKILL) for number in found)

    def _cut(self, seconds: tuple[float, float]) -> bool:
        if self._pulled is not None or not self._cluster.running(1, "raylet"):
            return False
        self._pulled = self._draw.randrange(2)
        self._cluster.nodes[self._pulled].plug(False)
        self._heal_at = time.monotonic() + self._draw.uniform(*seconds)
        return True
