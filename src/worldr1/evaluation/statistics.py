"""Small statistics that the evaluation quotes: bootstrap intervals, rank correlation, separation of two humps.

All functions take plain sequences or arrays of floats, work in float64, and are deterministic for a given seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95% interval; `n` is the number of prompts (or videos) behind it."""

    value: float
    low: float
    high: float
    n: int


def paired_bootstrap(
    columns: Sequence[npt.ArrayLike],
    statistic: Callable[..., Floats],
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Percentile bootstrap of a statistic of several columns that belong together row by row.

    A row is a prompt; rows are resampled whole, so the pairing of base, trained and ground truth stays.
    Rows with a missing value (nan) in any column are left out before resampling.
    Resamples on which the statistic is undefined (nan) do not count; the interval is nan when none is left.

    Args:
        columns: arrays of shape [N].
        statistic: takes the columns with shape [..., N] and returns shape [...]; called once on the data and once on
            all resamples.
        resamples: number of bootstrap samples.
        seed: of the resampling.
        level: of the interval, in (0, 1).

    Raises:
        ValueError: if the columns differ in length or no complete row is left.
    """
    table = [np.asarray(column, dtype=np.float64) for column in columns]
    if any(column.shape != table[0].shape or column.ndim != 1 for column in table):
        raise ValueError(f"columns must be 1-D and equally long, got shapes {[column.shape for column in table]}")
    complete = np.all([np.isfinite(column) for column in table], axis=0)
    table = [column[complete] for column in table]
    n = len(table[0])
    if n == 0:
        raise ValueError("no prompt has a value in every column; nothing can be estimated")
    rows = np.random.default_rng(seed).integers(0, n, size=(resamples, n))
    draws = statistic(*[column[rows] for column in table])
    defined = draws[np.isfinite(draws)]
    bounds = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(defined, bounds) if len(defined) else (float("nan"), float("nan"))
    return Estimate(value=float(statistic(*table)), low=float(low), high=float(high), n=n)


def mean_of(column: Floats) -> Floats:
    """Mean over the last axis."""
    return np.asarray(column.mean(-1))


def difference(base: Floats, trained: Floats) -> Floats:
    """Mean gain over the last axis: trained - base."""
    return np.asarray((trained - base).mean(-1))


def ratio(base: Floats, trained: Floats) -> Floats:
    """Ratio of the means over the last axis: trained / base. Nan where the base's mean is zero."""
    below = base.mean(-1)
    return np.asarray(np.where(below == 0, np.nan, trained.mean(-1) / np.where(below == 0, 1, below)))


def gap_closed(base: Floats, trained: Floats, ground_truth: Floats) -> Floats:
    """Share of the gap to ground truth that training closed: (trained - base) / (ground_truth - base), of the means."""
    room = ground_truth.mean(-1) - base.mean(-1)
    return np.asarray((trained.mean(-1) - base.mean(-1)) / np.where(room == 0, np.nan, room))


def ranks(values: npt.ArrayLike) -> Floats:
    """Ranks from 1 to N, ties share their mean rank."""
    array = np.asarray(values, dtype=np.float64)
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2.0)[inverse]


def spearman(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Spearman's rank correlation; pairs with a nan are left out; nan for fewer than three pairs or no spread."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"rank correlation needs equally long arrays, got {a.shape} and {b.shape}")
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 3:
        return float("nan")
    ra, rb = ranks(a[both]), ranks(b[both])
    if ra.std() == 0 or rb.std() == 0:
        return float("nan")
    return float(np.corrcoef(ra, rb)[0, 1])


@dataclass(frozen=True)
class TwoHumps:
    """Maximum-likelihood fit of two Gaussians to a sample, low hump first.

    `separation` is Ashman's D = sqrt(2) |m1 - m0| / sqrt(s0^2 + s1^2) (above 2: the humps stand apart; Ashman, Bird and
    Zepf 1994). `bic_gain` is the BIC of one Gaussian less that of two: above 10 speaks strongly for two.
    `valley` is the fitted density at its lowest point between the means over that at the lower of the two peaks
    (1: no valley). `threshold` is where that lowest point lies.
    """

    means: tuple[float, float]
    deviations: tuple[float, float]
    weights: tuple[float, float]
    separation: float
    bic_gain: float
    valley: float
    threshold: float


def _log_density(x: Floats, mean: Floats, deviation: Floats, weight: Floats) -> Floats:
    z = (x[:, None] - mean) / deviation
    return np.asarray(np.log(weight) - np.log(deviation) - 0.5 * np.log(2 * np.pi) - 0.5 * z * z)


def fit_two_humps(values: npt.ArrayLike, *, iterations: int = 300) -> TwoHumps:
    """Fit two Gaussians by EM, from a split of the sorted sample at each of nine quantiles; the best likelihood wins.

    Args:
        values: shape [N], N >= 8 after nans are left out.

    Raises:
        ValueError: if fewer than eight finite values are given or all are equal.
    """
    x = np.sort(np.asarray(values, dtype=np.float64))
    x = x[np.isfinite(x)]
    if len(x) < 8 or x[0] == x[-1]:
        raise ValueError(f"fitting two humps needs at least 8 finite values that differ, got {len(x)}")
    floor = 0.02 * float(x.std())  # keeps a hump from collapsing onto one value
    best: tuple[float, Floats, Floats, Floats] | None = None
    for quantile in np.linspace(0.1, 0.9, 9):
        cut = min(max(int(quantile * len(x)), 2), len(x) - 2)
        mean = np.array([x[:cut].mean(), x[cut:].mean()])
        deviation = np.maximum(np.array([x[:cut].std(), x[cut:].std()]), floor)
        weight = np.array([cut, len(x) - cut]) / len(x)
        for _ in range(iterations):
            log_joint = _log_density(x, mean, deviation, weight)
            log_total = np.logaddexp(log_joint[:, 0], log_joint[:, 1])
            share = np.exp(log_joint - log_total[:, None])
            mass = np.maximum(share.sum(0), 1e-9)
            weight = np.maximum(mass / len(x), 1e-9)
            mean = (share * x[:, None]).sum(0) / mass
            deviation = np.maximum(np.sqrt((share * (x[:, None] - mean) ** 2).sum(0) / mass), floor)
        log_joint = _log_density(x, mean, deviation, weight)
        likelihood = float(np.logaddexp(log_joint[:, 0], log_joint[:, 1]).sum())
        if best is None or likelihood > best[0]:
            best = (likelihood, mean, deviation, weight)
    assert best is not None
    likelihood, mean, deviation, weight = best
    order = np.argsort(mean)
    mean, deviation, weight = mean[order], deviation[order], weight[order]
    single = float(_log_density(x, np.array([x.mean()]), np.array([x.std()]), np.ones(1)).sum())
    grid = np.linspace(mean[0], mean[1], 400)
    density = np.exp(_log_density(grid, mean, deviation, weight)).sum(1)
    lowest = int(density.argmin())
    return TwoHumps(
        means=(float(mean[0]), float(mean[1])),
        deviations=(float(deviation[0]), float(deviation[1])),
        weights=(float(weight[0]), float(weight[1])),
        separation=float(np.sqrt(2) * (mean[1] - mean[0]) / np.sqrt((deviation**2).sum())),
        bic_gain=float(2 * (likelihood - single) - 3 * np.log(len(x))),
        valley=float(density[lowest] / min(density[0], density[-1])),
        threshold=float(grid[lowest]),
    )
