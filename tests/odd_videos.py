"""Small video files of many kinds, written with PyAV for tests."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

from worldr1.camera.trajectory import Trajectory
from worldr1.tinyworld.render import render_clips
from worldr1.tinyworld.scenes import sample_scene
from worldr1.tinyworld.spoil import sample_spoil


def clip(
    moves: Sequence[str] = ("orbit left",), frames: int = 7, height: int = 48, width: int = 64, **spoil: Any
) -> Tensor:
    """A rendered clip [T, 3, H, W]; `kind` and `strength` spoil it."""
    rng = np.random.default_rng(3)
    scene, trajectory = sample_scene(rng), Trajectory.from_moves(tuple(moves), frames)
    defects = [sample_spoil(rng, **spoil)] if spoil else None
    return render_clips([scene], [trajectory], defects, height=height, width=width)[0].video


def images(video: Tensor, alpha: Tensor | None = None) -> list[np.ndarray]:
    """Frames as uint8 [H, W, 3], or [H, W, 4] with `alpha` [H, W] in [0, 1]."""
    stack = video if alpha is None else torch.cat([video, alpha.expand(len(video), 1, *alpha.shape)], dim=1)
    return list((stack.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy())


def encode(
    path: Path,
    pictures: Sequence[np.ndarray],
    codec: str = "ffv1",
    pix_fmt: str = "yuv444p",
    *,
    rate: Fraction = Fraction(8),
    stamps: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    turn: int = 0,
    container: str | None = None,
    sound: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Write pictures [H, W, 3 or 4]; `stamps` are presentation times in hundredths of a second."""
    kind = "rgba" if pictures[0].shape[-1] == 4 else "rgb24"
    muxing = {"movflags": "faststart"} if path.suffix == ".mp4" and container is None else {}
    with av.open(str(path), "w", format=container, options=muxing) as file:
        stream: Any = file.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if stamps is not None:
            stream.codec_context.time_base = Fraction(1, 100)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if turn:
            stream.set_display_rotation(turn)
        voice: Any = file.add_stream("aac", rate=8000) if sound else None
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format=kind)
            if stamps is not None:
                frame.pts, frame.time_base = stamps[number], Fraction(1, 100)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        if voice is not None:
            _say(file, voice)
    return path


def audio(path: Path) -> Path:
    """A file with sound only."""
    with av.open(str(path), "w") as file:
        _say(file, file.add_stream("aac", rate=8000))
    return path


def _say(file: Any, voice: Any) -> None:
    silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
    silence.sample_rate = 8000
    file.mux(voice.encode(silence))
    file.mux(voice.encode())


def folder(
    path: Path, pictures: Sequence[np.ndarray], name: str = "frame {}.png", codec: str = "png", pix_fmt: str = "rgb24"
) -> Path:
    """A folder of single pictures, numbered without leading zeros."""
    path.mkdir()
    for number, picture in enumerate(pictures):
        encode(path / name.format(number + 8), [picture], codec, pix_fmt, container="image2pipe")
    return path
