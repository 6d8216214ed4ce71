"""Which faults befall a run, in which order: drawn from a seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

REWARD = {
    "reward: a batch of nan": 24,
    "reward raises": 14,
    "reward: a score too few": 10,
    "reward slow": 8,
    "answer after its deadline": 14,
    "answer twice": 24,
    "answers out of order": 20,
}
"""Done by whoever scores or hears next."""
MACHINES = {
    "SIGKILL of a worker": 28,
    "SIGSTOP of a worker": 12,
    "SIGKILL of the second node's raylet": 6,
    "network cut, healed": 10,
    "network cut until the node is lost": 5,
}
"""Done to the cluster while it works."""
ENDS = {
    "SIGKILL of the trainer": 16,
    "SIGTERM to the trainer": 4,
    "SIGKILL of the head's store and raylet": 3,
    "disk full": 7,
    "reward: nan for a whole step": 3,
}
"""After which the trainer is started again."""
DAMAGE = {
    "checkpoint truncated": 10,
    "checkpoint: byte flipped": 10,
    "checkpoint: file missing": 6,
}
"""Done to the newest checkpoint before the trainer is started again."""
KINDS = {**REWARD, **MACHINES, **ENDS, **DAMAGE}
"""Every kind and its share."""


@dataclass(frozen=True)
class Life:
    """What befalls one process of the trainer: `during` it, at its `end`, and to its checkpoints `after` it."""

    during: tuple[str, ...]
    end: str
    after: tuple[str, ...]


def lives(faults: int, seed: int) -> list[Life]:
    """At least so many faults, of every kind one or more, as they befall one trainer after another."""
    draw = random.Random(seed)
    ends = _drawn(draw, ENDS, faults)
    during = _dealt(draw, _drawn(draw, {**REWARD, **MACHINES}, faults), len(ends))
    after = _dealt(draw, _drawn(draw, DAMAGE, faults), len(ends))
    return [Life(*life) for life in zip(during, ends, after, strict=True)]


def count(planned: Sequence[Life]) -> Counter[str]:
    """Faults by kind."""
    return Counter(kind for life in planned for kind in (*life.during, life.end, *life.after))


def _drawn(draw: random.Random, shares: Mapping[str, int], faults: int) -> list[str]:
    whole = sum(KINDS.values())
    kinds = [kind for kind, share in shares.items() for _ in range(max(1, -(-share * faults // whole)))]
    draw.shuffle(kinds)
    return kinds


def _dealt(draw: random.Random, kinds: Sequence[str], hands: int) -> Iterator[tuple[str, ...]]:
    dealt: list[list[str]] = [[] for _ in range(hands)]
    for kind in kinds:
        draw.choice(dealt).append(kind)
    return map(tuple, dealt)
