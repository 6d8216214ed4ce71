"""Both objectives teach a small network, which draws two modes equally often, to draw the rewarded one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from toy_policies import NetworkPolicy, draws
from worldr1.rl import DiffusionNFT, FlowGRPO, GRPOSettings, NFTSettings, Objective, group_advantages
from worldr1.sampling import rollout

GROUPS, SIZE, SPREAD = 8, 16, 0.3


def _data(count: int) -> Tensor:
    side = torch.where(torch.rand(count) < 0.5, -1.5, 1.5)
    points = torch.stack([side, torch.zeros(count)], 1) + SPREAD * torch.randn(count, 2)
    return points.reshape(count, 2, 1, 1, 1)


@pytest.fixture(scope="module")
def pretrained() -> NetworkPolicy:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        policy = NetworkPolicy()
        optimizer = torch.optim.Adam(policy.parameters(), lr=3e-3)
        text = policy.encode([""] * 512)
        for _ in range(800):
            x0, eps, sigma = _data(512), torch.randn(512, 2, 1, 1, 1), torch.rand(512)
            level = sigma.reshape(-1, 1, 1, 1, 1)
            velocity = policy.velocity((1 - level) * x0 + level * eps, sigma, text)
            loss = (velocity - (eps - x0)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return policy


def _samples(policy: NetworkPolicy, count: int = 2000) -> Tensor:
    noise = torch.randn(count, 2, 1, 1, 1, generator=torch.Generator().manual_seed(9))
    return rollout(policy, policy.encode([""] * count), noise, policy.sigmas(10)).latents.reshape(count, 2)


def _objective(name: str, policy: NetworkPolicy) -> Objective:
    if name == "nft":
        return DiffusionNFT(NFTSettings(steps=10, times=4, updates=4, advantage_clip=1.0, penalty=0.0), policy)
    window = 10 if name == "grpo" else 2
    window_range = (0, 10) if name == "grpo" else (0, 5)
    return FlowGRPO(GRPOSettings(steps=10, window=window, window_range=window_range, clip=0.1, updates=2))


def _train(policy: NetworkPolicy, objective: Objective, optimizer: Any, first: int, last: int) -> None:
    """Reward 1 on the right half plane; one in sixteen scores is missing."""
    for step in range(first, last):
        numbers = draws(step, GROUPS * SIZE)
        text = policy.encode([""] * GROUPS * SIZE)
        noise = torch.randn(GROUPS * SIZE, 2, 1, 1, 1, generator=numbers.shared)
        result = objective.collect(policy, text, noise, numbers, step)
        rewards = (result.latents[:, 0].flatten() > 0).float()
        rewards[step % 16 :: 16] = torch.nan
        advantages = group_advantages(rewards, SIZE)
        for term in objective.losses(policy, result, text, advantages.values, numbers):
            term.loss.backward()
            if term.end_of_update:
                optimizer.step()
                optimizer.zero_grad()
        objective.after_step(policy)


@pytest.mark.parametrize("name", ["grpo", "grpo-fast", "nft"])
def test_the_rewarded_mode_wins_and_keeps_its_shape(pretrained: NetworkPolicy, name: str) -> None:
    """Share of the rewarded mode from about 0.5 to above 0.95, the mode's spread across the reward within 40%."""
    policy = copy.deepcopy(pretrained)
    before = _samples(policy)
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
    _train(policy, _objective(name, policy), optimizer, 0, 60)
    after = _samples(policy)
    shares = [float((samples[:, 0] > 0).float().mean()) for samples in (before, after)]
    assert 0.4 < shares[0] < 0.6
    assert shares[1] > 0.95
    assert 0.6 < float(after[:, 1].std() / before[:, 1].std()) < 1.4


@pytest.mark.parametrize("name", ["grpo-fast", "nft"])
def test_a_resumed_run_is_bitwise_the_uninterrupted_one(pretrained: NetworkPolicy, name: str) -> None:
    def fresh() -> tuple[NetworkPolicy, Objective, torch.optim.Adam]:
        policy = copy.deepcopy(pretrained)
        return policy, _objective(name, policy), torch.optim.Adam(policy.parameters(), lr=1e-3)

    straight, objective, optimizer = fresh()
    _train(straight, objective, optimizer, 0, 3)
    states = copy.deepcopy((straight.state_dict(), objective.state_dict(), optimizer.state_dict()))
    _train(straight, objective, optimizer, 3, 6)

    resumed, objective, optimizer = fresh()
    for part, state in zip((resumed, objective, optimizer), states, strict=True):
        part.load_state_dict(state)
    _train(resumed, objective, optimizer, 3, 6)
    for name_, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name_]), name_
