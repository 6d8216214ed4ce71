"""Random models have the published sizes, in the precision asked for, and are the classes' own in structure."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from benchmarks.random_models.policy import random_policy, random_text_encoder
from benchmarks.random_models.shapes import HPSV3, QWEN3_VL_8B, UMT5_XXL, full, tiny
from benchmarks.random_models.weights import draw
from torch import nn

from worldr1.rl.assemble_policy import encode_all


def _umt5() -> nn.Module:
    from transformers import UMT5Config, UMT5EncoderModel

    return UMT5EncoderModel(UMT5Config(**UMT5_XXL))


def _judge() -> nn.Module:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    config = Qwen3VLConfig(text_config=dict(QWEN3_VL_8B.text), vision_config=dict(QWEN3_VL_8B.vision))
    return Qwen3VLForConditionalGeneration(config)


def _qwen2_vl() -> nn.Module:
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    config = Qwen2VLConfig(text_config={**HPSV3.text, "vocab_size": 152064}, vision_config=dict(HPSV3.vision))
    return Qwen2VLForConditionalGeneration(config)


def _wan(recipe: str) -> nn.Module:
    from diffusers import WanTransformer3DModel

    return WanTransformer3DModel(**full(recipe).transformer)


@pytest.mark.parametrize(
    ("make", "published"),
    [
        (_umt5, 5_680_910_336),
        (_judge, 8_767_123_696),
        (_qwen2_vl, 8_291_375_616),
        (lambda: _wan("world-r1-small"), 1_418_996_800),
        (lambda: _wan("world-r1-large"), 14_288_491_584),
    ],
    ids=["UMT5-XXL", "Qwen3-VL-8B", "Qwen2-VL-7B", "Wan2.1-1.3B", "Wan2.1-14B"],
)
def test_full_size_has_the_published_number_of_parameters(make: Callable[[], nn.Module], published: int) -> None:
    with torch.device("meta"):
        network = make()
    assert sum(parameter.numel() for parameter in network.parameters()) == published


@pytest.mark.parametrize(("name", "steps"), [("world-r1-small", 20), ("world-r1-large", 16)])
def test_a_full_step_keeps_the_recipe_and_a_tiny_one_its_structure(name: str, steps: int) -> None:
    own, small = full(name).recipe, tiny(name).recipe
    assert (own.clip.frames, own.clip.height, own.clip.width, own.sampling.steps) == (81, 480, 832, steps)
    assert (own.model.rank, own.model.alpha, own.reward.da3.process_res) == (32, 64, 504)
    for recipe in (own, small):
        assert recipe.reward.weights.keys() == {"meta", "recon", "traj", "general"}
        assert recipe.objective == own.objective
        assert recipe.schedule.groups * recipe.schedule.group_size == 2


def test_weights_keep_signals_alive_in_the_precision_asked_for() -> None:
    network = draw(lambda: nn.Sequential(nn.Linear(4096, 512), nn.LayerNorm(512)), "cpu", torch.bfloat16, whole=("1.",))
    inner, norm = network
    assert (inner.weight.dtype, norm.weight.dtype) == (torch.bfloat16, torch.float32)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert inner(torch.randn(64, 4096, dtype=torch.bfloat16)).float().std() == pytest.approx(1.0, abs=0.02)
    assert bool((norm.weight == 1).all())
    assert bool((norm.bias == 0).all())


def test_tied_embeddings_stay_one_and_tables_that_are_no_parameters_their_own() -> None:
    size = tiny("world-r1-small")
    encoder = random_text_encoder(size, "cpu")
    assert encoder.shared.weight is encoder.encoder.embed_tokens.weight
    assert encoder.dtype == torch.bfloat16
    rotary = draw(lambda: _Table(), "cpu", torch.bfloat16)
    assert torch.equal(rotary.table, torch.arange(5.0))


def test_the_text_encoder_leaves_memory_once_prompts_are_encoded(tmp_path: Path) -> None:
    size, prompts = tiny("world-r1-small"), ["camera orbit left. a red box"]
    encoder = random_text_encoder(size, "cpu")
    there = weakref.ref(encoder)
    policy = random_policy(size, "cpu", encoder, tmp_path, prompts)
    del encoder
    assert there() is not None
    encode_all(policy, prompts)
    assert there() is None
    assert bool(policy.encode(prompts).embeds.isfinite().all())
    assert policy.encode(prompts).embeds.dtype == torch.bfloat16


class _Table(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(5.0), persistent=False)
