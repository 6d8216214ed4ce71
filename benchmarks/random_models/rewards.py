"""The whole reward of a recipe over models with random weights, put together by the library's own registry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from benchmarks.random_models.depth import steady_cameras, tiny_network
from benchmarks.random_models.shapes import Size, VisionLanguage
from benchmarks.random_models.tokenizers import byte_pairs
from benchmarks.random_models.weights import draw
from worldr1.camera.trajectory import Trajectory
from worldr1.reconstruction.da3_loading import build_network
from worldr1.reconstruction.da3_variants import variant_of
from worldr1.reconstruction.depth_anything import DepthAnythingReconstructor
from worldr1.rewards.compose import RewardComposer
from worldr1.rewards.hpsv3 import PIXELS, REWARD_TOKEN, HPSv3Reward, HPSv3Scorer, hpsv3_prompt
from worldr1.rewards.hpsv3_network import HPSv3Network
from worldr1.rewards.question import meta_question
from worldr1.rewards.qwen_judge import QwenJudge
from worldr1.rewards.registry import build_composer
from worldr1.rewards.vision_inputs import VisionInputs
from worldr1.rewards.vision_meta import VisionMetaReward

_WORDS = 960
_BATCH = 8
"""Pictures at once, the scorers' own default."""


def random_composer(size: Size, device: str, prompts: Sequence[str]) -> RewardComposer:
    """The reward of the recipe; `prompts` are what the tokenizers learn their words from.

    Raises ImportError when Depth Anything 3 is not installed.
    """
    settings = size.recipe.reward
    composer = build_composer(
        settings.model_copy(update={"meta": 0.0, "general": 0.0, "reconstructor": "stereo"}), device
    )
    sideways, raised = (math.radians(angle) for angle in (settings.meta_view.sideways, settings.meta_view.raised))
    every = {
        **composer.rewards,
        "meta": VisionMetaReward(random_judge(size, device, prompts), sideways, raised),
        "general": HPSv3Reward(random_preference(size, device, prompts), settings.general_frames),
    }
    composer.rewards = {name: every[name] for name in settings.weights}
    composer.weights = dict(settings.weights)
    composer.reconstructor = random_reconstructor(size, device)
    return composer


def networks(composer: RewardComposer) -> dict[str, nn.Module]:
    """The networks of a composer from `random_composer`, by what they are."""
    rewards = composer.rewards
    return {
        "DA3": composer.reconstructor.network,  # type: ignore[union-attr]
        "judge": rewards["meta"].judge.model,  # type: ignore[attr-defined]
        "HPSv3": rewards["general"].scorer.network,  # type: ignore[attr-defined]
        "LPIPS": rewards["recon"].lpips,  # type: ignore[attr-defined]
    }


def random_judge(size: Size, device: str, prompts: Sequence[str]) -> QwenJudge:
    """A Qwen3-VL that knows the words of the questions about `prompts`."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    frames = size.recipe.clip.frames
    tokenizer = byte_pairs([meta_question(p, Trajectory.from_prompt(p, frames)) for p in prompts], _WORDS)
    config = Qwen3VLConfig(
        text_config=dict(size.judge.text),
        vision_config=dict(size.judge.vision),
        **_vision_ids(tokenizer),
    )
    model = draw(lambda: Qwen3VLForConditionalGeneration(config), device, _dtype(device))
    return QwenJudge(model, _inputs(size.judge, tokenizer, size.judge.pixels, "left"), _BATCH)


def random_preference(size: Size, device: str, prompts: Sequence[str]) -> HPSv3Scorer:
    """An HPSv3 that knows the words of its own instruction around `prompts`."""
    from transformers import Qwen2VLConfig

    tokenizer = byte_pairs([hpsv3_prompt(prompt) for prompt in prompts], _WORDS)
    tokenizer.add_tokens([REWARD_TOKEN], special_tokens=True)
    config = Qwen2VLConfig(
        text_config=dict(size.preference.text),
        vision_config=dict(size.preference.vision),
        **_vision_ids(tokenizer),
    )
    network = draw(lambda: HPSv3Network(config), device, _dtype(device), whole=("rm_head",))
    inputs = _inputs(size.preference, tokenizer, (PIXELS, PIXELS), "right")
    return HPSv3Scorer(network, inputs, tokenizer.convert_tokens_to_ids(REWARD_TOKEN), _BATCH)


def _vision_ids(tokenizer: Any) -> dict[str, int]:
    """What a configuration must know of the tokens that stand for pictures."""
    names = {
        "image_token_id": "<|image_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {key: tokenizer.convert_tokens_to_ids(name) for key, name in names.items()}


def random_reconstructor(size: Size, device: str) -> DepthAnythingReconstructor:
    """Depth Anything 3 in the recipe's variant, or its classes in a tiny one; the cameras that it sees hardly move."""
    da3 = size.recipe.reward.da3
    if size.tiny:
        network = tiny_network()
    else:
        network = build_network(variant_of(da3.weights))
        steady_cameras(network)
    return DepthAnythingReconstructor(
        network.to(device),
        dtype=_dtype(device),
        process_res=da3.process_res,
        ref_view_strategy=da3.ref_view_strategy,
    )


def _inputs(shape: VisionLanguage, tokenizer: object, pixels: tuple[int, int], padding: str) -> VisionInputs:
    from transformers import Qwen2VLImageProcessorPil

    processor = Qwen2VLImageProcessorPil(
        patch_size=shape.vision["patch_size"],
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": pixels[0], "longest_edge": pixels[1]},
        image_mean=list(shape.mean),
        image_std=list(shape.std),
    )
    return VisionInputs(tokenizer, processor, "<|image_pad|>", padding)


def _dtype(device: str) -> torch.dtype:
    """That in which the registry loads these models."""
    return torch.bfloat16 if device == "cuda" else torch.float32
