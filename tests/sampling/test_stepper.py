"""Steps against closed forms in float64 and, for the marginals, against an analytic flow with statistical tests."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from toy_policies import MixturePolicy
from worldr1.sampling import cps_step, log_prob, ode_step, sde_step
from worldr1.sampling.stepper import Step

SHAPE = (3, 4, 2, 4, 4)


def _inputs() -> tuple[Tensor, Tensor]:
    return torch.randn(SHAPE), torch.randn(SHAPE)


def _sde_reference(x: Tensor, v: Tensor, s: float, s_next: float, eta: float) -> tuple[np.ndarray, float]:
    """The paper's form: drift v + g^2 / (2 s) (x + (1 - s) v), in float64."""
    x64, v64 = x.double().numpy(), v.double().numpy()
    g = eta * math.sqrt(s / (1 - s))
    dt = s_next - s
    return x64 + (v64 + g**2 / (2 * s) * (x64 + (1 - s) * v64)) * dt, g * math.sqrt(-dt)


@pytest.mark.parametrize(("s", "s_next"), [(1.0, 0.9), (0.7, 0.6), (0.1, 0.0)])
def test_sde_with_eta_zero_is_the_euler_step_bit_for_bit(s: float, s_next: float) -> None:
    x, v = _inputs()
    sigma, sigma_next = torch.tensor(s), torch.tensor(s_next)
    step = sde_step(x, v, sigma, sigma_next, 0.0, torch.randn(SHAPE))
    assert torch.equal(step.next, ode_step(x, v, sigma, sigma_next))


