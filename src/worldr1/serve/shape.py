"""The limits on a video's shape."""

from __future__ import annotations

from worldr1.serve.refusal import Refused
from worldr1.serve.settings import ServiceSettings


def check_shape(frames: int, height: int, width: int, settings: ServiceSettings) -> None:
    """Raise Refused for a video that is too large (413) or too small to be scored (422)."""
    if frames > settings.frames:
        raise Refused(413, f"the video has {frames} frames or more; at most {settings.frames} are accepted")
    check_frame(height, width, settings)
    if frames < settings.fewest_frames:
        raise Refused(422, f"the video has {frames} frames; at least {settings.fewest_frames} are needed")


def check_frame(height: int, width: int, settings: ServiceSettings) -> None:
    """Raise Refused for a frame with too many pixels (413) or too short a side (422)."""
    if height * width > settings.pixels:
        raise Refused(413, f"a frame has {height}x{width} pixels; at most {settings.pixels} in all are accepted")
    if min(height, width) < settings.smallest_side:
        raise Refused(422, f"a frame has {height}x{width} pixels; each side needs {settings.smallest_side} at least")
