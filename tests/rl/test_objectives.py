"""The small tools that objectives share."""

from __future__ import annotations

import math

import torch

from worldr1.rl import summarise
from worldr1.rl.objectives import split_evenly, valid_by_process, valid_chunks


def test_summary_weighs_means_and_keeps_extremes() -> None:
    terms = [({"kl": 1.0, "ratio_min": 0.9, "ratio_max": 1.1}, 1), ({"kl": 3.0, "ratio_min": 0.8, "ratio_max": 1.0}, 3)]
    assert summarise(terms) == {"kl": 2.5, "ratio_min": 0.8, "ratio_max": 1.1}
    assert summarise([]) == {}


def test_a_statistic_of_some_terms_is_averaged_over_those() -> None:
    assert summarise([({"a": 1.0}, 2), ({"a": 3.0, "b": 5.0}, 2)]) == {"a": 2.0, "b": 5.0}


def test_chunks_without_any_advantage_are_dropped_whole_ones_kept() -> None:
    valid = valid_by_process(torch.tensor([math.nan, math.nan, 1.0, math.nan, math.nan]), 5)
    assert valid_chunks(valid, 2) == [slice(2, 4)]
    assert valid_chunks(valid, None) == [slice(0, 5)]
    assert valid_chunks(valid_by_process(torch.full((4,), math.nan), 4), None) == []


def test_a_chunk_that_one_process_needs_is_taken_in_all() -> None:
    valid = valid_by_process(torch.tensor([1.0, math.nan, math.nan, math.nan, math.nan, 2.0, 3.0, math.nan]), 4)
    assert valid.tolist() == [[True, False, False, False], [False, True, True, False]]
    assert valid_chunks(valid, 1) == [slice(0, 1), slice(1, 2), slice(2, 3)]


def test_split_keeps_order_and_leaves_no_empty_part() -> None:
    assert [list(part) for part in split_evenly([1, 2, 3, 4, 5], 2)] == [[1, 2], [3, 4, 5]]
    assert [list(part) for part in split_evenly([1, 2], 4)] == [[1], [2]]
    assert split_evenly([], 3) == []
