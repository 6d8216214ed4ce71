"""Rebuilds the tiny world's models from a seed: autoencoder, transformer, critics. Every stage can be resumed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from worldr1.tinyworld.autoencoder import (
    AutoencoderSettings,
    fit_latent_scale,
    make_autoencoder,
    train_autoencoder,
)
from worldr1.tinyworld.corpus import CorpusSettings, render_range
from worldr1.tinyworld.critic_build import CriticBuildSettings, build_critics
from worldr1.tinyworld.latents import pack_video, read_shards, tokenise, write_shards
from worldr1.tinyworld.pipeline import (
    make_pipeline,
    make_text_encoder,
    make_tokenizer,
    make_transformer,
    save_pipeline,
)
from worldr1.tinyworld.pretrain import PretrainSettings, TextToVelocity, pretrain

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildSettings:
    """Everything that decides the result.

    Attributes:
        seed: of initial weights, corpus, batches and noise; takes the place of the seeds in the parts.
        autoencoder_clips: size of the autoencoder's training set; autoencoder: how it is trained.
        clips: size of the encoded corpus.
        corpus: what it is made of.
        pretrain: how the transformer is trained.
        device: "cpu" or "cuda".
        replicas: copies of a model that train side by side, one CPU thread each; 0 for one per core ("cuda": one).
    """

    seed: int = 0
    autoencoder_clips: int = 3072
    autoencoder: AutoencoderSettings = field(default_factory=AutoencoderSettings)
    clips: int = 45_056
    corpus: CorpusSettings = field(default_factory=CorpusSettings)
    pretrain: PretrainSettings = field(default_factory=PretrainSettings)
    device: str = "cpu"
    replicas: int = 0

    def side_by_side(self) -> int:
        """The number of replicas in numbers."""
        return self.replicas or (torch.get_num_threads() if self.device == "cpu" else 1)


def _autoencoder(work: Path, settings: BuildSettings, report: Callable[[str, float], None]) -> AutoencoderKLWan:
    from diffusers import AutoencoderKLWan

    directory = work / "vae"
    if (directory / "config.json").exists():
        return AutoencoderKLWan.from_pretrained(directory, use_safetensors=True).eval().requires_grad_(False)
    corpus = replace(settings.corpus, seed=settings.seed + 777)
    videos = []
    for start in range(0, settings.autoencoder_clips, 256):
        stop = min(start + 256, settings.autoencoder_clips)
        videos += [pack_video(clip.video) for clip in render_range(corpus, start, stop)]
        report("rendering clips for the autoencoder", stop / settings.autoencoder_clips)
    torch.manual_seed(settings.seed)
    stacked = torch.stack(videos)
    vae = train_autoencoder(
        make_autoencoder(),
        stacked,
        replace(settings.autoencoder, seed=settings.seed),
        work / "autoencoder",
        settings.device,
        settings.side_by_side(),
        lambda done: report("training the autoencoder", done),
    )
    fit_latent_scale(vae, stacked[:512])
    beside = work / "vae.new"
    vae.save_pretrained(beside)
    beside.rename(directory)
    return vae


def build(work: Path, output: Path, settings: BuildSettings, report: Callable[[str, float], None]) -> Path:
    """Build the pipeline directory `output` and `critics` beside it, keeping what resuming needs under `work`.

    Args:
        report: called with the stage's name and its fraction done.

    Returns:
        `output`, which `WanPipeline.from_pretrained` reads.
    """
    work.mkdir(parents=True, exist_ok=True)
    vae = _autoencoder(work, settings, report)
    tokenizer = make_tokenizer()
    shards = work / "latents"
    write_shards(
        shards,
        replace(settings.corpus, seed=settings.seed),
        settings.clips,
        vae,
        tokenizer,
        settings.side_by_side(),
        lambda done: report("encoding the corpus", done),
    )
    torch.manual_seed(settings.seed)
    model = TextToVelocity(make_transformer(), make_text_encoder(len(tokenizer)))
    average = pretrain(
        model,
        lambda: read_shards(shards),
        replace(settings.pretrain, seed=settings.seed),
        work / "transformer",
        tokenise(tokenizer, [""])[0],
        settings.device,
        settings.side_by_side(),
        lambda done: report("pre-training the transformer", done),
    )
    pipeline = make_pipeline(vae, average.transformer.cpu(), average.text_encoder.cpu(), tokenizer)
    save_pipeline(pipeline, output)
    build_critics(vae, work / "critics", output.with_name("critics"), CriticBuildSettings(seed=settings.seed), report)
    return output