def test_cps_with_eta_zero_is_the_euler_step() -> None:
    x, v = _inputs()
    step = cps_step(x, v, torch.tensor(0.7), torch.tensor(0.5), 0.0, torch.randn(SHAPE))
    torch.testing.assert_close(step.next, ode_step(x, v, torch.tensor(0.7), torch.tensor(0.5)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("s", "s_next"), [(0.95, 0.9), (0.6, 0.55), (0.05, 0.0)])
def test_sde_mean_and_std_equal_the_float64_formula(s: float, s_next: float) -> None:
    x, v = _inputs()
    step = sde_step(x, v, torch.tensor(s), torch.tensor(s_next), 0.7)
    mean, std = _sde_reference(x, v, s, s_next, 0.7)
    np.testing.assert_allclose(step.mean.numpy(), mean, rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(step.std.numpy(), std, rtol=1e-5)


@pytest.mark.parametrize("first", [1.0, 0.999999])
def test_at_sigma_one_the_noise_takes_the_next_sigma(first: float) -> None:
    x, v = _inputs()
    step = sde_step(x, v, torch.tensor(first), torch.tensor(0.98), 0.7)
    np.testing.assert_allclose(step.std.numpy(), 0.7 * math.sqrt(0.98 / 0.02 * (first - 0.98)), rtol=1e-4)
    assert step.mean.isfinite().all()


def test_sigma_per_sample_equals_each_sample_alone() -> None:
    x, v = _inputs()
    sigma, sigma_next = torch.tensor([1.0, 0.6, 0.2]), torch.tensor([0.9, 0.5, 0.0])
    together = sde_step(x, v, sigma, sigma_next, 0.7)
    for b in range(3):
        alone = sde_step(x[b : b + 1], v[b : b + 1], sigma[b], sigma_next[b], 0.7)
        assert torch.equal(together.mean[b], alone.mean[0])
        assert torch.equal(together.std[b], alone.std[0])


def test_steps_are_fp32_for_bf16_states() -> None:
    x, v = (tensor.bfloat16() for tensor in _inputs())
    sigma, sigma_next = torch.tensor(0.7), torch.tensor(0.6)
    for result in (
        ode_step(x, v, sigma, sigma_next),
        sde_step(x, v, sigma, sigma_next, 0.7).mean,
        cps_step(x, v, sigma, sigma_next, 0.7).mean,
    ):
        assert result.dtype == torch.float32
    assert torch.equal(ode_step(x, v, sigma, sigma_next), ode_step(x.float(), v.float(), sigma, sigma_next))


def test_log_prob_equals_the_float64_closed_form() -> None:
    x, v = _inputs()
    step = sde_step(x, v, torch.tensor(0.7), torch.tensor(0.6), 0.7, torch.randn(SHAPE))
    density = stats.norm.logpdf(
        step.next.double().numpy(), step.mean.double().numpy(), step.std.double().expand(SHAPE).numpy()
    )
    expected = density.reshape(SHAPE[0], -1).mean(1)
    np.testing.assert_allclose(log_prob("sde", step.next, step.mean, step.std).numpy(), expected, rtol=1e-5)


def test_cps_log_prob_is_minus_the_mean_squared_error() -> None:
    x, v = _inputs()
    step = cps_step(x, v, torch.tensor(0.7), torch.tensor(0.6), 0.7, torch.randn(SHAPE))
    expected = -((step.next - step.mean).double() ** 2).reshape(SHAPE[0], -1).mean(1)
    torch.testing.assert_close(log_prob("cps", step.next, step.mean, step.std).double(), expected, rtol=1e-5, atol=0)


def test_cps_keeps_the_levels_of_signal_and_noise() -> None:
    """With the true velocity of a pair (x0, eps), the step's mean and std are those of (1 - s') x0 + s' noise."""
    x0, eps = _inputs()
    s, s_next, eta = 0.7, 0.5, 0.6
    step = cps_step((1 - s) * x0 + s * eps, eps - x0, torch.tensor(s), torch.tensor(s_next), eta)
    kept = (step.mean - (1 - s_next) * x0) / eps
    torch.testing.assert_close(kept**2 + step.std**2, torch.full(SHAPE, s_next**2), rtol=1e-3, atol=1e-4)


def _integrate(policy: MixturePolicy, noise: Tensor, sigmas: Tensor, eta: float, stop: float) -> Tensor:
    x = noise
    text = policy.encode([""] * len(x))
    with torch.no_grad():
        for sigma, sigma_next in pairwise(sigmas):
            if sigma <= stop + 1e-6:
                break
            v = policy.velocity(x, sigma.expand(len(x)), text)
            step: Step = sde_step(x, v, sigma, sigma_next, eta, torch.randn_like(x))
            x = step.next
    return x


@pytest.mark.parametrize("stop", [0.5, 0.0])
def test_sde_has_the_marginals_of_the_ode(stop: float) -> None:
    """Two-sample Kolmogorov-Smirnov at the 1% level, 20,000 samples a side, on an analytic mixture (weight 0.3)."""
    policy = MixturePolicy(math.log(0.3 / 0.7))
    sigmas = torch.linspace(1, 0, 401)
    ode = _integrate(policy, torch.randn(20_000, 1, 1, 1, 1), sigmas, 0.0, stop).flatten()
    sde = _integrate(policy, torch.randn(20_000, 1, 1, 1, 1), sigmas, 0.7, stop).flatten()
    assert stats.ks_2samp(ode, sde).pvalue > 0.01
    for sample in (ode, sde):
        assert stats.kstest(sample, lambda x: policy.cdf(torch.as_tensor(x), stop).numpy()).pvalue > 0.01


def test_the_marginal_test_would_notice_noise_without_its_drift() -> None:
    """The same test rejects an Euler step with the same noise but no correction of the drift."""
    policy = MixturePolicy(math.log(0.3 / 0.7))
    sigmas = torch.linspace(1, 0, 401)
    x = torch.randn(20_000, 1, 1, 1, 1)
    text = policy.encode([""] * len(x))
    with torch.no_grad():
        for sigma, sigma_next in pairwise(sigmas):
            v = policy.velocity(x, sigma.expand(len(x)), text)
            std = sde_step(x, v, sigma, sigma_next, 0.7).std
            x = ode_step(x, v, sigma, sigma_next) + std * torch.randn_like(x)
    ode = _integrate(policy, torch.randn(20_000, 1, 1, 1, 1), sigmas, 0.0, 0.0)
    assert stats.ks_2samp(ode.flatten(), x.flatten()).pvalue < 1e-6
