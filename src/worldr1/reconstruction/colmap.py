"""Video to cameras by COLMAP (through pycolmap): an independent judge, which shares no code with the rest."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from worldr1.camera.trajectory import Trajectory
from worldr1.reconstruction.export import write_frames
from worldr1.reconstruction.geometry import Array
from worldr1.reconstruction.stereo import StereoReconstructor
from worldr1.reconstruction.types import Reconstruction, missing

FEWEST_FRAMES = 3
MOST_FEATURES = 4096


@dataclass(frozen=True)
class SparseModel:
    """What COLMAP found of one video.

    Attributes:
        frames: [R] indices of the registered frames, ascending.
        w2c: [R, 4, 4] float64, OpenCV, in COLMAP's world and unit.
        focal: in pixels of the video.
        points: [P, 3] the sparse points.
    """

    frames: Array
    w2c: Array
    focal: float
    points: Array


class ColmapReconstructor:
    """Cameras from SIFT features, exhaustive matching and incremental mapping; depth along them by plane sweep.

    COLMAP gives points, not surfaces, so depth, confidence and Gaussians are those of `StereoReconstructor` along
    COLMAP's cameras. The focal length starts from the field of view asked for (64 degrees without) and is refined with
    the rest, one for all frames; the centre of the picture stays, lenses do not distort. Frames that COLMAP could not
    register have nan cameras and confidence 0; a video of which it registers fewer than three has nothing else.
    The first registered frame is the identity; the unit is that of `StereoReconstructor`.

    Args:
        stereo: what sweeps depth.
        seed: of COLMAP's random choices.

    Raises:
        ImportError: without pycolmap.
    """

    def __init__(self, stereo: StereoReconstructor | None = None, seed: int = 0) -> None:
        if importlib.util.find_spec("pycolmap") is None:
            raise ImportError("the colmap backend needs pycolmap; install it with: pip install 'worldr1[colmap]'")
        self.stereo = stereo or StereoReconstructor()
        self.seed = seed

    def __call__(self, videos: Tensor, trajectories: Sequence[Trajectory] | None = None) -> list[Reconstruction]:
        """Reconstruct videos [B,T,3,H,W] in [0,1]; of `trajectories` only the field of view is used.

        Raises ValueError for another shape, or values that are not finite.
        """
        if videos.ndim != 5 or videos.shape[2] != 3:
            raise ValueError(f"ColmapReconstructor needs videos [B,T,3,H,W], got {list(videos.shape)}.")
        if not bool(torch.isfinite(videos).all()):
            raise ValueError("ColmapReconstructor got a video with values that are not finite; leave it out.")
        lenses = [Trajectory.from_moves((), videos.shape[1])] * len(videos) if trajectories is None else trajectories
        return [self._one(video, lens) for video, lens in zip(videos.detach().float().cpu(), lenses, strict=True)]

    def _one(self, video: Tensor, lens: Trajectory) -> Reconstruction:
        frames, _, height, width = video.shape
        model = sparse_model(video, float(lens.intrinsics(height, width)[0, 0]), self.seed)
        if model is None or len(model.frames) < FEWEST_FRAMES:
            return missing(video)
        first = model.w2c[0]
        depths = (model.points @ first[2, :3]) + first[2, 3]
        unit = float(np.median(depths[depths > 0])) if (depths > 0).any() else 1.0
        w2c = model.w2c @ np.linalg.inv(first)
        w2c[:, :3, 3] /= unit
        found = self.stereo.along(video[torch.from_numpy(model.frames)], w2c, model.focal)
        return _among(found, torch.from_numpy(model.frames), frames)


def sparse_model(video: Tensor, focal: float, seed: int = 0) -> SparseModel | None:
    """COLMAP's largest model of a video [T,3,H,W] in [0,1]; `focal` in pixels is where its search begins.

    None when it finds no pair of frames to start from.
    """
    import pycolmap

    _, _, height, width = video.shape
    threads = numba.get_num_threads()
    extraction = pycolmap.FeatureExtractionOptions(num_threads=threads, use_gpu=False)
    extraction.sift.max_num_features = MOST_FEATURES
    matching = pycolmap.FeatureMatchingOptions(num_threads=threads, use_gpu=False)
    reader = pycolmap.ImageReaderOptions(
        camera_model="SIMPLE_PINHOLE", camera_params=f"{focal},{width / 2},{height / 2}"
    )
    mapping = pycolmap.IncrementalPipelineOptions(
        num_threads=threads, random_seed=seed, extract_colors=False, multiple_models=False, min_model_size=FEWEST_FRAMES
    )
    with tempfile.TemporaryDirectory() as place, _quiet(pycolmap):
        root, database = Path(place), Path(place) / "features.db"
        write_frames(video, root / "images")
        (root / "models").mkdir()
        pycolmap.extract_features(
            database,
            root / "images",
            camera_mode=pycolmap.CameraMode.SINGLE,
            reader_options=reader,
            extraction_options=extraction,
            device=pycolmap.Device.cpu,
        )
        pycolmap.match_exhaustive(database, matching_options=matching, device=pycolmap.Device.cpu)
        models = pycolmap.incremental_mapping(database, root / "images", root / "models", options=mapping)
    if not models:
        return None
    return _read(max(models.values(), key=lambda model: model.num_reg_images()))


def _read(model: Any) -> SparseModel:
    images = {int(Path(image.name).stem): image for image in model.images.values() if image.has_pose}
    frames = np.array(sorted(images), np.int64)
    w2c = np.tile(np.eye(4), (len(frames), 1, 1))
    for k, frame in enumerate(frames):
        w2c[k, :3] = images[int(frame)].cam_from_world().matrix()
    focal = float(next(iter(model.cameras.values())).focal_length)
    points = np.array([point.xyz for point in model.points3D.values()], np.float64).reshape(-1, 3)
    return SparseModel(frames, w2c, focal, points)


def _among(found: Reconstruction, places: Tensor, frames: int) -> Reconstruction:
    """The reconstruction of some frames as one of all; the others have nan cameras and depth and confidence 0."""
    height, width = found.depth.shape[1:]
    c2w = torch.full((frames, 4, 4), torch.nan)
    depth, confidence = torch.full((frames, height, width), torch.nan), torch.zeros(frames, height, width)
    c2w[places], depth[places], confidence[places] = found.c2w, found.depth, found.confidence
    splats = found.splats
    source = None if splats.source is None else places[splats.source]
    return Reconstruction(c2w, found.intrinsics, depth, confidence, replace(splats, source=source))


@contextmanager
def _quiet(pycolmap: Any) -> Iterator[None]:
    """COLMAP reports its progress on standard error; only errors stay."""
    before = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = pycolmap.logging.Level.ERROR.value
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = before
