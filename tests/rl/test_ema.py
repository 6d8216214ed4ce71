"""Averages against the recursion written out."""

from __future__ import annotations

import pytest
import torch

from toy_policies import LinearPolicy
from worldr1.rl import Ema, linear_decay, warm_decay


def test_follows_the_recursion() -> None:
    policy = LinearPolicy()
    decays = [0.0, 0.25, 0.5, 0.5]
    ema = Ema(policy, lambda n: min(0.5, 0.25 * n))
    expected = policy.weight.detach().double().clone()
    for decay in decays:
        with torch.no_grad():
            policy.weight.add_(torch.randn_like(policy.weight))
        ema.update(policy)
        expected = decay * expected + (1 - decay) * policy.weight.detach().double()
    with ema.applied(policy):
        torch.testing.assert_close(policy.weight.double(), expected, rtol=1e-6, atol=1e-6)


def test_decay_zero_copies_exactly_and_applying_leaves_the_policy_alone() -> None:
    policy = LinearPolicy()
    ema = Ema(policy, linear_decay(0.001, 0.5))
    with torch.no_grad():
        policy.weight.mul_(1.7)
    before = policy.weight.detach().clone()
    ema.update(policy)
    with ema.applied(policy):
        assert torch.equal(policy.weight, before)
        inside = policy.weight.data_ptr()
    assert torch.equal(policy.weight, before)
    assert policy.weight.data_ptr() != inside


def test_decays() -> None:
    assert [linear_decay(0.1, 0.25)(n) for n in (0, 1, 2, 3, 9)] == pytest.approx([0.0, 0.1, 0.2, 0.25, 0.25])
    assert [warm_decay(0.9)(n) for n in (0, 8, 1000)] == pytest.approx([0.1, 0.5, 0.9])


def test_state_goes_round_bit_for_bit() -> None:
    policy = LinearPolicy()
    ema = Ema(policy, warm_decay(0.9))
    with torch.no_grad():
        policy.weight.add_(1.0)
    ema.update(policy)
    state = {
        name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in ema.state_dict().items()
    }
    other = Ema(LinearPolicy(), warm_decay(0.9))
    other.load_state_dict(state)
    for average in (ema, other):
        average.update(policy)
    for name, value in ema.state_dict().items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(other.state_dict()[name])), name
    with pytest.raises(ValueError, match="names differ"):
        other.load_state_dict({"updates": 1})
