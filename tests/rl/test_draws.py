"""Random numbers of a step, and objectives that give the same in shares as in one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from toy_policies import LinearPolicy
from worldr1.camera.trajectory import Trajectory
from worldr1.recipes.settings import NoiseSettings
from worldr1.rl import DiffusionNFT, FlowGRPO, GRPOSettings, NFTSettings, Objective, summarise
from worldr1.rl.batch import noise_law
from worldr1.rl.draws import step_draws
from worldr1.rl.seeds import Stream
from worldr1.sampling import Rollout, rollout

BATCH, HERE = 12, 4


def test_a_sample_gets_the_same_numbers_in_any_share_and_order() -> None:
    whole = step_draws(Stream.LOSS, 5, 3, 6)
    share = step_draws(Stream.LOSS, 5, 3, 2, first=4)
    together = whole.normal(range(6), (2, 3))
    assert together.shape == (6, 2, 3)
    assert torch.equal(share.normal([1], (2, 3)), together[5:])
    assert torch.equal(share.normal([0], (2, 3)), together[4:5])
    assert torch.equal(torch.rand(4, generator=whole.shared), torch.rand(4, generator=share.shared))
    assert len(together.unique()) == together.numel()
    other = step_draws(Stream.LOSS, 5, 4, 6).normal(range(6), (2, 3))
    assert not bool((other == together).any())


def test_stochastic_sampling_in_shares_is_that_of_the_whole() -> None:
    policy, noise = LinearPolicy(3), torch.randn(BATCH, 3, 1, 1, 1)

    def sample(first: int, count: int) -> Rollout:
        text = policy.encode([""] * count)
        members = step_draws(Stream.ROLLOUT, 0, 0, count, first).members
        return rollout(policy, text, noise[first : first + count], policy.sigmas(6), (1, 4), generator=members)

    whole, shares = sample(0, BATCH), [sample(first, HERE) for first in range(0, BATCH, HERE)]
    torch.testing.assert_close(torch.cat([share.states for share in shares], 1), whole.states)
    torch.testing.assert_close(torch.cat([share.latents for share in shares]), whole.latents)
    with pytest.raises(ValueError, match="3 generators for 12 samples"):
        rollout(policy, policy.encode([""] * BATCH), noise, policy.sigmas(6), (1, 4), generator=[torch.Generator()] * 3)


@pytest.mark.parametrize("micro_batch", [None, 3, 1])
@pytest.mark.parametrize("name", ["nft", "grpo"])
def test_shares_of_a_loss_add_up_to_it(name: str, micro_batch: int | None) -> None:
    """One process of 12 samples against three of 4, one of which has no advantage at all and still takes part."""
    policy = LinearPolicy(3)
    objective: Objective = (
        DiffusionNFT(NFTSettings(times=4, updates=2, penalty=0.1, micro_batch=micro_batch), policy)
        if name == "nft"
        else FlowGRPO(GRPOSettings(steps=6, window=4, updates=2, kl=0.1, clip=10.0, micro_batch=micro_batch))
    )
    noise = torch.randn(BATCH, 3, 1, 1, 1)
    made = objective.collect(
        policy, policy.encode([""] * BATCH), noise, step_draws(Stream.ROLLOUT, 0, 0, BATCH), step=0
    )
    with torch.no_grad():
        policy.weight.add_(0.05)
    advantages = torch.randn(BATCH)
    advantages[[0, 2, 9]] = torch.nan  # one by one, the third process has none at 9 while the first has one at 1
    advantages[4:8] = torch.nan

    def run(first: int, count: int) -> tuple[list[Tensor], list[float], list[tuple[dict[str, float], int]], int]:
        here = slice(first, first + count)
        part = replace(made, latents=made.latents[here], states=made.states[:, here], log_probs=made.log_probs[:, here])
        numbers = step_draws(Stream.LOSS, 0, 0, count, first)
        gradients, losses, told, terms = [], [], [], 0
        gradient, loss = torch.zeros_like(policy.weight), 0.0
        for term in objective.losses(policy, part, policy.encode([""] * count), advantages, numbers):
            gradient = gradient + torch.autograd.grad(term.loss, [policy.weight])[0]
            loss += float(term.loss.detach())
            told.append((dict(term.statistics), term.weight))
            terms += 1
            if term.end_of_update:
                gradients.append(gradient)
                losses.append(loss)
                gradient, loss = torch.zeros_like(policy.weight), 0.0
        return gradients, losses, told, terms

    whole, shares = run(0, BATCH), [run(first, HERE) for first in range(0, BATCH, HERE)]
    assert len(whole[0]) == 2
    assert all(float(gradient.abs().max()) > 1e-4 for gradient in whole[0])
    assert len({share[3] for share in shares}) == 1
    for update in range(2):
        torch.testing.assert_close(sum(share[0][update] for share in shares), whole[0][update], rtol=1e-4, atol=1e-6)
        assert sum(share[1][update] for share in shares) == pytest.approx(whole[1][update], rel=1e-4)
    together = summarise([entry for share in shares for entry in share[2]])
    assert together == pytest.approx(summarise(whole[2]), rel=1e-4)


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_noise_anew_has_the_law_that_sampling_starts_from(strength: float) -> None:
    """A fixed camera at strength 1 carries the first frame's noise into all others; at 0 frames are independent."""
    shape, fixed = (4, 6, 8, 8), Trajectory.from_prompt("camera fixed. a red box", 21)
    law = noise_law([fixed] * 6, shape, NoiseSettings(strength=strength))
    whole = replace(step_draws(Stream.LOSS, 5, 3, 6), law=law)
    noise = torch.cat([whole.noise(range(6), shape), whole.noise(range(6), shape)])
    first, last = noise[:, :, 0].flatten(), noise[:, :, -1].flatten()
    assert abs(float(torch.corrcoef(torch.stack([first, last]))[0, 1]) - strength) < 4 * len(first) ** -0.5 + 1e-6
    assert abs(float(noise.std()) - 1) < 4 * (2 * len(first)) ** -0.5
    assert abs(float(torch.corrcoef(noise[:, :, 0].flatten(1))[0, 1:].abs().max())) < 5 * (4 * 64) ** -0.5
    share = replace(step_draws(Stream.LOSS, 5, 3, 2, first=4), law=law)
    assert torch.equal(share.noise([1], shape), noise[5:6])
    assert torch.equal(
        replace(step_draws(Stream.LOSS, 5, 3, 6), law=law).rows(slice(4, 6)).noise([1], shape), noise[5:6]
    )
