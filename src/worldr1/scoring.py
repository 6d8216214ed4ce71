"""Scores of any video file, without a GPU or weights of its model: 3D consistency, camera, motion, sharpness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional

from worldr1.camera.metrics import camera_errors, rotation_geodesic
from worldr1.camera.se3 import relative_to_first
from worldr1.camera.trajectory import Trajectory
from worldr1.evaluation.curves import Curves, frame_curves
from worldr1.evaluation.flow import camera_flow, dense_flow
from worldr1.evaluation.observability import geometry_warnings
from worldr1.evaluation.quality import sharpness
from worldr1.evaluation.rigidity import SIDE as TRACK_SIDE
from worldr1.evaluation.rigidity import rigidity
from worldr1.evaluation.smoothness import motion_smoothness
from worldr1.reconstruction.stereo import StereoReconstructor
from worldr1.reconstruction.types import Reconstruction, Reconstructor
from worldr1.rewards.points import points_agreement
from worldr1.rewards.recon import ReconReward
from worldr1.rewards.traj import trajectory_score
from worldr1.rewards.types import Sample

MAX_FRAMES = 33
PICTURE_SIDE = 128
FLOW_SIDE = 64
LEAST_POSED = 0.5
_FEWEST_FRAMES, _SMALLEST_SIDE = 3, 32


@dataclass(frozen=True)
class VideoScores:
    """What a video says about itself; nan where it cannot be told.

    Attributes:
        recon: S_recon in [0, 1]: do the frames agree with the scene rebuilt from the others?
        psnr: the same in dB, frames drawn from other frames against the frames.
        ssim, lpips: the same as structural similarity and as perceptual distance.
        coverage: share of pixels that could be drawn from other frames.
        confidence: mean confidence of the estimated depth, in [0, 1].
        mvcs: multi-view consistency: do confident points land where the other frames see them? In [0, 1]; nan where no
            point is confident. The paper gives MVCS by name only; this definition is ours (`points_agreement`).
        rigidity: in [0, 1]: do points that are followed through the video move as those of one rigid scene? nan where
            too few can be followed.
        traj: S_traj in [0, 1]: does the camera move as asked? nan when nothing was asked.
        rot_err: sum over frames of the angle to the asked orientation, radians, after alignment (CameraCtrl).
        trans_err: sum over frames of the distance to the asked position, after alignment.
        cam_mc: both errors in one, summed over frames (MotionCtrl).
        camera_travel: length of the estimated camera path in units of scene depth.
        camera_turn: angle between the first and the last estimated orientation, degrees.
        motion: flow that no camera explains, pixels a frame of a picture with 64 pixels on the short side.
        smoothness: how well every second frame can be interpolated from its neighbours, in [0, 1]
            (`motion_smoothness`).
        sharpness: mean gradient of the strongest edges, intensity per pixel of such a picture.
        total: recon, plus traj when a camera was asked for.
        warnings: sentences on why the geometry cannot be trusted; empty for a good video.
        curves: the same, frame by frame.
    """

    recon: float
    psnr: float
    ssim: float
    lpips: float
    coverage: float
    confidence: float
    mvcs: float
    rigidity: float
    traj: float
    rot_err: float
    trans_err: float
    cam_mc: float
    camera_travel: float
    camera_turn: float
    motion: float
    smoothness: float
    sharpness: float
    total: float
    warnings: tuple[str, ...]
    curves: Curves

    @property
    def numbers(self) -> dict[str, float | None]:
        """The scores by name, without curves and warnings; None for nan."""
        values = {field.name: getattr(self, field.name) for field in fields(self)[:-2]}
        return {name: value if math.isfinite(value) else None for name, value in values.items()}

    def to_dict(self) -> dict[str, object]:
        """Everything by name; None for nan, so that JSON can hold it."""
        return {**self.numbers, "warnings": list(self.warnings), "curves": self.curves.to_dict()}

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from worldr1.notebook import video_scores_html

        return video_scores_html(self)


def score(
    video: Tensor,
    camera: Trajectory | None = None,
    *,
    places: Sequence[float] | None = None,
    reconstructor: Reconstructor | None = None,
) -> VideoScores:
    """Score one video; of long ones, at most 33 evenly spread frames.

    Geometry is estimated on the video as it is and judged at no more than 128 pixels on the short side, so that
    estimates made at several sizes can be compared.

    Args:
        video: [T, 3, H, W] in [0, 1], at least 3 frames of 32 pixels a side.
        camera: what was asked for, T frames; None when nothing was.
        places: when the frames were taken, T increasing numbers in any unit; evenly without.
        reconstructor: what estimates cameras and depth; `StereoReconstructor` without. Frames for which it answers nan
            cameras are left out.

    Raises:
        ValueError: for another shape, values that are not finite, a camera or places of another number of frames, or
            when cameras were found for less than half of the frames.
    """
    frames, asked, places = _thinned(video, camera, places)
    rebuild = reconstructor or StereoReconstructor()
    scene = rebuild(frames[None], None if asked is None else [asked])[0]
    posed, lens = _posed(scene), scene.intrinsics
    used = frames[posed]
    scene = replace(scene, c2w=scene.c2w[posed], depth=scene.depth[posed], confidence=scene.confidence[posed])
    asked = None if asked is None else _of_frames(asked, posed)
    used, scene = _shrunk(used, PICTURE_SIDE), resized(scene, PICTURE_SIDE)
    reward = ReconReward()
    samples = [Sample(used, "", asked or Trajectory.from_moves((), len(used)))]
    details = reward.details(samples, [scene])
    recon = float(reward(samples, [scene])[0])
    traj = trajectory_score(scene.c2w, asked) if asked else math.nan
    errors = camera_errors(scene.c2w, asked.c2w) if asked else None
    curves = frame_curves(used, scene, asked, reward.lpips)
    warnings = geometry_warnings(used, scene, float(details.coverage[0]), _mean(curves.ssim))
    if len(posed) < len(frames):
        left_out = f"no camera was found for {len(frames) - len(posed)} of {len(frames)} frames, which are left out"
        warnings, curves = (left_out, *warnings), curves.spread(posed.tolist(), len(frames))
    small = _shrunk(frames, FLOW_SIDE)
    return VideoScores(
        recon=recon,
        psnr=float(details.psnr[0]),
        ssim=_mean(curves.ssim),
        lpips=float(details.lpips[0]),
        coverage=float(details.coverage[0]),
        confidence=float(scene.confidence.mean()),
        mvcs=points_agreement(scene),
        rigidity=_rigidity(frames, lens),
        traj=traj,
        rot_err=errors.rot_err if errors else math.nan,
        trans_err=errors.trans_err if errors else math.nan,
        cam_mc=errors.cam_mc if errors else math.nan,
        camera_travel=float(scene.c2w[:, :3, 3].diff(dim=0).norm(dim=1).sum()),
        camera_turn=math.degrees(float(rotation_geodesic(scene.c2w[0, :3, :3], scene.c2w[-1, :3, :3]))),
        motion=_unexplained_flow(small),
        smoothness=motion_smoothness(small, places),
        sharpness=sharpness(small),
        total=recon + traj if asked else recon,
        warnings=warnings,
        curves=curves,
    )


def reconstruct(
    video: Tensor, camera: Trajectory | None = None, *, reconstructor: Reconstructor | None = None
) -> Reconstruction:
    """Cameras, depth, confidence and Gaussians of a video [T, 3, H, W] in [0, 1]; `camera` is a hint.

    Raises:
        ValueError: as `score` does.
    """
    _check(video, camera)
    rebuild = reconstructor or StereoReconstructor()
    return rebuild(video[None].float(), None if camera is None else [camera])[0]


def resized(scene: Reconstruction, short_side: int) -> Reconstruction:
    """The same scene for frames of at most `short_side` pixels on the short side; depths are picked, not mixed."""
    height, width = scene.depth.shape[1:]
    size = picture_size((height, width), short_side)
    if size == (height, width):
        return scene
    factors = scene.intrinsics.new_tensor([size[1] / width, size[0] / height, 1.0])
    maps = torch.stack([scene.depth, scene.confidence], dim=1)
    depth, confidence = functional.interpolate(maps, size=size, mode="nearest-exact").unbind(1)
    return replace(scene, intrinsics=scene.intrinsics * factors[:, None], depth=depth, confidence=confidence)


def _posed(scene: Reconstruction) -> Tensor:
    """Indices of the frames whose camera was found."""
    found = torch.isfinite(scene.c2w).flatten(1).all(1).nonzero().flatten()
    if len(found) < max(_FEWEST_FRAMES, LEAST_POSED * len(scene.c2w)):
        raise ValueError(
            f"cameras were found for {len(found)} of {len(scene.c2w)} frames, too few to judge by: it takes texture, "
            "sharp frames and a camera that travels; the stereo backend always answers"
        )
    return found


def _mean(curve: Sequence[float]) -> float:
    """Mean of what is not missing; nan when all is."""
    known = [value for value in curve if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def _check(video: Tensor, camera: Trajectory | None) -> None:
    if video.ndim != 4 or video.shape[1] != 3:
        raise ValueError(f"a video must be [T, 3, H, W], got {list(video.shape)}")
    if len(video) < _FEWEST_FRAMES or min(video.shape[2:]) < _SMALLEST_SIDE:
        size = f"{len(video)} frame{'s' * (len(video) != 1)} of {video.shape[2]}x{video.shape[3]}"
        raise ValueError(f"the video has {size}; it needs {_FEWEST_FRAMES} frames of {_SMALLEST_SIDE} pixels a side")
    if not bool(torch.isfinite(video).all()):
        raise ValueError("the video holds values that are not finite")
    if camera is not None and camera.frames != len(video):
        raise ValueError(f"the camera has {camera.frames} frames, the video {len(video)}; both must have the same")


def _thinned(
    video: Tensor, camera: Trajectory | None, places: Sequence[float] | None
) -> tuple[Tensor, Trajectory | None, Sequence[float]]:
    """At most MAX_FRAMES frames, the first and the last among them, with their asked poses and places."""
    _check(video, camera)
    video = video.detach().float().cpu()
    places = range(len(video)) if places is None else places
    if len(places) != len(video):
        raise ValueError(f"there are {len(places)} places for {len(video)} frames; give one for each")
    if len(video) <= MAX_FRAMES:
        return video, camera, places
    kept = torch.linspace(0, len(video) - 1, MAX_FRAMES).round().long()
    return video[kept], None if camera is None else _of_frames(camera, kept), [places[k] for k in kept.tolist()]


def _of_frames(camera: Trajectory, kept: Tensor) -> Trajectory:
    """The poses of some frames, relative to the first of them."""
    return Trajectory(relative_to_first(camera.c2w[kept].double()).float(), camera.moves, camera.fov)


def picture_size(size: tuple[int, int], short_side: int = PICTURE_SIDE) -> tuple[int, int]:
    """(height, width) at which pictures of a size are judged: at most `short_side` pixels on the short side."""
    scale = min(1.0, short_side / min(size))
    return round(size[0] * scale), round(size[1] * scale)


def _shrunk(video: Tensor, short_side: int) -> Tensor:
    size = picture_size((video.shape[2], video.shape[3]), short_side)
    if size == tuple(video.shape[2:]):
        return video
    return functional.interpolate(video, size=size, mode="bilinear", antialias=True, align_corners=False)


def _rigidity(frames: Tensor, intrinsics: Tensor) -> float:
    small = _shrunk(frames, TRACK_SIDE)
    return rigidity(small, float(intrinsics[0, 0]) * small.shape[3] / frames.shape[3])


def _unexplained_flow(video: Tensor) -> float:
    """Mean of the strongest twentieth of the flow that is left after the camera's, pixels a frame."""
    flow = dense_flow(video[:-1], video[1:])
    residual = (flow.vectors - camera_flow(flow, torch.ones_like(flow.confidence))).norm(dim=1) * flow.confidence
    pixels = residual.flatten(1)
    return float(pixels.topk(max(1, pixels.shape[1] // 20), dim=1).values.mean())
