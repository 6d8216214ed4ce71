"""Tests that noise is iid N(0, 1), each as a p-value, for use with a family-wise bound."""

from __future__ import annotations

import math

from scipy import stats
from torch import Tensor

FAMILY = 0.01
LAGS = ((0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 1, -1), (0, 0, 2), (0, 2, 0), (1, 0, 0))


def two_sided(z: float) -> float:
    return float(2 * stats.norm.sf(abs(z)))


def frame_p_values(frame: Tensor) -> dict[str, float]:
    """P-values of mean, variance, kurtosis, Kolmogorov-Smirnov and whiteness of one frame ``[C, H, W]``.

    Under N(0, 1) with N values: mean has standard error 1/sqrt(N), variance sqrt(2/N), the fourth moment sqrt(96/N),
    and the mean product at a lag 1/sqrt(pairs).
    """
    values = frame.double()
    count = values.numel()
    p = {
        "mean": two_sided(float(values.mean()) * math.sqrt(count)),
        "variance": two_sided((float(values.square().mean()) - 1) / math.sqrt(2 / count)),
        "kurtosis": two_sided((float(values.pow(4).mean()) - 3) / math.sqrt(96 / count)),
        "ks": float(stats.kstest(values.flatten().numpy(), "norm").pvalue),
    }
    for lag in LAGS:
        near, far = shifted(values, lag)
        p[f"lag {lag}"] = two_sided(float((near * far).mean()) * math.sqrt(near.numel()))
    return p


def shifted(values: Tensor, lag: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Pairs of values ``lag`` apart in channel, row and column."""
    near, far = values, values
    for dim, step in enumerate(lag):
        size = values.shape[dim] - abs(step)
        near = near.narrow(dim, max(-step, 0), size)
        far = far.narrow(dim, max(step, 0), size)
    return near, far


def worst(p_values: dict[str, float]) -> tuple[str, float]:
    """The smallest p-value, corrected for their number (Bonferroni), and its name."""
    name = min(p_values, key=lambda key: p_values[key])
    return name, p_values[name] * len(p_values)
