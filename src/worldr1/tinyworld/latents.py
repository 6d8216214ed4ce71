"""The corpus as latents on disk: shards of encoded clips with their captions, rendered once, read at every epoch."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from worldr1.tinyworld.autoencoder import encode, normalise
from worldr1.tinyworld.corpus import CorpusSettings, render_range
from worldr1.tinyworld.pipeline import MAX_TOKENS
from worldr1.tinyworld.spoil import CLEAN

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

SHARD = 512


@dataclass(frozen=True)
class LatentSet:
    """Encoded clips.

    Attributes:
        latents: [N,C,t,h,w] float16, normalised.
        tokens: [N, MAX_TOKENS] int16 caption tokens, 0 after the end mark.
        consistent: [N] bool, whether the clip was rendered without defects.
    """

    latents: Tensor
    tokens: Tensor
    consistent: Tensor


def pack_video(video: Tensor) -> Tensor:
    """Frames in [0, 1] as uint8."""
    return video.mul(255.0).round().to(torch.uint8)


def tokenise(tokenizer: PreTrainedTokenizerBase, prompts: list[str]) -> Tensor:
    """Token ids [N, MAX_TOKENS] int16, padded with 0."""
    encoded = tokenizer(prompts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt")
    return encoded.input_ids.to(torch.int16)


def write_shards(
    directory: Path,
    settings: CorpusSettings,
    clips: int,
    vae: AutoencoderKLWan,
    tokenizer: PreTrainedTokenizerBase,
    workers: int = 1,
    on_progress: Callable[[float], None] | None = None,
) -> None:
    """Render and encode the first `clips` clips, keeping shards that exist already, so that it can be resumed.

    `workers` CPU threads encode side by side.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for shard in range(clips // SHARD):
        file = directory / f"latents-{shard:04d}.safetensors"
        if not file.exists():
            batch = render_range(settings, shard * SHARD, (shard + 1) * SHARD)
            videos = torch.stack([pack_video(clip.video) for clip in batch])
            content = {
                "latents": normalise(vae, encode(vae, videos, workers=workers)).half(),
                "tokens": tokenise(tokenizer, [clip.prompt for clip in batch]),
                "consistent": torch.tensor([clip.spoil == CLEAN for clip in batch]),
            }
            beside = file.with_suffix(".new")
            save_file(content, beside)
            os.replace(beside, file)
            log.info("encoded %d of %d clips", (shard + 1) * SHARD, clips)
        if on_progress:
            on_progress((shard + 1) * SHARD / clips)


def read_shards(directory: Path) -> LatentSet:
    """Read every shard that is there.

    Raises:
        FileNotFoundError: if there is none.
    """
    files = sorted(directory.glob("latents-*.safetensors"))
    if not files:
        raise FileNotFoundError(f"no latents-*.safetensors in {directory}; run `worldr1 tinyworld build` first")
    parts = [load_file(file) for file in files]
    return LatentSet(*(torch.cat([part[key] for part in parts]) for key in ("latents", "tokens", "consistent")))
