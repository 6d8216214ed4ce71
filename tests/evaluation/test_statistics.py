"""The figures of the evaluation against hand computation, scipy and known distributions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from worldr1.evaluation.statistics import (
    difference,
    fit_two_humps,
    gap_closed,
    mean_of,
    paired_bootstrap,
    ratio,
    spearman,
)


def test_gap_closed_by_hand() -> None:
    base, trained, truth = [18.0, 22.0], [25.0, 25.0], [30.0, 30.0]
    estimate = paired_bootstrap([base, trained, truth], gap_closed)
    assert estimate.value == pytest.approx((25 - 20) / (30 - 20))
    # the resampled base means are 18, 20 or 22, so the gap is one of 7/12, 5/10, 3/8
    assert estimate.low == pytest.approx(3 / 8)
    assert estimate.high == pytest.approx(7 / 12)
    assert estimate.n == 2


def test_incomplete_rows_are_left_out_together() -> None:
    estimate = paired_bootstrap([[1.0, np.nan, 3.0], [2.0, 5.0, 8.0]], difference)
    assert estimate.n == 2
    assert estimate.value == pytest.approx((1 + 5) / 2)


def test_ratio_is_that_of_the_means() -> None:
    assert paired_bootstrap([[1.0, 3.0], [3.0, 3.0]], ratio).value == pytest.approx(1.5)
    assert np.isnan(ratio(np.zeros(3), np.ones(3)))


def test_bootstrap_interval_matches_the_normal_one() -> None:
    sample = np.random.default_rng(3).normal(5, 2, 400)
    estimate = paired_bootstrap([sample], mean_of, resamples=4000)
    half = 1.96 * sample.std(ddof=1) / np.sqrt(400)
    assert estimate.low == pytest.approx(sample.mean() - half, abs=0.1 * half)
    assert estimate.high == pytest.approx(sample.mean() + half, abs=0.1 * half)


def test_pairing_narrows_the_interval() -> None:
    rng = np.random.default_rng(0)
    prompt = rng.normal(0, 10, 100)
    paired = paired_bootstrap([prompt, prompt + 1 + rng.normal(0, 0.1, 100)], difference)
    assert paired.low > 0.9
    assert paired.high < 1.1


def test_bootstrap_is_seeded() -> None:
    sample = np.random.default_rng(1).normal(size=30)
    assert paired_bootstrap([sample], mean_of, seed=4) == paired_bootstrap([sample], mean_of, seed=4)
    assert paired_bootstrap([sample], mean_of, seed=4) != paired_bootstrap([sample], mean_of, seed=5)


@pytest.mark.parametrize("columns", [[[1.0], [1.0, 2.0]], [[np.nan], [1.0]]])
def test_bootstrap_rejects_what_it_cannot_use(columns: list[list[float]]) -> None:
    with pytest.raises(ValueError, match=r"columns must|no prompt"):
        paired_bootstrap(columns, difference)


def test_spearman_against_scipy_with_ties() -> None:
    rng = np.random.default_rng(2)
    a = rng.integers(0, 6, 60).astype(float)
    b = a + rng.normal(0, 2, 60).round()
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
    assert np.isnan(spearman([1, 1, 1, 1], [1, 2, 3, 4]))


def test_two_humps_are_found_where_there_are_two() -> None:
    rng = np.random.default_rng(5)
    fit = fit_two_humps(np.concatenate([rng.normal(20, 1.5, 300), rng.normal(31, 1.0, 200)]))
    assert fit.means == pytest.approx((20, 31), abs=0.3)
    assert fit.weights[1] == pytest.approx(0.4, abs=0.03)
    assert fit.separation == pytest.approx(np.sqrt(2) * 11 / np.sqrt(1.5**2 + 1), rel=0.1)
    assert fit.bic_gain > 100
    assert fit.valley < 0.1
    assert 23 < fit.threshold < 29


def test_one_hump_shows_no_valley() -> None:
    fit = fit_two_humps(np.random.default_rng(6).normal(25, 2, 500))
    assert fit.bic_gain < 10
    assert fit.valley > 0.5
