"""Data-parallel gradients and the optimiser of the tiny world's trainings."""

import pytest
import torch
from torch import nn

from worldr1.tinyworld.optim import MuonAdamW, split_parameters
from worldr1.tinyworld.threads import Replicas


def _network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(4 * 4 * 4, 3)).double()


def _loss(model: nn.Module, shard: torch.Tensor) -> torch.Tensor:
    return model(shard).square().mean()


def test_gradients_of_replicas_are_those_of_the_whole_batch() -> None:
    data = torch.randn(6, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    alone, shared = _network(), _network()
    _loss(alone, data).backward()
    team = Replicas(shared, 3)
    with team.running():
        assert torch.get_num_threads() == 1
        losses = team.gradients(_loss, data.chunk(3))
    assert sum(losses) / 3 == pytest.approx(float(_loss(alone, data).detach()), rel=1e-12)
    for one, other in zip(alone.parameters(), shared.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, rtol=1e-10, atol=1e-12)


def test_spread_makes_replicas_equal_and_threads_are_restored() -> None:
    before = torch.get_num_threads()
    team = Replicas(_network(), 2)
    with torch.no_grad():
        next(team.models[0].parameters()).add_(1.0)
    team.spread()
    with team.running():
        pass
    assert torch.get_num_threads() == before
    for one, other in zip(team.models[0].parameters(), team.models[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_wrong_number_of_shards_is_refused() -> None:
    with pytest.raises(ValueError, match="1 shards for 2 replicas"):
        Replicas(_network(), 2).gradients(_loss, [torch.zeros(1)])


def test_muon_steps_are_orthogonal_for_kernels_too() -> None:
    network = _network().float()
    kernel = network[0].weight
    before = kernel.detach().clone()
    matrices, others = split_parameters(network)
    assert {p.shape for p in matrices} == {network[0].weight.shape, network[3].weight.shape}
    optimizer = MuonAdamW(matrices, others, lr=0.1)
    network(torch.randn(5, 2, 6, 6, generator=torch.Generator().manual_seed(1))).square().mean().backward()
    optimizer.step(0.1)
    moved = (before * (1 - 0.1 * 0.01) - kernel.detach()).view(4, -1)
    singular = torch.linalg.svdvals(moved)
    assert singular.max() / singular.min() < 2.0  # Newton-Schulz leaves singular values in about [0.7, 1.2]


def test_restored_optimiser_goes_on_bitwise() -> None:
    data = [torch.randn(5, 2, 6, 6, generator=torch.Generator().manual_seed(k)) for k in range(4)]

    def run(network: nn.Module, optimizer: MuonAdamW, batches: list[torch.Tensor]) -> None:
        for batch in batches:
            network.zero_grad()
            _loss(network, batch).backward()
            optimizer.step(0.01)

    whole, cut, resumed = (_network().float() for _ in range(3))
    run(whole, MuonAdamW(*split_parameters(whole), 0.01), data)
    first = MuonAdamW(*split_parameters(cut), 0.01)
    run(cut, first, data[:2])
    resumed.load_state_dict(cut.state_dict())
    second = MuonAdamW(*split_parameters(resumed), 0.01)
    second.restore(first.tensors())
    run(resumed, second, data[2:])
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
