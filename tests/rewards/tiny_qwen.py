"""Tiny random Qwen models in the files that the real ones come in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from benchmarks.random_models.shapes import TINY_JUDGE, TINY_PREFERENCE
from benchmarks.random_models.tokenizers import byte_pairs
from torch import nn


def save_tokenizer(directory: Path, corpus: str, vocabulary: int) -> Any:
    """A byte-level BPE tokenizer with the control tokens and a chat template of the Qwen family."""
    fast = byte_pairs([corpus], vocabulary)
    fast.save_pretrained(directory)
    return fast


def save_image_processor(directory: Path, patch: int, smallest: int, largest: int, mean: list[float]) -> None:
    """The preprocessor_config.json that a Qwen model comes with."""
    settings = {
        "image_processor_type": "Qwen2VLImageProcessorFast",
        "processor_class": "Qwen3VLProcessor",
        "patch_size": patch,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": smallest, "longest_edge": largest},
        "image_mean": mean,
        "image_std": mean,
    }
    (directory / "preprocessor_config.json").write_text(json.dumps(settings))


def scatter(module: nn.Module, std: float) -> None:
    """Random matrices that are large enough to make outputs differ, reproducible by the global seed."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=std)


def save_qwen3_vl(directory: Path) -> None:
    """A tiny Qwen3-VL with tokenizer and image processor."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    tokenizer = save_tokenizer(directory, "rate the scene from 0 to 9 with one digit, the camera orbits", 320)
    save_image_processor(directory, 16, 32 * 32, 256 * 256, [0.5, 0.5, 0.5])
    ids = tokenizer.convert_tokens_to_ids
    config = Qwen3VLConfig(
        text_config={**TINY_JUDGE.text, "vocab_size": len(tokenizer) + 10},
        vision_config=TINY_JUDGE.vision,
        image_token_id=ids("<|image_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )
    model = Qwen3VLForConditionalGeneration(config)
    scatter(model.model, 0.15)
    scatter(model.lm_head, 0.3)
    model.save_pretrained(directory)


def save_hpsv3(directory: Path, corpus: str) -> tuple[Any, dict[str, torch.Tensor]]:
    """A tiny HPSv3: a base directory with the flat config of transformers 4.45, and `HPSv3.safetensors` beside it.

    Returns the Qwen2VLModel, in evaluation and with eager attention, and the head's weights by name.
    """
    from safetensors.torch import save_file
    from transformers import Qwen2VLConfig, Qwen2VLModel

    base = directory / "base"
    base.mkdir(parents=True)
    clip_mean = [0.48145466, 0.4578275, 0.40821073]
    tokenizer = save_tokenizer(base, corpus, 700)
    save_image_processor(base, 14, 56 * 56, 28 * 28 * 1280, clip_mean)
    settings = json.loads((base / "preprocessor_config.json").read_text())
    settings["image_std"] = [0.26862954, 0.26130258, 0.27577711]
    (base / "preprocessor_config.json").write_text(json.dumps(settings))
    ids = tokenizer.convert_tokens_to_ids
    flat = {
        "model_type": "qwen2_vl",
        "architectures": ["Qwen2VLForConditionalGeneration"],
        **TINY_PREFERENCE.text,
        "max_position_embeddings": 4096,
        "use_sliding_window": False,
        "tie_word_embeddings": False,
        "image_token_id": ids("<|image_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
        "vision_config": TINY_PREFERENCE.vision,
    }
    (base / "config.json").write_text(json.dumps(flat))
    config = Qwen2VLConfig.from_pretrained(base, attn_implementation="eager")
    config.text_config.vocab_size = len(tokenizer) + 1
    model = Qwen2VLModel(config).eval()
    scatter(model, 0.15)
    head = {}
    for place, (rows, columns) in {"0": (1024, 64), "3": (16, 1024), "5": (2, 16)}.items():
        head[f"rm_head.{place}.weight"] = torch.randn(rows, columns) * 1.5 * columns**-0.5
        head[f"rm_head.{place}.bias"] = torch.randn(rows)
    published = {"lm_head.weight": torch.zeros(len(tokenizer) + 1, 64), **head}
    for name, weight in model.state_dict().items():
        vision = name.startswith("visual.")
        published[name if vision else "model." + name.removeprefix("language_model.")] = weight.clone()
    save_file(published, directory / "HPSv3.safetensors")
    return model, head
