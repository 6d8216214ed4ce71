"""How much of the asked self-motion a clip shows: residual flow of the asked mover once the camera's flow is removed.

The whole frame's residual flow is no guard: swimming textures and bending space are residual flow too, so a model that
becomes consistent loses it for good reasons (`residual_flow` reports it beside). The guard looks at the mover alone,
counts only what neither the asked camera nor the image's own smooth motion explains, and saturates at what a genuine
mover shows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from worldr1.camera import Trajectory
from worldr1.evaluation.flow import Flow, camera_flow, dense_flow
from worldr1.evaluation.objects import blob_mask
from worldr1.tinyworld.scenes import FLOOR_Y, Scene
from worldr1.tinyworld.vocabulary import MOTIONS, SETTINGS

FLOWING = "flowing"
NEAREST_ROW = 3.0  # pixels below the horizon from which on the floor's depth is trusted


@dataclass(frozen=True)
class ClipMotion:
    """Flow of one clip of T frames: vectors [T-1,2,H,W] in pixels a frame and confidence [T-1,H,W]."""

    flow: Flow
    asked_camera: Tensor
    fitted_camera: Tensor

    @property
    def residual_flow(self) -> float:
        """Mean of the top 5% of residual flow after the fitted camera's is removed, pixels a frame (as VBench does)."""
        residual = (self.flow.vectors - self.fitted_camera).norm(dim=1) * self.flow.confidence
        pixels = residual.flatten(1)
        return float(pixels.topk(max(1, pixels.shape[1] // 20), dim=1).values.mean())

    def of(self, mask: Tensor) -> float:
        """Residual flow of the masked pixels [T-1,H,W], pixels a frame; the camera that explains more is removed."""
        weight = mask * self.flow.confidence
        total = mask.sum((1, 2)) + 1.0
        residuals = [
            ((self.flow.vectors - camera).norm(dim=1) * weight).sum((1, 2)) / total
            for camera in (self.asked_camera, self.fitted_camera)
        ]
        return float(torch.minimum(*residuals).mean())


def clip_motion(video: Tensor, trajectory: Trajectory) -> ClipMotion:
    """Measure the flow of a clip [T,3,H,W] and both explanations of it by a camera."""
    flow = dense_flow(video[:-1].float(), video[1:].float())
    height, width = video.shape[-2:]
    return ClipMotion(
        flow=flow,
        asked_camera=_ground_flow(trajectory, height, width),
        fitted_camera=camera_flow(flow, torch.ones_like(flow.confidence)),
    )


def _ground_flow(trajectory: Trajectory, height: int, width: int) -> Tensor:
    """Flow [T-1,2,H,W] of the asked camera over floor and, above the floor's reach, the plane at the scene's depth.

    Objects stand on the floor at about the scene's depth, so below the horizon a pixel takes the nearer of both.
    """
    intrinsics = trajectory.intrinsics(height, width)
    ys, xs = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    rays = torch.stack([(xs - width / 2) / intrinsics[0, 0], (ys - height / 2) / intrinsics[1, 1], torch.ones_like(xs)])
    flows = []
    for k in range(trajectory.frames - 1):
        here, there = trajectory.c2w[k], torch.linalg.inv(trajectory.c2w[k + 1])
        ahead = float(torch.linalg.inv(here)[2, 2] + torch.linalg.inv(here)[2, 3])
        floor = (FLOOR_Y - here[1, 3]) / rays[1].clamp_min(NEAREST_ROW / float(intrinsics[1, 1]))
        depth = torch.minimum(floor, torch.full_like(floor, max(ahead, 0.2)))
        points = (rays * depth).flatten(1)
        moved = there[:3, :3] @ (here[:3, :3] @ points + here[:3, 3:]) + there[:3, 3:]
        pixels = moved[:2] / moved[2:].clamp_min(1e-3) * intrinsics[0, 0] + torch.tensor([[width / 2], [height / 2]])
        flows.append(pixels.view(2, height, width) - torch.stack([xs, ys]))
    return torch.stack(flows)


def mover_mask(video: Tensor, scene: Scene) -> Tensor:
    """Pixels [T-1,H,W] of what moves by itself: the first object's blob with its rim, or the ground where it flows.

    Raises:
        ValueError: if the scene has neither.
    """
    if SETTINGS[scene.setting].flowing:
        mask = torch.zeros(video.shape[0] - 1, *video.shape[-2:])
        mask[:, round(video.shape[-2] * 0.56) :] = 1.0
        return mask
    if not scene.solids:
        raise ValueError(f"nothing can move {scene.caption!r}: the scene has no objects and its ground is still")
    blob = blob_mask(video[:-1], scene.solids[0].color)
    return F.max_pool2d(blob[:, None], 3, 1, 1)[:, 0]


def kind_of(scene: Scene) -> str:
    """The asked motion: one of `vocabulary.MOTIONS`, or "flowing".

    Raises:
        ValueError: if nothing in the scene moves.
    """
    if SETTINGS[scene.setting].flowing:
        return FLOWING
    motion = scene.solids[0].motion if scene.solids else None
    if motion is None:
        raise ValueError(f"nothing moves in {scene.caption!r}; the dynamic degree needs a dynamic scene")
    return motion


@dataclass(frozen=True)
class MotionScale:
    """Residual flow of the mover on ground truth, by kind, pixels a frame: `still` when frozen, `moving` when as asked.

    `still` is the median of scenes whose mover stands still, `moving` the 20th percentile of those in which it moves.
    """

    still: dict[str, float]
    moving: dict[str, float]

    def degree(self, kind: str, residual: float) -> float:
        """Share of the asked motion that is there, in [0,1]."""
        low, high = self.still[kind], self.moving[kind]
        return float(np.clip((residual - low) / max(high - low, 1e-6), 0.0, 1.0))


def fit_motion_scale(clips: int = 150, *, frames: int = 17, seed: int = 0) -> MotionScale:
    """Calibrate on ground truth of the train split: the same scenes with their motion and without."""
    from worldr1.camera import MOVES
    from worldr1.tinyworld import render_clips, sample_scene

    rng = np.random.default_rng([seed, 72])
    scenes = [sample_scene(rng, dynamic=True, split="train") for _ in range(clips)]
    trajectories = [Trajectory.from_moves((str(rng.choice(MOVES)),), frames) for _ in scenes]
    levels: dict[bool, dict[str, list[float]]] = {True: {}, False: {}}
    for moving in (True, False):
        shown = scenes if moving else [frozen(scene) for scene in scenes]
        for scene, trajectory, clip in zip(scenes, trajectories, render_clips(shown, trajectories), strict=True):
            level = clip_motion(clip.video, trajectory).of(mover_mask(clip.video, scene))
            levels[moving].setdefault(kind_of(scene), []).append(level)
    kinds = (*MOTIONS, FLOWING)
    return MotionScale(
        still={kind: float(np.median(levels[False].get(kind, [0.0]))) for kind in kinds},
        moving={kind: float(np.quantile(levels[True].get(kind, [1.0]), 0.2)) for kind in kinds},
    )


def frozen(scene: Scene) -> Scene:
    """The scene with nothing moving by itself; flowing ground is replaced by a still one."""
    still = next(k for k, setting in enumerate(SETTINGS) if setting.open_air and not setting.flowing)
    setting = still if SETTINGS[scene.setting].flowing else scene.setting
    return replace(scene, setting=setting, solids=tuple(replace(solid, motion=None) for solid in scene.solids))
