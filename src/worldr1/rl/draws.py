"""The random numbers of one training step, which a sample gets wherever it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldr1.rl.seeds import Stream, generator


@dataclass(frozen=True)
class Draws:
    """Generators for the samples that are here, out of a batch that may be spread over processes.

    Attributes:
        shared: for what concerns the whole batch; every process draws the same numbers from it.
        members: one for each of the B samples that are here.
        first: place of the first of them in the whole batch.
        law: initial noise [C, T, H, W] of the sample ``row`` of those that are here, by a seed; None is white noise.
    """

    shared: torch.Generator
    members: tuple[torch.Generator, ...]
    first: int = 0
    law: Callable[[int, int], Tensor] | None = None

    def rows(self, part: slice) -> Draws:
        """Those of some of the samples; ``part`` counts from the first that is here."""
        start, law = part.start or 0, self.law
        shifted = None if law is None else lambda row, seed: law(start + row, seed)
        return Draws(self.shared, self.members[part], self.first + start, shifted)

    def normal(self, rows: Iterable[int], shape: Sequence[int]) -> Tensor:
        """Standard normal numbers [R, *shape] on the CPU, row by row from the generators of the samples ``rows``."""
        return torch.stack([torch.randn(tuple(shape), generator=self.members[row]) for row in rows])

    def noise(self, rows: Iterable[int], shape: Sequence[int]) -> Tensor:
        """Noise [R, *shape] on the CPU of the law that the samples ``rows`` started from, drawn anew."""
        if self.law is None:
            return self.normal(rows, shape)
        return torch.stack([self.law(row, _seed(self.members[row])) for row in rows])


def step_draws(stream: Stream, seed: int, step: int, count: int, first: int = 0) -> Draws:
    """Draws of the samples ``first`` to ``first + count - 1`` of training step ``step``.

    What is shared depends on (seed, step), what a sample gets on (seed, step, its place in the whole batch).
    """
    members = tuple(generator(stream, seed, step, place) for place in range(first, first + count))
    return Draws(generator(stream, seed, step), members, first)


def _seed(member: torch.Generator) -> int:
    return int(torch.randint(2**31, (1,), generator=member))
