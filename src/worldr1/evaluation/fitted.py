"""The evaluator that training never sees: Gaussians fitted by optimisation along the true trajectory.

Nothing of the reward is used: no estimated cameras, no estimated depth, no feed-forward splats. Even frames are fitted,
odd frames are compared (the protocol of novel-view synthesis, and of the paper's 3DGS evaluation).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldr1.camera import Trajectory
from worldr1.evaluation.quality import psnr, ssim
from worldr1.splats.fit import FitSettings, fit_splats
from worldr1.splats.render import render

Distance = Callable[[Tensor, Tensor], Tensor]

SETTINGS = FitSettings(count=1500)
ITERATIONS = 150


@dataclass(frozen=True)
class FittedScore:
    """Agreement of the held-out frames with the fitted scene: PSNR in dB, SSIM, LPIPS (nan without a network)."""

    psnr: float
    ssim: float
    lpips: float


def fitted_score(
    video: Tensor, trajectory: Trajectory, *, lpips: Distance | None = None, seed: int = 0, iterations: int = ITERATIONS
) -> FittedScore:
    """Fit Gaussians to the even frames of a clip along the asked trajectory; score the odd frames.

    Args:
        video: [T,3,H,W] in [0,1], T >= 3.
        trajectory: that was asked for.
        lpips: images [N,3,H,W] twice to distances [N].
        seed: of the fit.
        iterations: of the fit.

    Raises:
        ValueError: if the video is too short or its length is not the trajectory's.
    """
    frames, _, height, width = video.shape
    if frames < 3 or frames != trajectory.frames:
        raise ValueError(
            f"the clip has {frames} frames, its trajectory {trajectory.frames}; both must agree, at least 3"
        )
    intrinsics = trajectory.intrinsics(height, width)
    gaussians = fit_splats(
        video,
        trajectory.c2w,
        intrinsics,
        frames=range(0, frames, 2),
        iterations=iterations,
        seed=seed,
        settings=SETTINGS,
    )
    held_out = video[1::2].float()
    drawn = render(gaussians, trajectory.c2w[1::2], intrinsics, height, width).image.clamp(0, 1)
    distance = float("nan")
    if lpips is not None:
        with torch.no_grad():
            distance = float(lpips(drawn, held_out).mean())
    return FittedScore(psnr=psnr(drawn, held_out), ssim=ssim(drawn, held_out), lpips=distance)


def fitted_scores(
    videos: Tensor, trajectories: Sequence[Trajectory], *, lpips: Distance | None = None
) -> list[FittedScore]:
    """`fitted_score` of every clip of [B,T,3,H,W]; each fit starts from the same seed."""
    return [fitted_score(video, t, lpips=lpips) for video, t in zip(videos, trajectories, strict=True)]
