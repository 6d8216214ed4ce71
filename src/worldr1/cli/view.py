"""`worldr1 view`: splats, cameras and frames in the browser."""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path

from worldr1.cli.main import DONE

logger = logging.getLogger(__name__)


def view(file: Path, host: str = "127.0.0.1", port: int = 8080, frames: int = 33) -> int:
    """Show a video's scene, or a splat file, in the browser until Ctrl-C.

    Args:
        file: a video, a folder of pictures, or a .ply of 3D Gaussian Splatting.
        host: address to listen at; at any but 127.0.0.1 other machines can look too.
        port: the next free one is taken when it is in use.
        frames: of a video at most so many, evenly spread.
    """
    from worldr1.viewer.scene import load_view
    from worldr1.viewer.server import serve

    if frames < 3:
        raise ValueError(f"--frames is {frames}; a scene needs at least 3")
    try:
        import viser  # noqa: F401
    except ImportError as error:
        raise ValueError('viser is missing; install it: pip install "worldr1[view]"') from error
    shown = load_view(file, frames)
    with serve(shown, host, port) as address:
        sys.stdout.write(f"{file} is at {address} (Ctrl-C ends)\n")
        sys.stdout.flush()
        wait()
    return DONE


def wait() -> None:
    """Until Ctrl-C."""
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        logger.info("ended")
