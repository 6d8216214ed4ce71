"""What a variant changes: means over seeds, differences from the full method within each seed, intervals, signs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from worldr1.evaluation.statistics import Estimate

Verdict = Literal["holds", "open", "opposite"]


@dataclass(frozen=True)
class Measure:
    """A quantity of the trained model, found in evaluation.json.

    Attributes:
        name: its key in ablation.json.
        title: column head.
        place: keys that lead to it in evaluation.json.
        paper: the paper's column that it answers to, None where the paper has none.
        digits: decimals to show.
    """

    name: str
    title: str
    place: tuple[str, ...]
    paper: str | None = None
    digits: int = 3


MEASURES = (
    Measure("psnr", "PSNR, dB", ("psnr_trained",), "psnr", 2),
    Measure("fitted_psnr", "fitted PSNR, dB", ("fitted", "psnr", "trained", "value"), "psnr", 2),
    Measure("fitted_ssim", "fitted SSIM", ("fitted", "ssim", "trained", "value"), "ssim"),
    Measure("fitted_lpips", "fitted LPIPS", ("fitted", "lpips", "trained", "value"), "lpips"),
    Measure("general", "R_gen", ("metrics", "general", "trained", "value"), "vbench"),
    Measure("recon", "S_recon", ("metrics", "recon", "trained", "value")),
    Measure("traj", "S_traj", ("metrics", "traj", "trained", "value")),
    Measure("meta", "S_meta", ("metrics", "meta", "trained", "value")),
    Measure("dynamic_degree", "dynamic degree", ("guards", "dynamic_degree", "trained")),
    Measure("camera_motion", "camera motion", ("guards", "camera_motion", "trained")),
    Measure("objects", "objects", ("guards", "objects", "trained")),
)


def value_of(evaluation: Mapping[str, Any], measure: Measure) -> float:
    """The measure's value in an evaluation; nan where it was not measured."""
    found: Any = evaluation
    for key in measure.place:
        found = found.get(key) if isinstance(found, Mapping) else None
    return math.nan if found is None else float(found)


def over_seeds(values: Sequence[float]) -> Estimate | None:
    """Mean of one value a seed with Student's 95% interval; nan is left out, the interval is nan for a single value.

    None when no value is left.
    """
    known = [value for value in values if math.isfinite(value)]
    n = len(known)
    if n == 0:
        return None
    mean = math.fsum(known) / n
    if n == 1:
        return Estimate(mean, math.nan, math.nan, 1)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in known) / (n - 1))
    half = student_quantile(n - 1) * deviation / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


def student_quantile(degrees: int, level: float = 0.95) -> float:
    """t with P(|T| < t) = level for Student's T with `degrees` of freedom, by bisection of the closed form.

    Raises:
        ValueError: for less than one degree of freedom or a level outside (0, 1).
    """
    if degrees < 1 or not 0 < level < 1:
        raise ValueError(f"Student's t needs degrees >= 1 and a level in (0, 1), got {degrees} and {level}")
    low, high = 0.0, math.pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_inside(middle, degrees) < level else (low, middle)
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _student_inside(angle: float, degrees: int) -> float:
    """P(|T| < sqrt(degrees) tan(angle)) (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(1 + odd, degrees, 2):
        total += term
        term *= cosine * cosine * k / (k + 1)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def verdict(effect: Estimate, expected: float) -> Verdict:
    """Whether the paper's sign shows: `open` while the interval holds 0 or there is none."""
    if not (math.isfinite(effect.low) and effect.low * effect.high > 0):
        return "open"
    return "holds" if effect.value * expected > 0 else "opposite"
