"""Clips from real cameras: where each is from, which of its frames are used, and what is in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from worldr1.data.video import SampledVideo, read_sampled

LIST = Path(__file__).with_name("clips.json")
MOST_READ = 1200


@dataclass(frozen=True)
class Clip:
    """One entry of the list.

    Attributes:
        name: what it is called in the table.
        file: a video, or a folder of pictures.
        source: package or repository that ships it, with the place in there.
        licence: of the package or the repository.
        scene: "rigid" when nothing but the camera moves, "moving" when something else does, or when there are cuts;
            told by looking at the frames, before anything was scored.
        use: "tuning" clips are what the scores were made with, "held out" ones what they are tried on.
        frames: the first and the last that are used.
        rate: frames a second, where the file does not tell or tells something else.
    """

    name: str
    file: str
    source: str
    licence: str
    scene: Literal["rigid", "moving"]
    use: Literal["tuning", "held out"]
    frames: tuple[int, int] | None = None
    rate: float | None = None


@dataclass(frozen=True)
class Window:
    """A piece of a clip: `video` [T, 3, H, W] in [0, 1], of even size, as H.264 needs it; named by its first frame."""

    clip: Clip
    name: str
    video: Tensor


def listed(path: Path = LIST) -> list[Clip]:
    """The clips of a list in JSON."""
    return [
        Clip(**{**entry, "frames": tuple(entry["frames"]) if "frames" in entry else None})
        for entry in json.loads(path.read_text("utf-8"))
    ]


def cut(clip: Clip, folder: Path, windows: int, frames: int, seconds: float, short_side: int) -> list[Window]:
    """Windows of a clip, evenly spread over it.

    Neighbouring frames of a window are so far apart that it covers `seconds`, or the whole of a shorter clip; where the
    rate is unknown, they are neighbours in the clip. A clip with fewer frames than a window is one window.
    """
    sampled = read_sampled(folder / clip.file, MOST_READ, short_side)
    first, last = clip.frames or (0, sampled.total - 1)
    kept = [k for k, index in enumerate(sampled.indices) if first <= index <= last]
    rate = _rate(clip, sampled)
    step = max(1, min(int(seconds * rate / (frames - 1)), len(kept) // frames)) if rate else 1
    video, numbers = sampled.frames[kept][::step], [sampled.indices[k] for k in kept][::step]
    video = video[:, :, : video.shape[2] // 2 * 2, : video.shape[3] // 2 * 2]
    length = min(frames, len(video))
    count = max(1, min(windows, len(video) // length))
    ends = (0, len(video) - length) if count > 1 else ((len(video) - length) // 2,) * 2
    starts = [round(k) for k in np.linspace(*ends, count)]
    return [Window(clip, f"{clip.name}, {numbers[k]}", video[k : k + length]) for k in starts]


def _rate(clip: Clip, sampled: SampledVideo) -> float | None:
    """Sampled frames a second, None when neither the list nor the file tells."""
    thinning = len(sampled.indices) / sampled.total
    if clip.rate is not None:
        return clip.rate * thinning
    length = sampled.times[-1] - sampled.times[0]
    return (len(sampled.times) - 1) / length if length > 0 else None
