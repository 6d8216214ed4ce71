"""Both critics from a seed: their data in parts on disk, so that the work can be resumed, then their training."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from safetensors.torch import load_file, save_file

from worldr1.reconstruction.stereo import StereoReconstructor
from worldr1.tinyworld.critic import Critic, load_critic, save_critic
from worldr1.tinyworld.critic_data import concatenate
from worldr1.tinyworld.critic_train import CriticSettings, train_meta_critic, train_preference_critic, train_reader
from worldr1.tinyworld.frame_data import FrameSet, frame_part
from worldr1.tinyworld.meta_data import MetaSet, meta_part
from worldr1.tinyworld.preference_data import PreferenceSet, preference_part

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan

Set = TypeVar("Set", FrameSet, MetaSet, PreferenceSet)

PART = 32
"""Clips in one file of training data."""
FRAME_PART = 512
"""Frames in one file of the reader's training data."""


@dataclass(frozen=True)
class CriticBuildSettings:
    """Everything that decides the critics.

    Attributes:
        seed: of scenes, moves and defects.
        frames: how many frames the reader learns from.
        meta_clips, preference_clips: how many clips each critic learns from.
        reader, meta, preference: how each is trained.
    """

    seed: int = 0
    frames: int = 8192
    meta_clips: int = 1280
    preference_clips: int = 640
    reader: CriticSettings = field(default_factory=lambda: CriticSettings(steps=1200, lr=2e-3, wrong_captions=3))
    meta: CriticSettings = field(default_factory=lambda: CriticSettings(steps=800, lr=1e-3))
    preference: CriticSettings = field(default_factory=lambda: CriticSettings(steps=500, batch=32, lr=1e-3))


def _parts(
    directory: Path, name: str, kind: type[Set], count: int, make: Callable[[int], Set], report: Callable[[float], None]
) -> Set:
    """Read the parts that exist, make the others."""
    directory.mkdir(parents=True, exist_ok=True)
    parts = []
    for index in range(count):
        file = directory / f"{name}-{index:03d}.safetensors"
        if not file.exists():
            beside = file.with_suffix(".new")
            save_file({key: value.contiguous() for key, value in vars(make(index)).items()}, beside)
            os.replace(beside, file)
        parts.append(kind(**load_file(file)))
        report((index + 1) / count)
    return concatenate(parts)


def frame_set(directory: Path, frames: int, seed: int, split: str, report: Callable[[float], None]) -> FrameSet:
    """`frames` single frames of one split (rounded up to whole parts), kept under `directory`."""
    return _parts(
        directory,
        f"frames-{split}",
        FrameSet,
        -(-frames // FRAME_PART),
        lambda i: frame_part(FRAME_PART, (seed, 0, i), split),
        report,
    )


def meta_set(
    vae: AutoencoderKLWan, directory: Path, clips: int, seed: int, split: str, report: Callable[[float], None]
) -> MetaSet:
    """Views of `clips` clips of one split (rounded up to whole parts), kept under `directory`."""
    reconstructor = StereoReconstructor()
    return _parts(
        directory,
        f"meta-{split}",
        MetaSet,
        -(-clips // PART),
        lambda i: meta_part(vae, reconstructor, PART, (seed, 1, i), split),
        report,
    )


def preference_set(
    vae: AutoencoderKLWan, directory: Path, clips: int, seed: int, split: str, report: Callable[[float], None]
) -> PreferenceSet:
    """Frames of `clips` clips of one split (rounded up to whole parts), kept under `directory`."""
    return _parts(
        directory,
        f"preference-{split}",
        PreferenceSet,
        -(-clips // PART),
        lambda i: preference_part(vae, PART, (seed, 2, i), split),
        report,
    )


def _reader(work: Path, settings: CriticBuildSettings, report: Callable[[str, float], None]) -> Critic:
    """Train the reader, or read it from `work`."""
    file = work / "reader.safetensors"
    if not file.exists():
        frames = frame_set(work, settings.frames, settings.seed, "train", partial(report, "frames for the critics"))
        save_critic(train_reader(frames, settings.reader, partial(report, "training the critics to read")), file, {})
    return load_critic(file)[0]


def build_critics(
    vae: AutoencoderKLWan,
    work: Path,
    output: Path,
    settings: CriticBuildSettings,
    report: Callable[[str, float], None],
) -> None:
    """Write `meta.safetensors` and `general.safetensors` to `output`; a critic that is there already is kept.

    Args:
        vae: the tiny autoencoder, with its latent scale set.
        work: where training data is kept to resume from.
        report: called with the stage's name and its fraction done.
    """
    meta, general = output / "meta.safetensors", output / "general.safetensors"
    if not meta.exists():
        reader = _reader(work, settings, report)
        views = meta_set(vae, work, settings.meta_clips, settings.seed, "train", partial(report, "rebuilt scenes"))
        save_critic(
            train_meta_critic(reader, views, settings.meta, partial(report, "training the meta critic")), meta, {}
        )
    if not general.exists():
        reader = _reader(work, settings, report)
        frames = preference_set(
            vae, work, settings.preference_clips, settings.seed, "train", partial(report, "frames good and bad")
        )
        critic, standard = train_preference_critic(
            reader, frames, settings.preference, partial(report, "training the preference critic")
        )
        save_critic(critic, general, standard)
