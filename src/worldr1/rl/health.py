"""Signs that an update went wrong: a gradient without a value, a policy far from the one that sampled."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from worldr1.rl.metrics import Value

logger = logging.getLogger(__name__)

FAR = 10.0
"""A ratio beyond this, or below its inverse, lies far outside of any `objective.grpo.clip`."""


def require_finite(norm: float, step: int) -> None:
    """Refuse an update whose gradient has no finite norm, as a loss that is nan or infinite gives it.

    Raises:
        ValueError: it has none.
    """
    if not math.isfinite(norm):
        raise ValueError(
            f"step {step}: the gradient's norm is {norm}, so this update is not made; train anew with a lower "
            "optimiser.lr, or with --model.dtype float32"
        )


def warn_of_ratios(told: Mapping[str, Value], step: int) -> None:
    """Tell of a step in which the policy left the one that sampled: `told` may have "loss/ratio_min" and "_max"."""
    ratios = [value for name in ("min", "max") if isinstance(value := told.get(f"loss/ratio_{name}"), float)]
    far = [ratio for ratio in ratios if not 1 / FAR <= ratio <= FAR]
    if far:
        logger.warning(
            "step %d: a ratio of the policy to the one that sampled is %.3g, where 1 means no change; if this goes on, "
            "train anew with a lower optimiser.lr or fewer objective.grpo.updates and epochs",
            step,
            far[0],
        )
