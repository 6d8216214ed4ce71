"""What the service accepts, and how it batches."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, fields

MIB = 2**20


@dataclass(frozen=True)
class ServiceSettings:
    """Limits and batching of one service.

    Attributes:
        upload_bytes: longest body of a request.
        upload_seconds: longest time that a body may take to arrive.
        frames, fewest_frames: most and fewest frames of a video.
        pixels: most pixels of one frame.
        smallest_side: shortest side of a frame, pixels.
        video_bytes: largest decoded video, as 8-bit RGB or in the type of the raw tensor.
        prompt_length: longest prompt, characters.
        rate: requests a second that each token may send in the long run.
        burst: requests that each token may send at once.
        queue: most requests at work at a time, from the first byte of the upload to the answer.
        batch: most videos that the reward gets at once.
        batch_wait: seconds that the oldest waiting video waits for others to fill its batch.
        score_seconds: longest time from upload to answer.
        drain_seconds: longest time that running requests get after SIGTERM.
        answers: answers kept for repeated idempotency keys.

    Raises:
        ValueError: a value is not above 0 (batch_wait: below 0).
    """

    upload_bytes: int = 128 * MIB
    upload_seconds: float = 60.0
    frames: int = 129
    fewest_frames: int = 3
    pixels: int = 1280 * 720
    smallest_side: int = 32
    video_bytes: int = 128 * MIB
    prompt_length: int = 2000
    rate: float = 20.0
    burst: int = 64
    queue: int = 32
    batch: int = 8
    batch_wait: float = 0.02
    score_seconds: float = 300.0
    drain_seconds: float = 60.0
    answers: int = 1024

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0 or (value == 0 and field.name != "batch_wait"):
                raise ValueError(f"{field.name} is {value}; it must be above 0")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a service that listens at `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
