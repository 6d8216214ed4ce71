"""How long OpenMP's idle threads, on which PyTorch counts, stay awake."""

from __future__ import annotations

import os

SPIN_COUNT = 2_000
"""Rounds of waiting before a thread of GNU's libgomp sleeps; its own are 300,000, some 5 to 10 ms."""


def rest_soon() -> None:
    """Let idle OpenMP threads sleep after a tenth of a millisecond or so, unless the user has set how they wait.

    After every parallel operation PyTorch's threads wait for the next one by turning in a loop. That keeps the cores
    from whatever else has threads, such as the splat kernel. libgomp reads the variable when it is loaded: call
    this before torch is imported.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = str(SPIN_COUNT)
