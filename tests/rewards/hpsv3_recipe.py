"""A tiny HPSv3 and its pictures from formulas alone: the same files, bit for bit, under any version of any package.

Shared by `hpsv3_upstream.py`, which scores with the upstream package, and by the test that compares with those scores.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PROMPTS = ["a red box", "a blue sphere and a green cone in a striped room: {early} morning, soft light, ¼ naïve"]
"""Of different length, so that a batch of both is padded."""
SIZES = [(48, 64), (480, 832), (48, 64)]
"""Heights and widths: two pictures that grow to HPSv3's area, frames of one video, and one that shrinks."""
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]
MERGES = ["t h", "th e", "i n", "in g", "Ġ the", "Ġ a", "e r", "o n", "Ġ o", "Ġo f"]
TEMPLATE = (
    "{% for turn in messages %}{% if loop.first %}<|im_start|>system\nRate.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ turn['role'] }}\n{% for part in turn['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONFIG: dict[str, Any] = {
    "model_type": "qwen2_vl",
    "architectures": ["Qwen2VLForConditionalGeneration"],
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "rope_scaling": {"type": "mrope", "mrope_section": [4, 2, 2]},
    "max_position_embeddings": 4096,
    "use_sliding_window": False,
    "tie_word_embeddings": False,
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
PICTURES = {
    "image_processor_type": "Qwen2VLImageProcessor",
    "processor_class": "Qwen2VLProcessor",
    "patch_size": 14,
    "merge_size": 2,
    "temporal_patch_size": 2,
    "min_pixels": 56 * 56,
    "max_pixels": 28 * 28 * 1280,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
_GAIN = 2.5


def noise(name: str, shape: Sequence[int]) -> NDArray[np.float32]:
    """Uniform in [-1, 1): the 16-bit numbers of SHAKE-256 of the name."""
    raw = hashlib.shake_256(name.encode()).digest(2 * int(np.prod(shape)))
    return (np.frombuffer(raw, "<u2").astype(np.float32) / 2**15 - 1).reshape(shape)


def weight(name: str, shape: Sequence[int]) -> NDArray[np.float32]:
    """A tensor of the checkpoint: matrices scaled by their inputs, norms near 1, biases near 0."""
    values = noise(name, shape)
    if len(shape) > 1:
        return values * np.float32(_GAIN / np.sqrt(np.prod(shape[1:])))
    return values / 4 + np.float32(name.endswith("weight"))


def picture(index: int) -> NDArray[np.uint8]:
    """RGB [H,W,3]: coloured noise on a coarse grid that is another for every picture."""
    height, width = SIZES[index]
    grid = ((noise(f"picture {index}", (6, 8, 3)) + 1) * 128).astype(np.uint8)
    fine = ((noise(f"grain {index}", (height, width, 3)) + 1) * 16).astype(np.uint8)
    rows, columns = np.arange(height) * 6 // height, np.arange(width) * 8 // width
    return grid[rows][:, columns] // 8 * 7 + fine


def save_base(directory: Path) -> None:
    """Config, tokenizer and image processor as Qwen2-VL's repository has them."""
    from tokenizers.pre_tokenizers import ByteLevel

    pieces = [*sorted(ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in MERGES)]
    ids = {token: len(pieces) + place for place, token in enumerate(CONTROL)}
    config = {
        **CONFIG,
        "image_token_id": ids["<|image_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
    }
    plain = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    tokenizer = {
        "tokenizer_class": "Qwen2Tokenizer",
        "pad_token": "<|endoftext|>",
        "eos_token": "<|im_end|>",
        "unk_token": None,
        "bos_token": None,
        "add_prefix_space": False,
        "additional_special_tokens": CONTROL,
        "added_tokens_decoder": {str(ids[token]): {"content": token, **plain} for token in CONTROL},
        "chat_template": TEMPLATE,
    }
    documents: Mapping[str, Any] = {
        "config.json": config,
        "tokenizer_config.json": tokenizer,
        "preprocessor_config.json": PICTURES,
        "chat_template.json": {"chat_template": TEMPLATE},
        "vocab.json": {piece: place for place, piece in enumerate(pieces)},
    }
    directory.mkdir(parents=True)
    for name, document in documents.items():
        (directory / name).write_text(json.dumps(document), encoding="utf-8")
    (directory / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]), encoding="utf-8")


def save_checkpoint(file: Path, shapes: Mapping[str, Sequence[int]]) -> None:
    """The published file: tensors of these names and shapes."""
    from safetensors.numpy import save_file

    save_file({name: weight(name, shape) for name, shape in shapes.items()}, str(file))
