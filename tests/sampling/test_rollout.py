"""The rollout against its own steps, and the statistics of the noise that it draws."""

from __future__ import annotations

import re

import pytest
import torch
from scipy import stats
from torch import Tensor

from toy_policies import LinearPolicy
from worldr1.policy.base import Conditioning
from worldr1.sampling import log_prob, ode_step, rollout, sde_step

BATCH, STEPS = 4, 6


def _setup(batch: int = BATCH) -> tuple[LinearPolicy, Tensor, Tensor]:
    policy = LinearPolicy(3)
    return policy, torch.randn(batch, 3, 1, 1, 1), policy.sigmas(STEPS)


def _velocity(policy: LinearPolicy, x: Tensor, sigma: Tensor) -> Tensor:
    return policy.velocity(x, sigma.expand(len(x)), policy.encode([""] * len(x)))


def test_without_a_window_it_is_the_plain_ode() -> None:
    policy, noise, sigmas = _setup()
    result = rollout(policy, policy.encode([""] * BATCH), noise, sigmas)
    x = noise
    for i in range(STEPS):
        x = ode_step(x, _velocity(policy, x, sigmas[i]), sigmas[i], sigmas[i + 1])
    assert torch.equal(result.latents, x)
    assert result.states.shape == (0, BATCH, 3, 1, 1, 1)
    assert result.log_probs.shape == (0, BATCH)
    assert result.steps == ()


@pytest.mark.parametrize("window", [(0, 1), (2, 4), (0, STEPS)])
def test_window_keeps_its_states_and_the_rest_is_the_ode(window: tuple[int, int]) -> None:
    policy, noise, sigmas = _setup()
    generator = torch.Generator().manual_seed(3)
    seen: dict[int, Tensor] = {}
    result = rollout(
        policy, policy.encode([""] * BATCH), noise, sigmas, window, 0.7, generator, observe=seen.__setitem__
    )
    assert result.steps == tuple(range(*window))
    assert result.states.shape == (window[1] - window[0] + 1, BATCH, 3, 1, 1, 1)
    assert sorted(seen) == list(range(STEPS + 1))
    assert torch.equal(seen[STEPS], result.latents)
    for i in range(STEPS):
        velocity = _velocity(policy, seen[i], sigmas[i])
        euler = ode_step(seen[i], velocity, sigmas[i], sigmas[i + 1])
        assert torch.equal(euler, seen[i + 1]) == (i not in result.steps)
    for j, i in enumerate(result.steps):
        assert torch.equal(result.states[j], seen[i])
        assert torch.equal(result.states[j + 1], seen[i + 1])
        step = sde_step(seen[i], _velocity(policy, seen[i], sigmas[i]), sigmas[i], sigmas[i + 1], 0.7)
        assert torch.equal(result.log_probs[j], log_prob("sde", seen[i + 1], step.mean, step.std))


def test_samples_that_start_alike_are_one_until_the_window() -> None:
    """Equal noise and text next to each other: fewer samples through the network before the window, same results."""
    policy, noise, sigmas = _setup(5)
    noise = noise[torch.tensor([0, 0, 0, 1, 1])]
    text = policy.encode(["a", "a", "b", "c", "c"])
    text.embeds[:2] = 0.25
    text.embeds[2:] = 0.5
    sizes: list[int] = []
    velocity = policy.velocity

    def counted(x: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        sizes.append(len(x))
        return velocity(x, sigma, conditioning)

    policy.velocity = counted
    seen: dict[int, Tensor] = {}
    draws = [torch.Generator().manual_seed(k) for k in range(5)]
    made = rollout(policy, text, noise, sigmas, (2, 3), 0.7, draws, observe=seen.__setitem__)
    assert sizes == [3, 3, *[5] * (STEPS - 2)]
    for k in range(5):
        one = torch.Generator().manual_seed(k)
        alone = rollout(policy, text.index(slice(k, k + 1)), noise[k : k + 1], sigmas, (2, 3), 0.7, one)
        torch.testing.assert_close(made.latents[k : k + 1], alone.latents)
        torch.testing.assert_close(made.states[:, k : k + 1], alone.states)
    assert all(len(seen[i]) == 5 for i in range(STEPS + 1))
    assert not torch.equal(made.latents[0], made.latents[1])


def test_same_generator_same_rollout_and_no_use_of_global_randomness() -> None:
    policy, noise, sigmas = _setup()
    text = policy.encode([""] * BATCH)
    before = torch.get_rng_state()
    first, second = (
        rollout(policy, text, noise, sigmas, (1, 4), 0.7, torch.Generator().manual_seed(5)) for _ in range(2)
    )
    assert torch.equal(first.latents, second.latents)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("law", ["sde", "cps"])
def test_micro_batches_change_nothing_but_rounding(law: str) -> None:
    policy, noise, sigmas = _setup()
    text = policy.encode([""] * BATCH)
    whole, cut = (
        rollout(policy, text, noise, sigmas, (1, 4), 0.7, torch.Generator().manual_seed(5), law=law, micro_batch=size)
        for size in (None, 3)
    )
    torch.testing.assert_close(whole.latents, cut.latents, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(whole.log_probs, cut.log_probs, rtol=1e-5, atol=1e-6)


def test_z_scores_of_sampled_steps_are_standard_normal() -> None:
    """Kolmogorov-Smirnov on 36,000 numbers for each of 6 steps, at 1% in all; correlations within 4 standard errors."""
    policy, noise, sigmas = _setup(batch=12_000)
    result = rollout(policy, policy.encode([""] * 12_000), noise, sigmas, (0, STEPS), 0.7)
    scores = []
    for j, i in enumerate(result.steps):
        x = result.states[j]
        step = sde_step(x, _velocity(policy, x, sigmas[i]), sigmas[i], sigmas[i + 1], 0.7)
        scores.append(((result.states[j + 1] - step.mean) / step.std).detach().flatten())
        assert stats.kstest(scores[-1].double().numpy(), "norm").pvalue > 0.01 / STEPS
    correlation = torch.corrcoef(torch.stack(scores)) - torch.eye(STEPS)
    assert float(correlation.abs().max()) < 4 / 36_000**0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": (2, 2)}, "window must satisfy"),
        ({"window": (4, 7)}, "window must satisfy"),
        ({"window": (0, 1), "eta": 0.0}, "eta > 0"),
        ({"window": (0, STEPS), "law": "cps"}, "no noise"),
        ({"sigmas": torch.tensor([0.0, 1.0])}, "decrease strictly"),
        ({"law": "heun"}, "'sde' or 'cps'"),
    ],
)
def test_bad_input_is_named(change: dict, message: str) -> None:
    policy, noise, sigmas = _setup()
    arguments = {"sigmas": sigmas, "window": (1, 3), **change}
    with pytest.raises(ValueError, match=re.escape(message)):
        rollout(policy, policy.encode([""] * BATCH), noise, **arguments)
