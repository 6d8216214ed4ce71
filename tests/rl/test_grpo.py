"""Flow-GRPO against float64 formulas, and the identities that must hold before the first update."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from toy_policies import LinearPolicy, ToyPolicy, draws
from worldr1.policy import LoraSettings, WanPolicy
from worldr1.rl import FlowGRPO, GRPOSettings, LossTerm, group_advantages
from worldr1.rl.grpo import regulated
from worldr1.sampling import Rollout
from worldr1.sampling.stepper import log_prob

BATCH = 8


def _collect(settings: GRPOSettings, policy: ToyPolicy, batch: int = BATCH) -> tuple[FlowGRPO, Rollout]:
    objective = FlowGRPO(settings)
    noise = torch.randn(batch, policy.channels, 1, 1, 1)
    return objective, objective.collect(policy, policy.encode([""] * batch), noise, draws(1, batch), step=0)


def _terms(objective: FlowGRPO, policy: ToyPolicy, rollout: Rollout, advantages: Tensor) -> list[LossTerm]:
    text = policy.encode([""] * len(rollout))
    return list(objective.losses(policy, rollout, text, advantages, draws(2, len(rollout))))


def _reference(
    policy: LinearPolicy, rollout: Rollout, advantages: np.ndarray, settings: GRPOSettings
) -> tuple[float, np.ndarray]:
    """Loss and its gradient with respect to the weight matrix, written out in float64 numpy (no clipping active)."""
    weight, bias = (parameter.detach().double().numpy() for parameter in (policy.weight, policy.bias))
    base_weight, base_bias = (parameter.double().numpy() for parameter in policy._frozen[0].parameters())
    states = rollout.states.double().numpy().reshape(len(rollout.states), len(rollout), -1)
    sigmas = rollout.sigmas.double().numpy()
    loss, gradient, count = 0.0, np.zeros_like(weight), 0
    for j, i in enumerate(rollout.steps):
        s, s_next = sigmas[i], sigmas[i + 1]
        level = s_next if s == 1.0 else s
        g2, d = settings.eta**2 * level / (1 - level), s_next - s
        dmean_dv = d * (1 + g2 * (1 - s) / (2 * s))
        for b in np.flatnonzero(np.isfinite(advantages)):
            x, x_next = states[j, b], states[j + 1, b]
            mean = x * (1 + g2 * d / (2 * s)) + (weight @ x + bias) * dmean_dv
            base_mean = x * (1 + g2 * d / (2 * s)) + (base_weight @ x + base_bias) * dmean_dv
            variance = -g2 * d
            log_density = np.mean(-((x_next - mean) ** 2) / (2 * variance) - 0.5 * np.log(2 * np.pi * variance))
            ratio = np.exp(log_density - float(rollout.log_probs[j, b]))
            kl = np.mean((mean - base_mean) ** 2) / (2 * g2 * abs(d))
            loss += -advantages[b] * ratio + settings.kl * kl
            dlogp = np.outer((x_next - mean) / variance, x) * dmean_dv / len(x)
            dkl = np.outer((mean - base_mean) / variance, x) * dmean_dv / len(x)
            gradient += -advantages[b] * ratio * dlogp + settings.kl * dkl
            count += 1
    return loss / count, gradient / count


@pytest.mark.parametrize("window_range", [(0, 3), (2, 5)])
@pytest.mark.parametrize("moved", [0.0, 0.02])
def test_loss_and_gradient_equal_the_analytic_ones_on_a_linear_policy(
    window_range: tuple[int, int], moved: float
) -> None:
    settings = GRPOSettings(steps=6, window=3, window_range=window_range, clip=10.0, kl=0.3)
    policy = LinearPolicy(3)
    objective, rollout = _collect(settings, policy)
    with torch.no_grad():
        policy.weight.add_(moved * torch.randn(3, 3))
    advantages = torch.randn(BATCH)
    advantages[2] = torch.nan
    terms = _terms(objective, policy, rollout, advantages)
    sum(term.loss for term in terms).backward()  # type: ignore[union-attr]
    loss, gradient = _reference(policy, rollout, advantages.double().numpy(), settings)
    assert policy.weight.grad is not None
    np.testing.assert_allclose(sum(term.loss.item() for term in terms), loss, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(policy.weight.grad.numpy(), gradient, rtol=2e-3, atol=2e-5)


def test_guard_s_second_update_equals_its_formula() -> None:
    """log-ratio = mean over dimensions of (mu - mu_old) eps, loss and gradient divided by |d|, in float64 numpy."""
    settings = GRPOSettings(steps=6, window=1, window_range=(2, 3), clip=10.0, epochs=2, guard=True)
    policy = LinearPolicy(3)
    objective, rollout = _collect(settings, policy)
    old_weight, bias = (parameter.detach().double().numpy().copy() for parameter in (policy.weight, policy.bias))
    advantages = torch.randn(BATCH)
    terms = objective.losses(policy, rollout, policy.encode([""] * BATCH), advantages, draws(2, BATCH))
    first = next(terms)
    assert first.statistics["ratio_min"] == first.statistics["ratio_max"] == 1.0
    with torch.no_grad():
        policy.weight.add_(0.05 * torch.randn(3, 3))
    second = next(terms)
    second.loss.backward()

    s, s_next = (float(rollout.sigmas[i]) for i in (2, 3))
    g2, d = settings.eta**2 * s / (1 - s), s_next - s
    dmean_dv, std = d * (1 + g2 * (1 - s) / (2 * s)), math.sqrt(-g2 * d)
    x, x_next = rollout.states.double().numpy().reshape(2, BATCH, 3)
    old_mean = x * (1 + g2 * d / (2 * s)) + (x @ old_weight.T + bias) * dmean_dv
    moved = x @ (policy.weight.detach().double().numpy() - old_weight).T * dmean_dv
    eps = (x_next - old_mean) / std
    ratio = np.exp((moved * eps).mean(1))
    scaled = advantages.double().numpy() * ratio / -d
    assert abs(ratio - 1).max() > 1e-3
    np.testing.assert_allclose(second.loss.item(), -scaled.mean(), rtol=1e-4)
    np.testing.assert_allclose(second.statistics["ratio_max"], ratio.max(), rtol=1e-5)
    gradient = -np.einsum("b,bi,bj->ij", scaled, eps, x) * dmean_dv / (3 * BATCH)
    assert policy.weight.grad is not None
    np.testing.assert_allclose(policy.weight.grad.numpy(), gradient, rtol=2e-3, atol=2e-5)


def test_guard_centres_the_ratios_that_are_otherwise_below_one() -> None:
    """Over 20,000 samples the mean log-ratio is 0 within 4 standard errors; without guard it lies clearly below."""
    count, found = 20_000, []
    for guard in (True, False):
        torch.manual_seed(0)
        policy = LinearPolicy(3)
        settings = GRPOSettings(steps=6, window=1, window_range=(2, 3), clip=10.0, epochs=2, guard=guard)
        objective, rollout = _collect(settings, policy, count)
        step = objective._step(policy, rollout, policy.encode([""] * count), 0, slice(0, count))
        with torch.no_grad():
            policy.weight.add_(0.3)
            moved = objective._step(policy, rollout, policy.encode([""] * count), 0, slice(0, count))
            change = log_prob("sde", rollout.states[1], moved.mean, moved.std) - rollout.log_probs[0]
            change = regulated(change, moved, step.mean) if guard else change
        found.append(float(change.mean() / (change.std() / math.sqrt(count))))
    assert abs(found[0]) < 4 < -found[1] / 2


def test_guard_needs_the_law_that_it_normalises() -> None:
    with pytest.raises(ValueError, match="not those of 'cps'"):
        GRPOSettings(law="cps", guard=True)


def test_expected_gradient_is_that_of_the_expected_reward() -> None:
    """One stochastic step, reward c . x': the estimate from 400,000 samples lies within 4 standard errors per entry.

    With normalised advantages and log-probs averaged over D dimensions, E[A grad logp] = grad E[r] / (D std(r)).
    """
    count, channels = 400_000, 3
    settings = GRPOSettings(steps=5, window=1, window_range=(4, 5), clip=10.0)
    policy = LinearPolicy(channels)
    objective, rollout = _collect(settings, policy, count)
    direction = torch.tensor([1.0, -2.0, 0.5])
    rewards = rollout.latents.flatten(1) @ direction
    advantages = group_advantages(rewards, count)
    (term,) = _terms(objective, policy, rollout, advantages.values)
    (estimate,) = torch.autograd.grad(term.loss, [policy.bias])

    s, s_next = (float(rollout.sigmas[i]) for i in (4, 5))
    g2, d = 0.7**2 * s / (1 - s), s_next - s
    dmean_dv = d * (1 + g2 * (1 - s) / (2 * s))
    std_reward = float(rewards.std(unbiased=False))
    expected = -direction * dmean_dv / (channels * std_reward)
    x = rollout.states[0].flatten(1)
    z = (rollout.latents.flatten(1) - x * (1 + g2 * d / (2 * s)) - (x @ policy.weight.T + policy.bias) * dmean_dv) / (
        math.sqrt(-g2 * d)
    )
    per_sample = -advantages.values[:, None] * z.detach() * dmean_dv / (math.sqrt(-g2 * d) * channels)
    error = per_sample.std(0) / math.sqrt(count)
    assert ((estimate - expected).abs() < 4 * error).all()
    assert (expected.abs() > 10 * error).all()


@pytest.mark.filterwarnings("ignore:Mismatch dtype")
@pytest.mark.parametrize("micro_batch", [None, 3])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
@pytest.mark.parametrize(("law", "guidance"), [("sde", 1.0), ("cps", 3.0)])
def test_before_the_first_update_ratio_is_exactly_one_and_kl_exactly_zero(
    tiny_pipeline: Any, micro_batch: int | None, autocast: torch.dtype | None, law: Any, guidance: float
) -> None:
    """Also with guidance, which rollout, loss and frozen base all have."""
    policy = WanPolicy(tiny_pipeline, guidance, 16, LoraSettings(4, 8), autocast)
    text = policy.encode(["camera orbit left. a red box", "camera fixed. a blue sphere"]).repeat(4)
    objective = FlowGRPO(
        GRPOSettings(steps=6, window=5, window_range=(0, 5), kl=0.1, law=law, updates=2, micro_batch=micro_batch)
    )
    numbers = draws(0, 8)
    rollout = objective.collect(policy, text, torch.randn(8, *policy.latent_shape(5, 32, 32)), numbers, 0)
    advantages = group_advantages(torch.tensor([1.0, 2.0, torch.nan, 4.0, 3.0, 1.0, 0.0, 2.0]), 4).values
    terms = list(objective.losses(policy, rollout, text, advantages, numbers))
    assert terms
    for term in terms:
        assert term.statistics["ratio_min"] == term.statistics["ratio_mean"] == term.statistics["ratio_max"] == 1.0
        assert term.statistics["kl"] == 0.0
        assert term.statistics["clip_fraction"] == 0.0
    sum(term.loss for term in terms).backward()  # type: ignore[union-attr]
    assert any(float(parameter.grad.abs().sum()) > 0 for parameter in policy.trainable_parameters())  # type: ignore[union-attr]


def test_clipping_stops_the_gradient_on_the_profitable_side_only() -> None:
    policy = LinearPolicy(3)
    settings = GRPOSettings(steps=6, window=1, window_range=(2, 3), clip=1e-6)
    objective, rollout = _collect(settings, policy)
    with torch.no_grad():
        policy.weight.add_(0.05)
    (term,) = _terms(objective, policy, rollout, torch.ones(BATCH))
    assert term.statistics["clip_fraction"] == 1.0
    for b in range(BATCH):
        for sign in (1.0, -1.0):
            advantages = torch.full((BATCH,), torch.nan)
            advantages[b] = sign
            (term,) = _terms(objective, policy, rollout, advantages)
            (gradient,) = torch.autograd.grad(term.loss, [policy.weight])
            gone_too_far = sign * (term.statistics["ratio_mean"] - 1) > 0
            assert (float(gradient.abs().max()) == 0.0) == gone_too_far


def test_skipped_groups_contribute_nothing_and_cost_nothing() -> None:
    policy = LinearPolicy(3)
    objective, rollout = _collect(GRPOSettings(steps=6, micro_batch=4, kl=0.1), policy)
    with torch.no_grad():
        policy.weight.add_(0.05)
    calls: list[int] = []
    velocity = policy.velocity
    policy.velocity = lambda *a: calls.append(len(a[0])) or velocity(*a)  # type: ignore[func-returns-value,method-assign]
    half = torch.cat([torch.randn(4), torch.full((4,), torch.nan)])
    terms = _terms(objective, policy, rollout, half)
    assert calls == [4, 4, 4, 4]  # two steps, policy and base
    alone = dataclasses.replace(
        rollout, latents=rollout.latents[:4], states=rollout.states[:, :4], log_probs=rollout.log_probs[:, :4]
    )
    expected = _terms(objective, policy, alone, half[:4])
    assert [term.loss.item() for term in terms] == [term.loss.item() for term in expected]
    assert _terms(objective, policy, rollout, torch.full((BATCH,), torch.nan)) == []


@pytest.mark.parametrize("micro_batch", [None, 2, 3])
def test_micro_batches_add_up_to_the_whole(micro_batch: int | None) -> None:
    policy = LinearPolicy(3)
    whole, rollout = _collect(GRPOSettings(steps=6, kl=0.1), policy)
    advantages = torch.randn(BATCH)
    advantages[5] = torch.nan
    cut = FlowGRPO(GRPOSettings(steps=6, kl=0.1, micro_batch=micro_batch))
    totals = [sum(term.loss.item() for term in _terms(o, policy, rollout, advantages)) for o in (whole, cut)]
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)


def test_updates_and_epochs_mark_their_ends_and_visit_everything() -> None:
    policy = LinearPolicy(3)
    settings = GRPOSettings(steps=6, window=3, micro_batch=2, updates=4, epochs=2)
    objective, rollout = _collect(settings, policy)
    terms = _terms(objective, policy, rollout, torch.randn(BATCH))
    assert len(terms) == 2 * 3 * 4
    assert sum(term.end_of_update for term in terms) == 8
    assert terms[-1].end_of_update
    assert sum(term.weight for term in terms) == 2 * 3 * BATCH


def test_window_is_a_function_of_seed_and_step_and_covers_its_range_evenly() -> None:
    """Chi-square over 2,000 steps at the 1% level (11.34 for 3 degrees of freedom)."""
    settings = GRPOSettings(window=2, window_range=(0, 5))
    starts = [FlowGRPO(settings).window(step)[0] for step in range(2000)]
    assert starts == [FlowGRPO(settings).window(step)[0] for step in range(2000)]
    counts = np.bincount(starts, minlength=4)
    assert len(counts) == 4
    assert float(((counts - 500) ** 2 / 500).sum()) < 11.34
    other = [FlowGRPO(dataclasses.replace(settings, seed=1)).window(step)[0] for step in range(2000)]
    assert starts != other
    assert FlowGRPO(GRPOSettings(steps=10, window=10, window_range=(0, 10))).window(7) == (0, 10)


def test_settings_and_state_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="must fit into window_range"):
        GRPOSettings(window=6)
    with pytest.raises(ValueError, match="at least 1"):
        GRPOSettings(epochs=0)
    with pytest.raises(ValueError, match="has no state"):
        FlowGRPO(GRPOSettings()).load_state_dict({"x": 1})
