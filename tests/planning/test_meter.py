"""The meter: work and peak memory against counts by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from worldr1.planning.meter import Reading, measure
from worldr1.planning.shapes import PipelineShape
from worldr1.planning.work import measure_forward, measure_training
from worldr1.recipes.settings import ClipSettings, ModelSettings

SIDE = 1000
SQUARE = 4 * SIDE * SIDE
"""Bytes of a float32 matrix."""


def _matrix(gradient: bool = False) -> torch.Tensor:
    return torch.empty(SIDE, SIDE, device="meta", requires_grad=gradient)


def test_what_is_freed_counts_no_more() -> None:
    x = _matrix()

    def compute() -> None:
        y = x @ x
        z = y + 1
        del y
        _ = z @ x

    assert measure(compute) == Reading(flops=2 * 2 * SIDE**3, peak=2 * SQUARE)


def test_views_and_changes_in_place_take_no_memory() -> None:
    x = _matrix()
    assert measure(lambda: x.t().reshape(-1)[None].add_(1).view(SIDE, SIDE)[:5]).peak == SQUARE  # the reshape copies
    assert measure(lambda: x[:5].add_(1)).peak == 0


def test_fused_attention_keeps_nothing_quadratic() -> None:
    query, key, value = (torch.empty(1, 2, 500, 16, device="meta", requires_grad=True) for _ in range(3))
    forward = measure(lambda: functional.scaled_dot_product_attention(query, key, value))
    assert forward == Reading(flops=4 * 2 * 500 * 500 * 16, peak=4 * 2 * 500 * 16)
    both = measure(lambda: functional.scaled_dot_product_attention(query, key, value).sum().backward())
    assert both.flops == 3.5 * forward.flops
    assert functional.scaled_dot_product_attention is torch._C._nn.scaled_dot_product_attention


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(SIDE, SIDE, device="meta"), nn.Linear(SIDE, SIDE, device="meta")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(4):
            x = self.second(self.first(x).relu()).exp()
        return x


def _peak(layers: int, recompute: bool) -> Reading:
    blocks = [_Block().requires_grad_(False) for _ in range(layers)]
    start = _matrix(gradient=True)

    def compute() -> None:
        x = start
        for block in blocks:
            x = checkpoint(block, x, use_reentrant=False) if recompute else block(x)
        x.sum().backward()

    return measure(compute)


def test_checkpointing_keeps_one_tensor_a_block_and_computes_once_more() -> None:
    thin, plain = [_peak(layers, True) for layers in (2, 6)], [_peak(layers, False) for layers in (2, 6)]
    assert thin[1].peak - thin[0].peak == 4 * SQUARE
    assert plain[1].peak - plain[0].peak >= 4 * 8 * SQUARE
    forward = 6 * 8 * 2 * SIDE**3
    assert plain[1].flops == 2 * forward
    assert thin[1].flops == 3 * forward


@pytest.mark.parametrize("checkpointing", [True, False])
def test_layers_are_extrapolated_exactly(checkpointing: bool) -> None:
    def shape(layers: int) -> PipelineShape:
        sizes = {"num_attention_heads": 2, "attention_head_dim": 24, "text_dim": 16, "freq_dim": 16, "ffn_dim": 96}
        return PipelineShape({**sizes, "num_layers": layers, "rope_max_seq_len": 64}, {}, 0)

    model, clip = ModelSettings(max_tokens=8, rank=2, alpha=2), ClipSettings(frames=9, height=64, width=64)
    forwards = [measure_forward(shape(layers), model, clip) for layers in (2, 3, 7)]
    assert forwards[2].flops == pytest.approx(forwards[0].flops + 5 * (forwards[1].flops - forwards[0].flops))
    trainings = [measure_training(shape(layers), model, clip, checkpointing) for layers in (2, 3)]
    grown = trainings[0].extrapolated(trainings[1], 4)
    one_more = measure_training(shape(3), model, clip, checkpointing)
    assert one_more == trainings[1]
    assert grown.flops == pytest.approx(trainings[0].flops + 4 * (trainings[1].flops - trainings[0].flops))
    assert (trainings[1].peak - trainings[0].peak < trainings[0].peak / 4) == checkpointing
