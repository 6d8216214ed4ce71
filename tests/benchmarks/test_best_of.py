"""The best of several: groups, missing totals, and rows against sums done by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from benchmarks.best_of import COUNTS, MEASURES, best_of, table_rows


def test_best_of_takes_the_value_of_each_groups_winner() -> None:
    rng = np.random.default_rng(0)
    values, totals = rng.normal(size=(8, 5)), rng.normal(size=(8, 5))
    for count in COUNTS:
        for prompt, found in enumerate(best_of(values, totals, count)):
            groups = [range(first, first + count) for first in range(0, 8, count)]
            winners = [max(group, key=lambda k: totals[k, prompt]) for group in groups]
            assert found == pytest.approx(np.mean([values[k, prompt] for k in winners]))


def test_a_candidate_without_a_total_never_wins_and_the_first_of_equals_does() -> None:
    values = np.array([[1.0, 5.0], [2.0, 6.0]])
    totals = np.array([[np.nan, 0.3], [-1.0, 0.3]])
    assert best_of(values, totals, 2).tolist() == [2.0, 5.0]


def test_a_judge_that_sees_the_measure_closes_more_of_the_gap_with_more_samples() -> None:
    rng = np.random.default_rng(1)
    truth = {name: np.full(20, 4.0) for name in MEASURES}
    made = {name: rng.normal(size=(8, 20)) for name in MEASURES}
    made["seeing"], made["blind"] = made["psnr"], rng.normal(size=(8, 20))
    rows = table_rows({"base": made}, truth, ("seeing", "blind"))
    gap = {(row["judge"], row["count"]): row["gap_closed"]["psnr"]["value"] for row in rows if row["gap_closed"]}
    assert gap["", 1] == 0.0
    steps = [gap["", 1], *(gap["seeing", count] for count in COUNTS[1:])]
    assert all(after > before + 0.03 for before, after in pairwise(steps))
    assert abs(gap["blind", 8]) < gap["seeing", 2]
    best = made["psnr"].max(axis=0).mean()
    mean = made["psnr"].mean()
    assert gap["seeing", 8] == pytest.approx((best - mean) / (4.0 - mean))
