"""Scores of any video file, without a GPU or weights of its model: 3D consistency, camera, motion, sharpness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from worldr1.camera.metrics import camera_errors, rotation_geodesic
from worldr1.camera.trajectory import Trajectory
from worldr1.evaluation.curves import Curves, frame_curves
from worldr1.evaluation.flow import camera_flow, dense_flow
from worldr1.evaluation.observability import geometry_warnings
from worldr1.evaluation.quality import sharpness
from worldr1.reconstruction.stereo import StereoReconstructor
from worldr1.reconstruction.types import Reconstruction
from worldr1.rewards.recon import ReconReward
from worldr1.rewards.traj import trajectory_score
from worldr1.rewards.types import Sample

MAX_FRAMES = 33
SHORT_SIDE = 64
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
        traj: S_traj in [0, 1]: does the camera move as asked? nan when nothing was asked.
        rot_err: sum over frames of the angle to the asked orientation, radians, after alignment (CameraCtrl).
        trans_err: sum over frames of the distance to the asked position, after alignment.
        cam_mc: both errors in one, summed over frames (MotionCtrl).
        camera_travel: length of the estimated camera path in units of scene depth.
        camera_turn: angle between the first and the last estimated orientation, degrees.
        motion: flow that no camera explains, pixels a frame of a picture with 64 pixels on the short side.
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
    traj: float
    rot_err: float
    trans_err: float
    cam_mc: float
    camera_travel: float
    camera_turn: float
    motion: float
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


def score(video: Tensor, camera: Trajectory | None = None) -> VideoScores:
    """Score one video; of long ones, at most 33 evenly spread frames.

    Args:
        video: [T, 3, H, W] in [0, 1], at least 3 frames of 32 pixels a side.
        camera: what was asked for, T frames; None when nothing was.

    Raises:
        ValueError: for another shape, values that are not finite, or a camera of another number of frames.
    """
    frames, asked = _thinned(video, camera)
    scene = StereoReconstructor()(frames[None], None if asked is None else [asked])[0]
    reward = ReconReward()
    samples = [Sample(frames, "", asked or Trajectory.from_moves((), len(frames)))]
    details = reward.details(samples, [scene])
    recon = float(reward(samples, [scene])[0])
    traj = trajectory_score(scene.c2w, asked) if asked else math.nan
    errors = camera_errors(scene.c2w, asked.c2w) if asked else None
    curves = frame_curves(frames, scene, asked, reward.lpips)
    small = _small(frames)
    return VideoScores(
        recon=recon,
        psnr=float(details.psnr[0]),
        ssim=_mean(curves.ssim),
        lpips=float(details.lpips[0]),
        coverage=float(details.coverage[0]),
        confidence=float(scene.confidence.mean()),
        traj=traj,
        rot_err=errors.rot_err if errors else math.nan,
        trans_err=errors.trans_err if errors else math.nan,
        cam_mc=errors.cam_mc if errors else math.nan,
        camera_travel=float(scene.c2w[:, :3, 3].diff(dim=0).norm(dim=1).sum()),
        camera_turn=math.degrees(float(rotation_geodesic(scene.c2w[0, :3, :3], scene.c2w[-1, :3, :3]))),
        motion=_unexplained_flow(small),
        sharpness=sharpness(small),
        total=recon + traj if asked else recon,
        warnings=geometry_warnings(frames, scene, float(details.coverage[0]), _mean(curves.ssim)),
        curves=curves,
    )


def reconstruct(video: Tensor, camera: Trajectory | None = None) -> Reconstruction:
    """Cameras, depth, confidence and Gaussians of a video [T, 3, H, W] in [0, 1]; `camera` is a hint.

    Raises:
        ValueError: as `score` does.
    """
    _check(video, camera)
    return StereoReconstructor()(video[None].float(), None if camera is None else [camera])[0]


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


def _thinned(video: Tensor, camera: Trajectory | None) -> tuple[Tensor, Trajectory | None]:
    """At most MAX_FRAMES frames, the first and the last among them, and the asked poses of the same."""
    _check(video, camera)
    video = video.detach().float().cpu()
    if len(video) <= MAX_FRAMES:
        return video, camera
    kept = torch.linspace(0, len(video) - 1, MAX_FRAMES).round().long()
    asked = None if camera is None else Trajectory(camera.c2w[kept], camera.moves, camera.fov)
    return video[kept], asked


def _small(video: Tensor) -> Tensor:
    scale = SHORT_SIDE / min(video.shape[2:])
    if scale >= 1.0:
        return video
    size = (round(video.shape[2] * scale), round(video.shape[3] * scale))
    return functional.interpolate(video, size=size, mode="bilinear", antialias=True, align_corners=False)


def _unexplained_flow(video: Tensor) -> float:
    """Mean of the strongest twentieth of the flow that is left after the camera's, pixels a frame."""
    flow = dense_flow(video[:-1], video[1:])
    residual = (flow.vectors - camera_flow(flow, torch.ones_like(flow.confidence))).norm(dim=1) * flow.confidence
    pixels = residual.flatten(1)
    return float(pixels.topk(max(1, pixels.shape[1] // 20), dim=1).values.mean())
