"""Assembles the tiny `WanPipeline` from real diffusers and transformers classes, untrained."""

from __future__ import annotations

import json
import os
import shutil
import string
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from worldr1.camera.language import MOVES
from worldr1.tinyworld.vocabulary import COLORS, MOTIONS, SETTINGS, SHAPES

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel
    from transformers import PreTrainedTokenizerBase, UMT5EncoderModel

TEXT_DIM = 64
SHIFT = 3.0
MAX_TOKENS = 32
"""Longest caption of the tiny world in tokens, end mark included, rounded up."""


def make_tokenizer() -> PreTrainedTokenizerBase:
    """A `T5Tokenizer` with one piece for each word of the tiny world and single letters for all others."""
    from transformers import T5Tokenizer

    phrases = " ".join([*MOVES, *COLORS, *SHAPES, *MOTIONS, *(s.phrase for s in SETTINGS), "camera then a and beside"])
    words = sorted(set(phrases.split()))
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(f"▁{word}", -1.0) for word in words]
    pieces += [(mark, -2.0) for mark in ".,"]
    pieces += [(letter, -12.0) for letter in "▁" + string.ascii_letters + string.digits + "'-!?:;"]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


def make_text_encoder(vocabulary: int) -> UMT5EncoderModel:
    """A two-layer UMT5 encoder of width `TEXT_DIM`."""
    from transformers import UMT5Config, UMT5EncoderModel

    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=vocabulary,
            d_model=TEXT_DIM,
            d_kv=16,
            d_ff=128,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
        )
    )


def make_transformer(width: int = 192, layers: int = 7, channels: int = 16) -> WanTransformer3DModel:
    """A `WanTransformer3DModel` with heads of 32 and patches of (1, 2, 2)."""
    from diffusers import WanTransformer3DModel

    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=width // 32,
        attention_head_dim=32,
        in_channels=channels,
        out_channels=channels,
        text_dim=TEXT_DIM,
        freq_dim=128,
        ffn_dim=4 * width,
        num_layers=layers,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=64,
    )


def make_pipeline(
    vae: AutoencoderKLWan,
    transformer: WanTransformer3DModel,
    text_encoder: UMT5EncoderModel,
    tokenizer: PreTrainedTokenizerBase,
) -> WanPipeline:
    """The parts as a `WanPipeline` with Wan's own scheduler, whose noise levels are those of our sampler."""
    from diffusers import UniPCMultistepScheduler, WanPipeline

    return WanPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        vae=vae,
        transformer=transformer,
        scheduler=UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=SHIFT),
    )


def save_pipeline(pipeline: WanPipeline, directory: Path) -> None:
    """Write the pipeline beside and rename it, replacing what lies there.

    The transformer is stored in bfloat16 and the autoencoder in float16, which diffusers reads back as float32; the
    text encoder stays in float32, since transformers would keep it in half precision after loading.
    """
    beside = directory.with_name(directory.name + ".new")
    shutil.rmtree(beside, ignore_errors=True)
    pipeline.save_pretrained(beside)
    for part, dtype in (("transformer", torch.bfloat16), ("vae", torch.float16)):
        file = beside / part / "diffusion_pytorch_model.safetensors"
        save_file({k: v.to(dtype) for k, v in load_file(file).items()}, file, metadata={"format": "pt"})
        config = file.with_name("config.json")
        content = json.loads(config.read_text(encoding="utf-8"))
        content.pop("_name_or_path", None)  # where the part was loaded from says nothing to others
        config.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(directory, ignore_errors=True)
    os.replace(beside, directory)
