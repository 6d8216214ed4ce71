"""Random numbers by counter: every draw is named by what it is for, so that neither order nor process count matters."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What a random number is for; two streams never share a seed."""

    PROMPT = 1
    NOISE = 2
    WINDOW = 3
    ROLLOUT = 4
    LOSS = 5
    EVALUATION = 6
    WEIGHTS = 7
    PRESERVE = 8


def seed_of(stream: Stream, *counters: int) -> int:
    """A 63-bit seed from non-negative counters such as (run seed, step, group, member).

    Raises:
        ValueError: a counter is negative.
    """
    if any(counter < 0 for counter in counters):
        raise ValueError(f"counters are {counters}; each must be 0 or more")
    low, high = np.random.SeedSequence([int(stream), len(counters), *counters]).generate_state(2, np.uint32)
    return (int(high) << 32 | int(low)) & (2**63 - 1)


def generator(stream: Stream, *counters: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator seeded by `seed_of`."""
    return torch.Generator(device).manual_seed(seed_of(stream, *counters))
