"""Tiny random Qwen models in the files that the real ones come in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]
TEMPLATE = (
    "{% for turn in messages %}<|im_start|>{{ turn['role'] }}\n{% for part in turn['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_tokenizer(directory: Path, corpus: str, vocabulary: int) -> Any:
    """A byte-level BPE tokenizer with the control tokens and a chat template of the Qwen family."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(r"\d", "isolated")  # as the real one: every digit is a token
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([corpus], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.add_tokens(SPECIAL, special_tokens=True)
    fast.chat_template = TEMPLATE
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
        text_config={
            "vocab_size": len(tokenizer) + 10,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5e6,
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": 64,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
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
        "vocab_size": 1024,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "rope_scaling": {"type": "mrope", "mrope_section": [4, 2, 2]},
        "max_position_embeddings": 4096,
        "use_sliding_window": False,
        "tie_word_embeddings": False,
        "image_token_id": ids("<|image_pad|>"),
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
        "vision_config": {
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 64,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
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
