"""Seeds by counter: distinct, repeatable, and independent draws."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from worldr1.rl.seeds import Stream, generator, seed_of


def test_seeds_of_different_counters_and_streams_differ() -> None:
    counters = list(itertools.product(range(3), range(20), range(8), range(4)))
    seeds = {seed_of(stream, *counter) for stream in Stream for counter in counters}
    seeds |= {seed_of(Stream.NOISE, *counter[:3]) for counter in counters}
    assert len(seeds) == len(Stream) * len(counters) + 3 * 20 * 8
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_same_name_gives_the_same_numbers() -> None:
    first = torch.randn(5, generator=generator(Stream.NOISE, 1, 2))
    assert torch.equal(first, torch.randn(5, generator=generator(Stream.NOISE, 1, 2)))
    assert not torch.equal(first, torch.randn(5, generator=generator(Stream.LOSS, 1, 2)))


def test_neighbouring_seeds_give_uncorrelated_normals() -> None:
    draws = torch.stack([torch.randn(4096, generator=generator(Stream.NOISE, 0, step)) for step in range(20)]).double()
    correlation = torch.corrcoef(draws)[~torch.eye(20, dtype=torch.bool)]
    bound = 5.0 / math.sqrt(4096)  # 5 sigma: 190 pairs exceed it with probability 1e-4
    assert correlation.abs().max() < bound


def test_negative_counters_are_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        seed_of(Stream.NOISE, -1)
