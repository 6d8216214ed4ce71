"""Videos in mp4 files from anyone: only this container, few codecs, and limits before and while decoding."""

from __future__ import annotations

import io
import time

import numpy as np
import torch
from torch import Tensor

from worldr1.serve.refusal import Refused
from worldr1.serve.settings import ServiceSettings
from worldr1.serve.shape import check_frame, check_shape

CODECS = frozenset({"h264", "hevc", "vp9", "av1", "libdav1d", "libvpx-vp9", "mpeg4"})
_DECODE_SECONDS = 30.0
_MOST_STREAMS = 4
_EDGES = 65_536
"""Pixels that decoders add round a frame, at most, to the limit that they hold themselves; `check_frame` is exact."""
_BROKEN = "the upload is no mp4 file that can be decoded"


def looks_mp4(payload: bytes) -> bool:
    """Whether the bytes begin as an mp4 file does."""
    return payload[4:8] == b"ftyp"


def decode_mp4(payload: bytes, settings: ServiceSettings) -> Tensor:
    """All frames as uint8 [T,3,H,W].

    The container is fixed, so that no playlist can name other files; frames larger than allowed are not decoded.

    Raises:
        Refused: 413 when the video is too large, 415 for another codec, 422 when it cannot be decoded.
    """
    import av

    images: list[np.ndarray] = []
    bounds = {"max_pixels": str(2 * settings.pixels + _EDGES)}
    deadline = time.monotonic() + _DECODE_SECONDS
    try:
        with av.open(
            io.BytesIO(payload), "r", format="mp4", options=bounds, metadata_errors="replace", timeout=_DECODE_SECONDS
        ) as container:
            if not container.streams.video or len(container.streams) > _MOST_STREAMS:
                raise Refused(422, f"the mp4 file must hold one video and at most {_MOST_STREAMS} streams")
            stream = container.streams.video[0]
            context = stream.codec_context
            if context is None or context.name not in CODECS:
                raise Refused(415, "the mp4 file's codec must be H.264, HEVC, VP9, AV1 or MPEG-4")
            check_frame(context.height, context.width, settings)
            context.thread_count = 1
            context.options = bounds
            for frame in container.decode(stream):
                _check(len(images), frame.height, frame.width, settings)
                images.append(frame.to_ndarray(format="rgb24"))
                if images[-1].shape != images[0].shape:
                    raise Refused(422, "the frames of the mp4 file differ in size")
                if time.monotonic() > deadline:
                    raise Refused(413, f"the video takes more than {_DECODE_SECONDS:.0f} seconds to decode")
    except (av.FFmpegError, ValueError, OverflowError, MemoryError) as error:
        raise Refused(422, _BROKEN) from error
    if not images:
        raise Refused(422, _BROKEN)
    height, width, _ = images[0].shape
    check_shape(len(images), height, width, settings)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def _check(before: int, height: int, width: int, settings: ServiceSettings) -> None:
    """A frame with `before` others before it, before it takes memory."""
    check_frame(height, width, settings)
    if before >= settings.frames:
        raise Refused(413, f"the video has more than {settings.frames} frames, which is what is accepted")
    size = (before + 1) * height * width * 3
    if size > settings.video_bytes:
        raise Refused(413, f"the decoded video takes more than {settings.video_bytes} bytes, which is what is accepted")
