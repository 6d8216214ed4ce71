"""What the viewer shows, from a video or a splat file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from worldr1.splats.gaussians import Gaussians


@dataclass(frozen=True)
class View:
    """Splats, and the cameras and frames that they were rebuilt from, where there are any.

    Attributes:
        name: shown as the page's title.
        splats: N Gaussians.
        c2w: [T, 4, 4] OpenCV; None for a splat file.
        frames: [T, 3, H, W] in [0, 1], one for each camera.
        intrinsics: [3, 3] in pixels of the frames.
    """

    name: str
    splats: Gaussians
    c2w: Tensor | None = None
    frames: Tensor | None = None
    intrinsics: Tensor | None = None


def load_view(path: Path, frames: int = 33) -> View:
    """Read a `.ply` of 3D Gaussian Splatting, or rebuild the scene of a video.

    Args:
        path: the file, or a folder of pictures.
        frames: of a video at most so many, evenly spread.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: it is neither, or nothing can be rebuilt from it.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if path.suffix.lower() == ".ply":
        from worldr1.splats.ply import load_ply

        return View(path.name, load_ply(path))
    from worldr1.data.video import read_sampled
    from worldr1.scoring import reconstruct

    try:
        video = read_sampled(path, frames).frames
        scene = reconstruct(video)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return View(path.name, scene.splats, scene.c2w, video, scene.intrinsics)
