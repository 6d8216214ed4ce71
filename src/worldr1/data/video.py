"""Any video file, or a folder of frames, as a few small pictures evenly spread over it; memory is bounded."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

MOST_FRAMES = 33
SHORT_SIDE, LONGEST, SMALLEST_SIDE = 128, 4, 32  # LONGEST: the long side in short sides
LARGEST_PICTURE = 2**26  # pixels; 8K has half as many
MOST_DECODED = 2**33  # pixels of all frames together; above, only key frames are decoded
MOST_DAMAGED = 50
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".exr"})
_NO_VIDEOS = frozenset({"tty", "hls", "concat", "dash", "sdp", "rtsp"})  # text and playlists, which FFmpeg also opens

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SampledVideo:
    """Evenly spread frames of a video, shrunk.

    Attributes:
        frames: [N, 3, H, W] float32 in [0, 1], square pixels, upright, without alpha.
        indices: of these frames in the file, in the order in which they are shown.
        times: of these frames in seconds; nan where the file does not tell.
        total: frames in the file.
        size: (height, width) of the file's frames as they are meant to be shown, before shrinking.
        notes: plain sentences on what is odd about the file.
    """

    frames: Tensor
    indices: tuple[int, ...]
    times: tuple[float, ...]
    total: int
    size: tuple[int, int]
    notes: tuple[str, ...] = ()

    @property
    def positions(self) -> tuple[float, ...]:
        """Where in the clip the frames lie, from 0 to 1: by time, or by index where times are missing."""
        timed = all(b > a for a, b in zip(self.times, self.times[1:], strict=False))
        places: Sequence[float] = self.times if timed else self.indices
        length = (places[-1] - places[0]) or 1.0
        return tuple((place - places[0]) / length for place in places)


@dataclass(frozen=True)
class _Shape:
    """How to turn a decoded frame into a picture: quarter turns counter-clockwise, and the size after that."""

    turns: int
    source: tuple[int, int]
    target: tuple[int, int]


def read_sampled(path: Path, most: int = MOST_FRAMES, short_side: int = SHORT_SIDE) -> SampledVideo:
    """Read at most `most` frames, the first and the last among them, small ones.

    Args:
        path: a file that FFmpeg reads, or a folder of pictures, taken in the natural order of their names.
        most: frames to keep.
        short_side: pixels on the short side at most; the long side has at most four times as many.

    Raises:
        FileNotFoundError: when there is nothing at `path`.
        ValueError: when it is no video, or its pictures are too small, too large or too elongated. All messages name
            what is wrong, not the file.
    """
    if _is_folder(path):
        return _read_folder(path, most, short_side)
    packets, damaged = _index(path)
    if not packets:
        raise ValueError("it holds no video frames")
    total = len(packets)
    timed = all(pts is not None for pts, _ in packets)
    order = sorted(range(total), key=lambda k: packets[k][0]) if timed else list(range(total))
    wanted = {order[k] for k in _spread(total, most)}
    with _opened(path) as stream:
        context = stream.codec_context
        key_places = [k for k in order if packets[k][1]]
        if total * context.width * context.height > MOST_DECODED and timed and len(key_places) >= most:
            wanted = {key_places[k] for k in _spread(len(key_places), most)}
            context.skip_frame = "NONKEY"
        wanted_pts = {packets[k][0]: order.index(k) for k in wanted} if timed else {k: k for k in wanted}
        return _collect(stream, wanted_pts, timed, total, damaged, short_side)


def _collect(
    stream: Any, wanted: dict[int, int], timed: bool, total: int, damaged: bool, short_side: int
) -> SampledVideo:
    """Decode; keep the frames whose presentation time, or number, is a key of `wanted`, which gives their index."""
    shape: _Shape | None = None
    pictures: list[tuple[int, float, Picture]] = []
    transparent = False
    decoded = 0
    for number, frame in enumerate(_decoded(stream)):
        decoded = number + 1
        index = wanted.get(frame.pts if timed else number)
        if index is None:
            continue
        shape = shape or _shape_of(frame, stream.sample_aspect_ratio, short_side)
        picture, see_through = _picture(frame, shape)
        transparent = transparent or see_through
        pictures.append((index, float("nan") if frame.time is None else float(frame.time), picture))
    if shape is None:
        raise ValueError("none of its video frames can be decoded")
    pictures.sort(key=lambda entry: entry[0])
    notes = _notes(damaged or decoded == 0 or len(pictures) < len(wanted), transparent)
    return _sampled(pictures, total, shape.source, notes)


def _notes(damaged: bool, transparent: bool) -> tuple[str, ...]:
    notes = []
    if damaged:
        notes.append("the file is damaged or breaks off; only what could be decoded was scored")
    if transparent:
        notes.append("transparent pixels were laid over black")
    return tuple(notes)


def _sampled(
    pictures: Sequence[tuple[int, float, Picture]], total: int, size: tuple[int, int], notes: tuple[str, ...]
) -> SampledVideo:
    frames = torch.from_numpy(np.stack([picture for _, _, picture in pictures])).permute(0, 3, 1, 2).float() / 255
    indices, times = tuple(index for index, _, _ in pictures), tuple(time for _, time, _ in pictures)
    return SampledVideo(frames, indices, times, total, size, notes)


def _is_folder(path: Path) -> bool:
    """Whether a path is a folder; raises unless it is that or a file with something in it."""
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise FileNotFoundError("there is no such file or folder") from error
    except OSError as error:
        raise ValueError(f"it cannot be opened: {error.strerror}") from error
    if stat.S_ISDIR(found.st_mode):
        return True
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is a pipe or a device; save the video to a file first")
    if found.st_size == 0:
        raise ValueError("the file is empty (0 bytes)")
    return False


class _Nameless:
    """A file of bytes without a name, which FFmpeg would take for a pattern or for a hint at the format."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The first video stream of a file; what it refers to, on this machine or elsewhere, is never opened."""
    import av

    try:
        with path.open("rb") as file, av.open(_Nameless(file), options={"protocol_whitelist": "none"}) as container:
            if container.format.name in _NO_VIDEOS or not container.streams.video:
                raise ValueError("it holds no video" if container.streams.audio else "it is not a video")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if stream.codec_context.width * stream.codec_context.height > LARGEST_PICTURE:
                raise ValueError(
                    f"its pictures have {stream.codec_context.width}x{stream.codec_context.height} pixels; "
                    f"more than {LARGEST_PICTURE // 10**6} million are not read"
                )
            yield stream
    except av.error.FFmpegError as error:
        raise ValueError(f"it cannot be read as a video: {error.strerror}") from error
    except PermissionError as error:
        raise ValueError("it cannot be opened: permission denied") from error


