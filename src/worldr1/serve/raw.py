"""Raw videos: one tensor in safetensors bytes, its header checked before anything is read."""

from __future__ import annotations

import json
from math import prod
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from worldr1.serve.refusal import Refused
from worldr1.serve.settings import ServiceSettings
from worldr1.serve.shape import check_shape
from worldr1.serve.wire import TENSOR_NAME

_LONGEST_HEADER = 4096
_BYTES = {"U8": 1, "F16": 2, "BF16": 2, "F32": 4}
_TOLERANCE = 1e-3


def looks_raw(payload: bytes) -> bool:
    """Whether the bytes begin as safetensors do: the length of the header, then an object of JSON."""
    return len(payload) > 8 and payload[8:9] == b"{" and int.from_bytes(payload[:8], "little") <= len(payload) - 8


def decode_raw(payload: bytes, settings: ServiceSettings) -> Tensor:
    """The tensor "video" [T,3,H,W]: U8, or F16, BF16 or F32 in [0,1].

    Raises:
        Refused: 413 when the header tells of too large a video, 422 on any other content.
    """
    kind, shape = _header(payload)
    check_shape(shape[0], shape[2], shape[3], settings)
    size = prod(shape) * _BYTES[kind]
    if size > settings.video_bytes:
        raise Refused(413, f"the video takes {size} bytes; at most {settings.video_bytes} are accepted")
    try:
        video = load(payload)[TENSOR_NAME]
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise Refused(422, "the upload is broken: its safetensors header and its data do not fit") from error
    if video.is_floating_point() and not _in_range(video):
        raise Refused(422, "the video holds values that are not finite or lie outside [0, 1]")
    return video


def _header(payload: bytes) -> tuple[str, list[int]]:
    length = int.from_bytes(payload[:8], "little")
    if length > _LONGEST_HEADER:
        raise Refused(422, f"the safetensors header has {length} bytes; one tensor named {TENSOR_NAME!r} is enough")
    try:
        header = json.loads(payload[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise Refused(422, "the safetensors header is not JSON") from error
    tensors = {name for name in header if name != "__metadata__"} if isinstance(header, dict) else set()
    if tensors != {TENSOR_NAME} or not isinstance(header[TENSOR_NAME], dict):
        raise Refused(422, f"the safetensors bytes must hold one tensor, named {TENSOR_NAME!r}")
    kind, shape = header[TENSOR_NAME].get("dtype"), header[TENSOR_NAME].get("shape")
    if not isinstance(kind, str) or kind not in _BYTES:
        raise Refused(422, f"the tensor's type must be one of {', '.join(_BYTES)}")
    if not _is_video_shape(shape):
        raise Refused(422, "the tensor's shape must be [T, 3, H, W]")
    return kind, shape


def _is_video_shape(shape: Any) -> bool:
    whole = isinstance(shape, list) and len(shape) == 4 and all(type(side) is int and side >= 0 for side in shape)
    return whole and shape[1] == 3


def _in_range(video: Tensor) -> bool:
    low, high = torch.aminmax(video)
    return bool(low >= -_TOLERANCE) and bool(high <= 1 + _TOLERANCE)
