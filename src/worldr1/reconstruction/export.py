"""Reconstructions as files of other programs: splat viewers, COLMAP, RealEstate10K, Rerun."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldr1.camera.formats import to_colmap, to_realestate
from worldr1.data.atomic import write_text
from worldr1.reconstruction.summary import trajectory_of
from worldr1.reconstruction.types import Reconstruction
from worldr1.splats.gaussians import Gaussians
from worldr1.splats.ply import save_ply
from worldr1.splats.sh import SH_C0

FORMATS = ("ply", "colmap", "re10k")
EXTRA_FORMATS = ("rerun",)
MOST_POINTS = 100_000


def export(
    scene: Reconstruction,
    directory: str | Path,
    formats: Collection[str] = FORMATS,
    video: Tensor | None = None,
    fps: float = 16.0,
) -> list[Path]:
    """Write a reconstruction for other programs.

    - "ply": `scene.ply`, Gaussians in the layout of 3D Gaussian Splatting, float32 columns only.
    - "colmap": `sparse/0/` with cameras.txt, images.txt and points3D.txt (centres of the Gaussians, without tracks);
      and, when the video is given, `images/` with its frames under the names in images.txt: what splat trainers read.
    - "re10k": `re10k.txt`, one line of intrinsics and world-to-camera for each frame.
    - "rerun": `scene.rrd`, a recording for the Rerun viewer; needs the extra `rerun`.

    Lengths are in units of scene depth, axes those of OpenCV (y down), the world is the first camera's. COLMAP's
    pixels are as here: the centre of the first is at (0.5, 0.5).

    Args:
        scene: what to write.
        directory: where; it is made when missing.
        formats: some of "ply", "colmap", "re10k" and "rerun".
        video: the frames [T, 3, H, W] in [0, 1] that the scene was rebuilt from.
        fps: frames per second, for the times in re10k.txt.

    Returns:
        The files and folders written.

    Raises:
        ValueError: for a format that is not known, or a video of another shape than the scene.
        ImportError: for "rerun" without its SDK.
    """
    known = (*FORMATS, *EXTRA_FORMATS)
    unknown = sorted(set(formats) - set(known))
    if unknown:
        raise ValueError(f"unknown format '{unknown[0]}'; known are {', '.join(known)}")
    frames, height, width = scene.depth.shape
    if video is not None and tuple(video.shape) != (frames, 3, height, width):
        raise ValueError(f"the video is {list(video.shape)}; the scene was rebuilt from {[frames, 3, height, width]}")
    root = Path(directory)
    root.mkdir(parents=True, exist_ok=True)
    trajectory = trajectory_of(scene)
    written = []
    if "ply" in formats:
        written.append(save_ply(replace(scene.splats, source=None), root / "scene.ply"))
    if "colmap" in formats:
        model = root / "sparse" / "0"
        cameras, images = to_colmap(trajectory, height, width, scene.intrinsics)
        write_text(model / "cameras.txt", cameras, parents=True)
        write_text(model / "images.txt", images, parents=True)
        write_text(model / "points3D.txt", points3d_text(scene.splats), parents=True)
        written.append(model)
        if video is not None:
            written.append(write_frames(video, root / "images"))
    if "re10k" in formats:
        write_text(root / "re10k.txt", to_realestate(trajectory, height, width, fps, scene.intrinsics), parents=True)
        written.append(root / "re10k.txt")
    if "rerun" in formats:
        from worldr1.reconstruction.rerun import write_rerun

        written.append(write_rerun(scene, root / "scene.rrd", video, fps))
    return written


def points3d_text(splats: Gaussians, most: int = MOST_POINTS) -> str:
    """COLMAP's points3D.txt: centres and colours of at most `most` evenly chosen Gaussians, error 0, no tracks."""
    chosen = torch.linspace(0, max(len(splats) - 1, 0), min(most, len(splats)), dtype=torch.float64).round().long()
    colours = (rgb(splats)[chosen.to(splats.means.device)] * 255).round().int().tolist()
    places = splats.means[chosen.to(splats.means.device)].tolist()
    lines = ["# POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)"]
    for number, ((x, y, z), (red, green, blue)) in enumerate(zip(places, colours, strict=True), start=1):
        lines.append(f"{number} {x:.7g} {y:.7g} {z:.7g} {red} {green} {blue} 0")
    return "\n".join(lines) + "\n"


def rgb(splats: Gaussians) -> Tensor:
    """Colours [N, 3] in [0, 1]; of spherical harmonics the part that does not depend on the view."""
    plain = splats.colors if splats.sh_degree is None else splats.colors[:, 0] * SH_C0 + 0.5
    return plain.detach().clamp(0, 1)


def write_frames(video: Tensor, folder: Path) -> Path:
    """Frames of a video [T, 3, H, W] in [0, 1] as 000000.png and so on; returns the folder."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    pictures = (video.detach().float().cpu().clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    for frame, picture in enumerate(pictures):
        Image.fromarray(np.ascontiguousarray(picture)).save(folder / f"{frame:06d}.png")
    return folder
