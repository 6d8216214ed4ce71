"""A text encoder that remembers: what it says is what the real one said, and the real one is asked once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from worldr1.policy import LoraSettings, WanPolicy
from worldr1.policy.cached_text import CachedTextEncoder

PROMPTS = ["camera orbit left. a red box", "a blue sphere"]
LENGTH = 16


class Loads:
    """Loads an encoder and counts how often."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        self.encoder = encoder
        self.count = 0

    def __call__(self) -> torch.nn.Module:
        self.count += 1
        return self.encoder


def _encode(pipeline: Any, prompts: list[str]) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat(
            [
                pipeline.encode_prompt(prompt, do_classifier_free_guidance=False, max_sequence_length=LENGTH)[0]
                for prompt in prompts
            ]
        )


def test_a_pipeline_says_the_same_with_it_and_without(tiny_pipeline: Any, tmp_path: Path) -> None:
    expected = _encode(tiny_pipeline, PROMPTS)
    load = Loads(tiny_pipeline.text_encoder)
    tiny_pipeline.text_encoder = CachedTextEncoder(load, tmp_path / "new", "tiny", torch.float32)
    for _ in range(2):
        torch.testing.assert_close(_encode(tiny_pipeline, PROMPTS), expected, rtol=1e-5, atol=1e-6)
    assert load.count == 1
    policy = WanPolicy(tiny_pipeline, max_sequence_length=LENGTH, lora=LoraSettings(rank=2, alpha=2))
    torch.testing.assert_close(policy.encode(PROMPTS).embeds, expected, rtol=1e-5, atol=1e-6)


def test_the_disk_remembers_across_processes_and_the_encoder_leaves(tiny_pipeline: Any, tmp_path: Path) -> None:
    load = Loads(tiny_pipeline.text_encoder)
    tiny_pipeline.text_encoder = first = CachedTextEncoder(load, tmp_path, "tiny", torch.float32)
    expected = _encode(tiny_pipeline, PROMPTS)
    assert len(list(first.parameters())) > 0
    first.release()
    assert len(list(first.parameters())) == 0
    tiny_pipeline.text_encoder = CachedTextEncoder(load, tmp_path, "tiny", torch.float32)
    assert torch.equal(_encode(tiny_pipeline, PROMPTS), expected)
    assert load.count == 1
    _encode(tiny_pipeline, ["something new"])
    assert load.count == 2


def test_other_weights_and_dtypes_never_share_an_embedding(tiny_pipeline: Any, tmp_path: Path) -> None:
    load = Loads(tiny_pipeline.text_encoder)
    for identity, dtype in (("one", torch.float32), ("other", torch.float32), ("one", torch.bfloat16)):
        tiny_pipeline.text_encoder = CachedTextEncoder(load, tmp_path, identity, dtype)
        assert _encode(tiny_pipeline, PROMPTS[:1]).dtype == dtype
    assert load.count == 3
    assert len(list(tmp_path.iterdir())) == 3
