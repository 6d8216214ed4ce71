"""Student's interval against scipy and against simulation; signs against hand-made seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from worldr1.ablation.effects import MEASURES, over_seeds, student_quantile, value_of, verdict
from worldr1.evaluation.statistics import Estimate


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 10, 29, 100])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_quantiles_are_student_s(degrees: int, level: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert student_quantile(degrees, level) == pytest.approx(stats.t.ppf((1 + level) / 2, degrees), rel=1e-9)


def test_one_degree_is_cauchy() -> None:
    assert student_quantile(1, 0.5) == pytest.approx(1.0, rel=1e-12)
    with pytest.raises(ValueError, match="degrees >= 1"):
        student_quantile(0)


def test_intervals_over_three_seeds_cover_95_percent() -> None:
    """20,000 draws: the share that covers the mean has a standard error of 0.0015; the band is four of them."""
    rng = np.random.default_rng(0)
    draws = rng.normal(2.0, 3.0, (20_000, 3))
    found = [over_seeds(row) for row in draws]
    covered = np.mean([e is not None and e.low < 2.0 < e.high for e in found])
    assert covered == pytest.approx(0.95, abs=0.0062)


def test_missing_seeds_are_left_out() -> None:
    two = over_seeds([1.0, math.nan, 3.0])
    assert two is not None
    assert (two.value, two.n) == (2.0, 2)
    assert two.high - two.value == pytest.approx(12.7062 * math.sqrt(2) / math.sqrt(2), rel=1e-4)
    one = over_seeds([1.5])
    assert one is not None
    assert one.value == 1.5
    assert math.isnan(one.low)
    assert over_seeds([math.nan]) is None


@pytest.mark.parametrize(
    ("bounds", "expected", "said"),
    [
        ((-2.0, -1.0), -0.7, "holds"),
        ((-2.0, -1.0), 0.7, "opposite"),
        ((1.0, 2.0), 0.7, "holds"),
        ((-2.0, 0.1), -0.7, "open"),
        ((math.nan, math.nan), -0.7, "open"),
        ((0.0, 0.0), 0.7, "open"),
    ],
)
def test_signs(bounds: tuple[float, float], expected: float, said: str) -> None:
    assert verdict(Estimate(sum(bounds) / 2, *bounds, 3), expected) == said


def test_measures_are_found_where_the_evaluation_has_them() -> None:
    evaluation = {
        "psnr_trained": 28.0,
        "metrics": {"general": {"trained": {"value": 0.5}}, "recon": {"base": {"value": 0.1}}},
        "guards": {"dynamic_degree": {"trained": 0.8}},
    }
    found = {m.name: value_of(evaluation, m) for m in MEASURES}
    assert (found["psnr"], found["general"], found["dynamic_degree"]) == (28.0, 0.5, 0.8)
    assert math.isnan(found["recon"])
    assert math.isnan(found["fitted_psnr"])
