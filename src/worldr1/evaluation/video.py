"""Writing clips that browsers play."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Without x264's macroblock tree: with it the same pictures, encoded again, sometimes give another file.
_H264 = {"crf": "16", "preset": "veryfast", "x264-params": "mbtree=0"}
PREFERRED = (("libx264", ".mp4", _H264), ("libvpx-vp9", ".webm", {"crf": "24", "b": "0"}))


def write_video(path: Path, video: Tensor, *, fps: int = 8, magnify: int = 1) -> Path:
    """Encode a clip as H.264 (yuv420p, moov in front), or as VP9 in WebM where PyAV has no H.264 encoder.

    Args:
        path: where to write; the suffix is replaced by that of the container used.
        video: [T,3,H,W] in [0,1].
        fps: frames per second.
        magnify: whole-number enlargement by pixel repetition, so that small clips stay crisp.

    Returns:
        The path written.

    Raises:
        ValueError: if the video has another shape, or an odd size after enlargement (yuv420p needs even sizes).
        RuntimeError: if PyAV has neither encoder.
    """
    import av
    from av.codec.codec import UnknownCodecError

    if video.ndim != 4 or video.shape[1] != 3:
        raise ValueError(f"a video must have shape [T,3,H,W], got {tuple(video.shape)}")
    height, width = video.shape[-2] * magnify, video.shape[-1] * magnify
    if height % 2 or width % 2:
        raise ValueError(f"yuv420p needs even sizes, got {height}x{width}; enlarge or crop by one pixel")
    for codec, suffix, options in PREFERRED:
        try:
            av.Codec(codec, "w")
        except UnknownCodecError:
            continue
        target = path.with_suffix(suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        container_options = {"movflags": "faststart"} if suffix == ".mp4" else {}
        with av.open(str(target), "w", options=container_options) as container:
            stream: Any = container.add_stream(codec, rate=fps, options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for image in to_uint8(video).repeat(magnify, 1).repeat(magnify, 2):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        return target
    raise RuntimeError("PyAV has neither libx264 nor libvpx-vp9; install the `av` wheel from PyPI")


def to_uint8(video: Tensor) -> np.ndarray:
    """[T,3,H,W] in [0,1] to uint8 [T,H,W,3]; nan becomes 0."""
    clean = torch.nan_to_num(video.detach().float().cpu()).clamp(0, 1)
    return (clean * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).numpy()