def _index(path: Path) -> tuple[list[tuple[int, bool]], bool]:
    """Presentation time and whether it is a key frame, of every packet, without decoding; and whether it broke off."""
    import av

    packets, empty = [], 0
    with _opened(path) as stream:
        try:
            for packet in stream.container.demux(stream):
                if packet.size:
                    packets.append((packet.pts, packet.is_keyframe))
                elif packet.dts is not None:
                    empty += 1
        except av.error.FFmpegError:
            return packets, True
        return packets, len(packets) + empty < stream.frames


def _decoded(stream: Any) -> Iterator[Any]:
    """The frames of a stream, past damaged ones."""
    import av

    damaged = 0
    packets = stream.container.demux(stream)
    while damaged < MOST_DAMAGED:
        try:
            packet = next(packets)
            yield from packet.decode()
        except StopIteration:
            return
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            damaged += 1


def _shape_of(frame: Any, pixel_aspect: Any, short_side: int) -> _Shape:
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    aspect = float(pixel_aspect) if pixel_aspect and 0.1 < pixel_aspect < 10 else 1.0
    height, width = frame.height, round(frame.width * aspect)
    shown = (width, height) if turns % 2 else (height, width)
    scale = min(1.0, short_side / min(shown), LONGEST * short_side / max(shown))
    target = (max(1, round(shown[0] * scale)), max(1, round(shown[1] * scale)))
    if min(target) < SMALLEST_SIDE:
        raise ValueError(
            f"its pictures are {shown[1]}x{shown[0]} pixels; a score needs at least {SMALLEST_SIDE} pixels a side, "
            f"and one side at most {LONGEST * short_side // SMALLEST_SIDE} times the other"
        )
    return _Shape(turns, shown, target)


def _picture(frame: Any, shape: _Shape) -> tuple[Picture, bool]:
    """[H, W, 3] upright and shrunk, transparent pixels over black; and whether there were any."""
    height, width = shape.target if shape.turns % 2 == 0 else shape.target[::-1]
    alpha = frame.format.name == "pal8" or any(component.is_alpha for component in frame.format.components)
    small = frame.reformat(width=width, height=height, format="rgba" if alpha else "rgb24", interpolation="AREA")
    image = np.rot90(small.to_ndarray(), shape.turns)
    if not alpha:
        return image, False
    opacity = image[..., 3:].astype(np.float32) / 255
    return (image[..., :3] * opacity + 0.5).astype(np.uint8), bool((opacity < 1).any())


def _spread(total: int, most: int) -> list[int]:
    """At most `most` places out of `total`, evenly spread, the first and the last among them."""
    return sorted({math.floor(k + 0.5) for k in np.linspace(0, total - 1, min(most, total))})


def _read_folder(path: Path, most: int, short_side: int) -> SampledVideo:
    try:
        names = [name for name in os.listdir(path) if Path(name).suffix.lower() in PICTURES and name[0] != "."]
    except OSError as error:
        raise ValueError(f"the folder cannot be opened: {error.strerror}") from error
    if not names:
        raise ValueError("the folder holds no pictures (.png, .jpg, .webp, .bmp, .tif)")
    names.sort(
        key=lambda name: [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
    )
    shape = _shape_of(_first_frame(path / names[0]), None, short_side)
    pictures: list[tuple[int, float, Picture]] = []
    transparent = False
    for index in _spread(len(names), most):
        frame = _first_frame(path / names[index])
        if _shape_of(frame, None, short_side).source != shape.source:
            raise ValueError(f"the picture {names[index]} has another size than {names[0]}; all must have the same")
        picture, see_through = _picture(frame, shape)
        transparent = transparent or see_through
        pictures.append((index, float("nan"), picture))
    return _sampled(pictures, len(names), shape.source, _notes(False, transparent))


def _first_frame(path: Path) -> Any:
    try:
        if not _is_folder(path):
            with _opened(path) as stream:
                for frame in _decoded(stream):
                    return frame
    except ValueError as error:
        raise ValueError(f"the picture {path.name}: {error}") from error
    raise ValueError(f"the picture {path.name} cannot be decoded")
