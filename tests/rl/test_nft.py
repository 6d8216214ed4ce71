"""DiffusionNFT against float64 formulas and on a mixture whose weight is its only parameter."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from toy_policies import LinearPolicy, MixturePolicy, draws
from worldr1.policy import LoraSettings, WanPolicy
from worldr1.rl import DiffusionNFT, NFTSettings, group_advantages
from worldr1.rl.nft import stratified_times
from worldr1.sampling import Rollout

BATCH = 6


def _rollout(latents: Tensor) -> Rollout:
    empty = latents.new_empty(0, *latents.shape)
    return Rollout(latents, empty, latents.new_empty(0, len(latents)), (), torch.linspace(1, 0, 5))


@pytest.mark.parametrize("beta", [1.0, 0.4])
def test_loss_equals_the_float64_formula(beta: float) -> None:
    policy = LinearPolicy(3)
    settings = NFTSettings(times=1, beta=beta, penalty=0.2)
    objective = DiffusionNFT(settings, policy)
    old = [parameter.detach().double().numpy().copy() for parameter in policy.parameters()]
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    new = [parameter.detach().double().numpy() for parameter in policy.parameters()]
    seen: list[tuple[Tensor, Tensor]] = []
    velocity = policy.velocity
    policy.velocity = lambda x, t, c: seen.append((x, t)) or velocity(x, t, c)  # type: ignore[func-returns-value,method-assign]
    latents = torch.randn(BATCH, 3, 1, 1, 1)
    advantages = torch.tensor([0.3, -7.0, 7.0, torch.nan, 0.0, -2.0])
    text = policy.encode([""] * BATCH)
    (term,) = objective.losses(policy, _rollout(latents), text, advantages, draws(0, BATCH))

    x, t = seen[-1][0].double().numpy().reshape(5, 3), seen[-1][1].double().numpy()
    valid = [0, 1, 2, 4, 5]
    x0 = latents.double().numpy().reshape(BATCH, 3)[valid]
    good = [0.53, 0.0, 1.0, 0.5, 0.3]
    losses = []
    for b in range(5):
        v_old, v_new = (w @ x[b] + bias for w, bias in (old, new))
        plus = x[b] - t[b] * (beta * v_new + (1 - beta) * v_old) - x0[b]
        minus = x[b] - t[b] * ((1 + beta) * v_old - beta * v_new) - x0[b]
        pull = good[b] * np.mean(plus**2) / np.mean(np.abs(plus))
        push = (1 - good[b]) * np.mean(minus**2) / np.mean(np.abs(minus))
        losses.append((pull + push) / beta + 0.2 * np.mean((v_new - v_old) ** 2))
    assert term.loss.item() == pytest.approx(np.mean(losses), rel=1e-5)
    assert term.weight == 5
    assert term.end_of_update


def test_noised_states_lie_on_the_forward_process() -> None:
    """The states given to the network are (1 - t) x0 + t eps with standard normal eps: 4 standard errors."""
    policy = LinearPolicy(3)
    seen: list[tuple[Tensor, Tensor]] = []
    velocity = policy.velocity
    policy.velocity = lambda x, t, c: seen.append((x, t)) or velocity(x, t, c)  # type: ignore[func-returns-value,method-assign]
    latents = torch.randn(5000, 3, 1, 1, 1)
    objective = DiffusionNFT(NFTSettings(times=1, penalty=0.0), policy)
    text = policy.encode([""] * 5000)
    list(objective.losses(policy, _rollout(latents), text, torch.ones(5000), draws(0, 5000)))
    x, t = seen[-1][0], seen[-1][1].reshape(-1, 1, 1, 1, 1)
    eps = (x - (1 - t) * latents) / t
    assert abs(float(eps.mean())) < 4 / 15_000**0.5
    assert abs(float(eps.var()) - 1) < 4 * (2 / 15_000) ** 0.5
    assert abs(float((eps * latents).mean())) < 4 / 15_000**0.5


@pytest.mark.parametrize("rewarded", [-2.0, 2.0])
def test_gradient_raises_the_weight_of_the_rewarded_mode(rewarded: float) -> None:
    """The parameter is the logit of the mode at +2; the sign of its descent direction, beyond 4 standard errors."""
    slopes = []
    for seed in range(12):
        torch.manual_seed(seed)
        policy = MixturePolicy()
        objective = DiffusionNFT(NFTSettings(times=4, time_range=(0.2, 0.95)), policy)
        latents = policy.sample_data(128)
        rewards = -(latents.flatten() - rewarded).abs()
        advantages = group_advantages(rewards, 32).values
        text = policy.encode([""] * 128)
        terms = objective.losses(policy, _rollout(latents), text, advantages, draws(seed, 128))
        loss = torch.stack([term.loss for term in terms]).sum()
        slopes.append(-float(torch.autograd.grad(loss, [policy.logit])[0]))
    slope, error = np.mean(slopes), np.std(slopes, ddof=1) / len(slopes) ** 0.5
    assert np.sign(rewarded) * slope > 4 * error


def test_indifferent_advantages_pull_nowhere_at_the_old_policy() -> None:
    policy = MixturePolicy()
    objective = DiffusionNFT(NFTSettings(penalty=0.0), policy)
    text = policy.encode([""] * 64)
    rollout = _rollout(policy.sample_data(64))
    for advantage, pulled in ((0.0, False), (1.0, True)):
        terms = objective.losses(policy, rollout, text, torch.full((64,), advantage), draws(0, 64))
        loss = torch.stack([term.loss for term in terms]).sum()
        gradient = float(torch.autograd.grad(loss, [policy.logit])[0])
        assert (abs(gradient) > 1e-4) == pulled


def test_rollouts_come_from_the_old_policy_and_it_follows_slowly(tiny_pipeline: Any) -> None:
    policy = WanPolicy(tiny_pipeline, max_sequence_length=16, lora=LoraSettings(4, 8))
    objective = DiffusionNFT(NFTSettings(steps=4, old_decay_rate=0.5), policy)
    text = policy.encode(["camera orbit left. a red box"]).repeat(2)
    noise = torch.randn(2, *policy.latent_shape(5, 32, 32))
    numbers = draws(0, 2)
    before = objective.collect(policy, text, noise, numbers, 0).latents
    terms = list(objective.losses(policy, _rollout(before), text, torch.tensor([1.0, -1.0]), numbers))
    assert all(term.statistics["old_distance"] == term.statistics["base_distance"] == 0.0 for term in terms)
    with torch.no_grad():
        for parameter in policy.trainable_parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    assert torch.equal(objective.collect(policy, text, noise, numbers, 1).latents, before)
    objective.after_step(policy)  # decay 0: the old policy is the present one
    followed = objective.collect(policy, text, noise, numbers, 2).latents
    assert not torch.allclose(followed, before, atol=1e-3)
    state = {name: torch.as_tensor(value).clone() for name, value in objective.state_dict().items()}
    assert int(state["updates"]) == 1
    resumed = DiffusionNFT(objective.settings, policy)
    with torch.no_grad():
        for parameter in policy.trainable_parameters():
            parameter.mul_(0.5)
    resumed.load_state_dict(state)
    for step, one in enumerate((objective, resumed)):
        one.after_step(policy)
        states = one.collect(policy, text, noise, numbers, step).latents
        followed = states if one is objective else followed
    assert torch.equal(followed, states)


def test_skipped_members_contribute_nothing() -> None:
    policy = LinearPolicy(3)
    objective = DiffusionNFT(NFTSettings(micro_batch=3, times=2), policy)
    text = policy.encode([""] * BATCH)
    latents = torch.randn(BATCH, 3, 1, 1, 1)
    none = torch.full((BATCH,), torch.nan)
    assert list(objective.losses(policy, _rollout(latents), text, none, draws(0, BATCH))) == []
    some = none.clone()
    some[1] = 2.0
    spoiled = latents.clone()
    spoiled[[0, 2, 3, 4, 5]] = torch.nan
    terms = list(objective.losses(policy, _rollout(spoiled), text, some, draws(0, BATCH)))
    assert [term.weight for term in terms] == [1, 1]
    assert all(torch.isfinite(term.loss) for term in terms)


def test_updates_split_the_times() -> None:
    policy = LinearPolicy(3)
    objective = DiffusionNFT(NFTSettings(micro_batch=2, times=4, updates=4), policy)
    text = policy.encode([""] * BATCH)
    rollout = _rollout(torch.randn(BATCH, 3, 1, 1, 1))
    terms = list(objective.losses(policy, rollout, text, torch.randn(BATCH), draws(0, BATCH)))
    assert [term.end_of_update for term in terms] == [False, False, True] * 4


def test_times_are_stratified_over_batch_and_over_each_sample() -> None:
    times = stratified_times(16, 4, (0.2, 0.8), torch.Generator().manual_seed(0))
    place = (times - 0.2) / 0.6
    assert times.shape == (4, 16)
    assert 0.2 <= float(times.min()) < float(times.max()) <= 0.8
    for row in place:
        assert sorted((row * 16).floor().int().tolist()) == list(range(16))
    for column in place.T:
        gaps = column.sort().values.diff()
        assert float(gaps.min()) > 0.25 - 1 / 16
        assert float(gaps.max()) < 0.25 + 1 / 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_range": (0.5, 0.5)}, "0 < low < high <= 1"),
        ({"time_range": (0.0, 1.0)}, "0 < low < high <= 1"),
        ({"times": 0}, "at least 1"),
        ({"beta": 0.0}, "must be positive"),
    ],
)
def test_settings_refuse_nonsense(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        NFTSettings(**change)
