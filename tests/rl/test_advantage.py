"""Group advantages against plain arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from worldr1.rl import group_advantages

NAN = math.nan


def test_equals_numpy_per_group() -> None:
    rewards = np.random.default_rng(0).normal(size=(3, 8)) * [[1.0], [10.0], [0.1]]
    expected = (rewards - rewards.mean(1, keepdims=True)) / (rewards.std(1, keepdims=True) + 1e-4)
    result = group_advantages(torch.tensor(rewards.ravel()), 8)
    np.testing.assert_allclose(result.values.numpy(), expected.ravel(), rtol=1e-6)
    assert (result.skipped_groups, result.missing) == (0, 0)


@pytest.mark.parametrize("missing", [NAN, math.inf, -math.inf])
def test_missing_members_are_left_out_not_counted_as_zero(missing: float) -> None:
    with_gap = group_advantages(torch.tensor([10.0, missing, 12.0, 17.0]), 4)
    without = group_advantages(torch.tensor([10.0, 12.0, 17.0]), 3)
    assert with_gap.valid.tolist() == [True, False, True, True]
    torch.testing.assert_close(with_gap.values[with_gap.valid], without.values)
    assert with_gap.missing == 1
    assert with_gap.skipped_groups == 0


def test_flat_and_small_groups_are_skipped_and_counted() -> None:
    rewards = torch.tensor([0.3, 0.3, 0.3, 1.0, NAN, NAN, NAN, NAN, NAN, 1.0, 2.0, 3.0, 0.1, NAN, 0.1])
    result = group_advantages(rewards, 3)
    assert (result.flat_groups, result.small_groups, result.skipped_groups, result.missing) == (2, 2, 4, 6)
    assert result.valid.tolist() == [False] * 9 + [True] * 3 + [False] * 3


def test_rounding_does_not_make_a_flat_group_alive() -> None:
    assert group_advantages(torch.full((8,), 0.1), 8).flat_groups == 1
    assert group_advantages(torch.full((7,), 1e4 / 3), 7).flat_groups == 1


def test_clipped_on_both_sides() -> None:
    outlier = torch.zeros(100)
    outlier[0] = 1.0
    assert float(group_advantages(outlier, 100).values.max()) == 5.0
    assert float(group_advantages(-outlier, 100, clip=2.0).values.min()) == -2.0


def test_global_std_divides_all_groups_by_the_pooled_deviation_within_groups() -> None:
    rewards = torch.tensor([100.0, 102.0, 0.0, 20.0, 7.0, 7.0])
    result = group_advantages(rewards, 2, global_std=True)
    pooled = math.sqrt((1 + 1 + 100 + 100) / 4)
    expected = torch.tensor([-1.0, 1.0, -10.0, 10.0]) / (pooled + 1e-4)
    torch.testing.assert_close(result.values[:4], expected)
    assert result.flat_groups == 1
    assert result.values[4:].isnan().all()


def test_all_groups_skipped_gives_no_valid_member() -> None:
    for global_std in (False, True):
        result = group_advantages(torch.tensor([1.0, 1.0, NAN, NAN]), 2, global_std=global_std)
        assert not result.valid.any()
        assert result.skipped_groups == 2


@pytest.mark.parametrize(("shape", "size"), [((5,), 2), ((2, 2), 2), ((4,), 1), ((0,), 2)])
def test_bad_shapes_are_named(shape: tuple[int, ...], size: int) -> None:
    with pytest.raises(ValueError, match="multiple of group_size"):
        group_advantages(torch.zeros(shape), size)
