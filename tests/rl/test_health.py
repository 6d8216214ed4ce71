"""An update without a value is refused; a policy that ran away is told."""

from __future__ import annotations

import math

import pytest

from worldr1.rl.health import require_finite, warn_of_ratios


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_gradient_without_a_value_stops_with_step_and_mend(norm: float) -> None:
    require_finite(1e30, 3)
    with pytest.raises(ValueError, match=f"step 3: the gradient's norm is {norm}.*lower optimiser.lr"):
        require_finite(norm, 3)


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [(0.5, 1.6, None), (0.01, 1.0, "0.01"), (1.0, 1e9, "1e\\+09"), (1.0, math.inf, "inf"), (math.nan, 1.0, "nan")],
)
def test_a_ratio_far_from_one_is_told_with_step_and_mend(
    low: float, high: float, told: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_ratios({"loss/ratio_min": low, "loss/ratio_max": high, "loss/kl": 1e9}, 7)
    assert [record.message.split(", ")[0] for record in caplog.records] == (
        [] if told is None else [f"step 7: a ratio of the policy to the one that sampled is {told}".replace("\\", "")]
    )


def test_an_objective_without_ratios_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_ratios({"loss/policy_loss": 1.0}, 0)
    assert not caplog.records
