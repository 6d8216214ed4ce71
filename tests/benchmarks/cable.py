"""Talks over the cable of two nodes. In a file of its own, as a process in a sandbox.

Usage: python cable.py [wait]. Prints as JSON whether an answer came: from outside; on the first node; then with the
first node's end pulled, and put in again; and the second's. With "wait" it prints "ready" and waits to be ended.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time

from benchmarks.nodes import NODES, two_nodes
from benchmarks.sandbox import in_sandbox

PLACE = (NODES[1].address, 5000)


def listen() -> None:
    """On the second node: answer whatever comes."""
    NODES[1].enter()
    with socket.create_server(PLACE) as server:
        while True:
            with server.accept()[0] as peer:
                peer.sendall(peer.recv(16))


def answered(patience: float = 0.3) -> bool:
    """Whether an answer comes."""
    try:
        with socket.create_connection(PLACE, timeout=patience) as peer:
            peer.sendall(b"hello")
            return peer.recv(16) == b"hello"
    except OSError:
        return False


def main() -> int:
    """As the command line says."""
    two_nodes()
    if os.fork() == 0:
        listen()
    if "wait" in sys.argv:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        time.sleep(1000)
    came = [answered()]
    NODES[0].enter()
    while not answered():
        time.sleep(0.02)
    came.append(True)
    for node in NODES:
        for joined in (False, True):
            node.plug(joined)
            came.append(answered(2.0 if joined else 0.3))
    sys.stdout.write(json.dumps(came))
    return 0


if __name__ == "__main__":
    sys.exit(in_sandbox(main))
