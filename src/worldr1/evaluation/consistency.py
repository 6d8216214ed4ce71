"""Evaluator 1: how well a clip agrees with the scene rebuilt from it, in dB of S_recon's re-rendering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldr1.camera import Trajectory
from worldr1.reconstruction.stereo import StereoReconstructor
from worldr1.reconstruction.types import Reconstruction, Reconstructor
from worldr1.rewards.recon import ReconReward
from worldr1.rewards.types import Sample

BATCH = 32


@dataclass(frozen=True)
class Rerendering:
    """Per clip: PSNR in dB of its key frames drawn from the others, S_recon, and estimated cameras [T,4,4].

    Nan, and None for the cameras, where a clip could not be rebuilt.
    """

    psnr: list[float]
    recon: list[float]
    c2w: list[Tensor | None]


def rerendering(
    videos: Tensor,
    trajectories: Sequence[Trajectory],
    *,
    reconstructor: Reconstructor | None = None,
    reward: ReconReward | None = None,
) -> Rerendering:
    """Rebuild and re-render clips [B,T,3,H,W] in [0,1] along cameras estimated from them.

    Args:
        videos: clips; those that are not finite are left out.
        trajectories: what was asked for, one of T frames per clip; a hint to the reconstructor.
        reconstructor: `StereoReconstructor` when not given.
        reward: `ReconReward` when not given.

    Raises:
        ValueError: for clips or trajectories that the reconstructor refuses.
    """
    rebuild, score = reconstructor or StereoReconstructor(), reward or ReconReward()
    psnr, recon = [float("nan")] * len(videos), [float("nan")] * len(videos)
    cameras: list[Tensor | None] = [None] * len(videos)
    good = [k for k, video in enumerate(videos) if bool(torch.isfinite(video).all())]
    for start in range(0, len(good), BATCH):
        chosen = good[start : start + BATCH]
        scenes: list[Reconstruction] = rebuild(videos[chosen], [trajectories[k] for k in chosen])
        samples = [Sample(videos[k], "", trajectories[k]) for k in chosen]
        details, scores = score.details(samples, scenes), score(samples, scenes)
        for place, k in enumerate(chosen):
            psnr[k], recon[k], cameras[k] = float(details.psnr[place]), float(scores[place]), scenes[place].c2w
    return Rerendering(psnr=psnr, recon=recon, c2w=cameras)
