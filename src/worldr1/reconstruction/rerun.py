"""Reconstructions as recordings of the Rerun viewer (https://rerun.io)."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import torch
from torch import Tensor

from worldr1.reconstruction.types import Reconstruction

MOST_POINTS = 100_000
_JPEG_QUALITY = 90


def write_rerun(scene: Reconstruction, path: Path, video: Tensor | None = None, fps: float = 16.0) -> Path:
    """Write a recording: points and the camera's path at all times, and for each frame its camera, picture and depth.

    Entities are `world/points`, `world/path`, `world/camera` with `picture` and `depth` below it; the timelines are
    `frame` and `time`. Axes are OpenCV's, which the recording says, lengths in units of scene depth.

    Args:
        scene: T frames; those without a camera are left out.
        path: the file, which ends in .rrd by custom; it is replaced whole.
        video: [T, 3, H, W] in [0, 1].
        fps: frames per second.

    Returns:
        The path.

    Raises:
        ImportError: without the SDK.
    """
    if importlib.util.find_spec("rerun") is None:
        raise ImportError("the rerun format needs the Rerun SDK; install it with: pip install 'worldr1[rerun]'")
    import rerun

    from worldr1.reconstruction.export import rgb

    splats, lens = scene.splats, scene.intrinsics.detach().cpu().numpy()
    height, width = scene.depth.shape[1:]
    posed = torch.isfinite(scene.c2w).flatten(1).all(1).nonzero().flatten().tolist()
    poses = scene.c2w.detach().cpu().numpy()
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    recording = rerun.RecordingStream("worldr1")
    recording.save(partial)
    recording.log("world", rerun.ViewCoordinates.RDF, static=True)
    some = torch.linspace(0, max(len(splats) - 1, 0), min(MOST_POINTS, len(splats))).round().long()
    recording.log(
        "world/points",
        rerun.Points3D(
            splats.means.detach().cpu()[some].numpy(),
            radii=splats.scales.detach().cpu()[some].mean(1).numpy(),
            colors=(rgb(splats).cpu()[some] * 255).round().to(torch.uint8).numpy(),
        ),
        static=True,
    )
    recording.log("world/path", rerun.LineStrips3D([poses[posed, :3, 3]]), static=True)
    recording.log(
        "world/camera",
        rerun.Pinhole(image_from_camera=lens, width=width, height=height, camera_xyz=rerun.ViewCoordinates.RDF),
        static=True,
    )
    for frame in posed:
        recording.set_time("frame", sequence=frame)
        recording.set_time("time", duration=frame / fps)
        pose = poses[frame]
        recording.log("world/camera", rerun.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
        recording.log("world/camera/depth", rerun.DepthImage(scene.depth[frame].detach().cpu().numpy(), meter=1.0))
        if video is not None:
            picture = (video[frame].detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
            image = rerun.Image(picture.permute(1, 2, 0).contiguous().numpy())
            recording.log("world/camera/picture", image.compress(jpeg_quality=_JPEG_QUALITY))
    recording.disconnect()
    partial.replace(path)
    return path
