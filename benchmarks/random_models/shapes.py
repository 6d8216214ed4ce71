"""The arguments of every network of a recipe: as published, or tiny ones of the same classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worldr1.planning.published import PUBLISHED
from worldr1.recipes import Recipe, load_recipe

VIDEOS = 2
"""One group, the smallest in which videos can be compared; a step of training is many of them, one after the other."""
_PROMPTS = 8


@dataclass(frozen=True)
class VisionLanguage:
    """A Qwen vision-language model.

    Attributes:
        text, vision: arguments of its two halves.
        pixels: fewest and most pixels of a picture.
        mean, std: by which pictures are normalised.
    """

    text: Mapping[str, Any]
    vision: Mapping[str, Any]
    pixels: tuple[int, int]
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Size:
    """A recipe, and the arguments of the networks that it runs on.

    Attributes:
        recipe: with one group of VIDEOS, all else as it is (or, when tiny, with its structure).
        tiny: whether it is only to show that everything runs.
        transformer, vae: of diffusers' Wan classes.
        text: of UMT5's encoder.
        judge, preference: Qwen3-VL and HPSv3's Qwen2-VL.
    """

    recipe: Recipe
    tiny: bool
    transformer: Mapping[str, Any]
    vae: Mapping[str, Any]
    text: Mapping[str, Any]
    judge: VisionLanguage
    preference: VisionLanguage


_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

UMT5_XXL: Mapping[str, Any] = {
    "vocab_size": 256384,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}
QWEN3_VL_8B = VisionLanguage(
    {
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 262144,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_section": [24, 20, 20],
            "mrope_interleaved": True,
        },
    },
    {
        "depth": 27,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_heads": 16,
        "patch_size": 16,
        "out_hidden_size": 4096,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": [8, 16, 24],
    },
    (256 * 256, 4096 * 4096),
)
HPSV3 = VisionLanguage(
    {
        "vocab_size": 151658,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
        "max_position_embeddings": 32768,
    },
    {"depth": 32, "embed_dim": 1280, "hidden_size": 3584, "num_heads": 16, "mlp_ratio": 4, "patch_size": 14},
    (56 * 56, 28 * 28 * 1280),
    _CLIP_MEAN,
    _CLIP_STD,
)
"""Of Qwen2-VL-7B, with the tokens that HPSv3's checkpoint has."""

_TINY_TRANSFORMER = {"num_attention_heads": 2, "attention_head_dim": 24, "ffn_dim": 96, "num_layers": 2, "text_dim": 32}
_TINY_VAE = {"base_dim": 4, "num_res_blocks": 1, "dim_mult": [1, 1, 1, 1]}
_TINY_TEXT = {**UMT5_XXL, "vocab_size": 512, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}
TINY_JUDGE = VisionLanguage(
    {
        "vocab_size": 1024,
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
    {
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
    (32 * 32, 256 * 256),
)
TINY_PREFERENCE = VisionLanguage(
    {
        "vocab_size": 1024,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "rope_scaling": {"type": "mrope", "mrope_section": [4, 2, 2]},
    },
    {
        "depth": 2,
        "embed_dim": 32,
        "hidden_size": 64,
        "num_heads": 2,
        "mlp_ratio": 2,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
    (56 * 56, 28 * 28 * 1280),
    _CLIP_MEAN,
    _CLIP_STD,
)


def full(name: str) -> Size:
    """A shipped recipe in its own size."""
    content = _one_group(name)
    transformer = PUBLISHED[content["model"]["path"]].transformer
    return Size(Recipe.model_validate(content), False, transformer, {}, UMT5_XXL, QWEN3_VL_8B, HPSV3)


def tiny(name: str) -> Size:
    """A shipped recipe with its structure in a shape that a CPU runs in seconds."""
    content = _one_group(name)
    content["clip"] = {"frames": 9, "height": 64, "width": 64}
    content["model"] |= {"rank": 4, "alpha": 8, "max_tokens": 64}
    content["sampling"] |= {"steps": 4, "window_range": (0, 4)}
    content["reward"]["general_frames"] = 1
    content["reward"]["da3"]["process_res"] = 56
    transformer = {**PUBLISHED[content["model"]["path"]].transformer, **_TINY_TRANSFORMER}
    recipe = Recipe.model_validate(content)
    return Size(recipe, True, transformer, _TINY_VAE, _TINY_TEXT, TINY_JUDGE, TINY_PREFERENCE)


def _one_group(name: str) -> dict[str, Any]:
    content: dict[str, Any] = load_recipe(name).model_dump()
    content["schedule"] |= {"groups": 1, "group_size": VIDEOS}
    content["prompts"]["count"] = _PROMPTS
    return content
