"""Per-frame curves of a reconstructed video: every frame drawn from other frames, by the rule of S_recon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from worldr1.camera.metrics import align_similarity, rotation_geodesic
from worldr1.camera.trajectory import Trajectory
from worldr1.evaluation.quality import ssim_map
from worldr1.reconstruction.redraw import fill_holes, look_up, splat_depth
from worldr1.reconstruction.types import Reconstruction
from worldr1.rewards.lpips import Lpips
from worldr1.rewards.recon import HOLE_ROUNDS, MISSING_COVERAGE, PSNR_CEILING

_WINDOW = 5  # half of SSIM's window, whose valid part leaves the border out


@dataclass(frozen=True)
class Curves:
    """One value per frame; nan where it cannot be told.

    Attributes:
        psnr: dB of the frame drawn from frames at least a quarter of the clip away, on what could be drawn.
        ssim, lpips: the same as structural similarity and perceptual distance.
        coverage: share of the frame that could be drawn.
        confidence: mean confidence of the frame's depth, in [0, 1].
        rot_err: angle to the asked orientation in radians, after alignment; empty when no camera was asked for.
        trans_err: distance to the asked position, after alignment; empty likewise.
    """

    psnr: tuple[float, ...]
    ssim: tuple[float, ...]
    lpips: tuple[float, ...]
    coverage: tuple[float, ...]
    confidence: tuple[float, ...]
    rot_err: tuple[float, ...] = ()
    trans_err: tuple[float, ...] = ()

    def spread(self, places: Sequence[int], frames: int) -> Curves:
        """Curves of `frames` values from curves that hold values at `places` only; nan elsewhere."""

        def whole(curve: tuple[float, ...]) -> tuple[float, ...]:
            known = dict(zip(places, curve, strict=False))
            return tuple(known.get(frame, math.nan) for frame in range(frames)) if curve else ()

        return Curves(**{field.name: whole(getattr(self, field.name)) for field in fields(self)})

    def to_dict(self) -> dict[str, list[float | None]]:
        """The curves by name; None for nan, so that JSON can hold them."""
        names = ("psnr", "ssim", "lpips", "coverage", "confidence", "rot_err", "trans_err")
        return {name: [value if math.isfinite(value) else None for value in getattr(self, name)] for name in names}


def frame_curves(video: Tensor, scene: Reconstruction, asked: Trajectory | None, lpips: Lpips) -> Curves:
    """Curves of a video [T, 3, H, W] in [0, 1] and the scene rebuilt from it.

    A frame is drawn from those that lie a multiple of a quarter of the clip away from it; at the quarters that is how
    S_recon draws its key frames.
    """
    drawn, covered = _redrawn(video, scene)
    share = covered.float().mean((1, 2))
    error = ((drawn - video).square().mean(1) * covered).sum((1, 2)) / covered.sum((1, 2)).clamp(min=1)
    psnr = -10 * torch.log10(error + 10 ** (-PSNR_CEILING / 10))
    inner = covered[:, _WINDOW:-_WINDOW, _WINDOW:-_WINDOW]
    similarity = (ssim_map(drawn, video).mean(1) * inner).sum((1, 2)) / inner.sum((1, 2)).clamp(min=1)
    with torch.inference_mode():
        distance = torch.cat(
            [
                lpips(a.clamp(0.0, 1.0), b, c)
                for a, b, c in zip(drawn.split(8), video.split(8), covered.float().split(8), strict=True)
            ]
        )
    missing = share < MISSING_COVERAGE
    rot_err, trans_err = _camera_curves(scene.c2w, asked)
    return Curves(
        psnr=_values(psnr, missing),
        ssim=_values(similarity, missing),
        lpips=_values(distance, missing),
        coverage=tuple(share.tolist()),
        confidence=tuple(scene.confidence.mean((1, 2)).tolist()),
        rot_err=rot_err,
        trans_err=trans_err,
    )


def _values(curve: Tensor, missing: Tensor) -> tuple[float, ...]:
    return tuple(torch.where(missing, torch.nan, curve.double()).tolist())


def _redrawn(video: Tensor, scene: Reconstruction) -> tuple[Tensor, Tensor]:
    """Every frame drawn from others [T,3,H,W], its own pixels where that cannot be; and where it could [T,H,W]."""
    frames = len(video)
    quarter = max(1, round((frames - 1) / 4))
    images = np.ascontiguousarray(video.permute(0, 2, 3, 1).numpy(), np.float32)
    w2c = np.linalg.inv(scene.c2w.detach().cpu().double().numpy())
    rho = 1.0 / scene.depth.detach().cpu().double().clamp(min=1e-3).numpy()
    intrinsics = np.ascontiguousarray(scene.intrinsics.detach().cpu().double().numpy())
    drawn, weight = np.empty(images.shape), np.empty(rho.shape)
    own = np.empty(rho.shape[1:])
    for t in range(frames):
        sources = np.array([s for s in range(t % quarter, frames, quarter) if s != t])
        splat_depth(w2c, t, sources, rho[sources], intrinsics, own)
        fill_holes(own, HOLE_ROUNDS)
        look_up(images, w2c, t, sources, rho[sources], intrinsics, own, drawn[t], weight[t])
    covered = torch.from_numpy(weight > 0)
    picture = torch.from_numpy(drawn).float().permute(0, 3, 1, 2)
    return torch.where(covered[:, None], picture, video), covered


def _camera_curves(c2w: Tensor, asked: Trajectory | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if asked is None:
        return (), ()
    aligned = align_similarity(c2w, asked.c2w).apply(c2w.detach().cpu())
    wanted = asked.c2w.detach().cpu().double()
    angles = rotation_geodesic(aligned[:, :3, :3], wanted[:, :3, :3])
    distances = (aligned[:, :3, 3] - wanted[:, :3, 3]).norm(dim=1)
    return tuple(angles.tolist()), tuple(distances.tolist())
