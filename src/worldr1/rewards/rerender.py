"""S_recon as World-R1 writes it: 1 - LPIPS between the video and its Gaussians, rendered along its own cameras."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from worldr1.reconstruction.types import Reconstruction, all_finite
from worldr1.rewards.lpips import Lpips
from worldr1.rewards.types import Sample, require_reconstructions
from worldr1.splats.render import render

FRAMES_AT_ONCE = 8
SPLATS_AT_ONCE = 2**24
"""Views times Gaussians that are drawn together."""


class RerenderReward:
    """S_recon = 1 - LPIPS(x, render(Phi, E_hat)), World-R1 (arXiv 2604.24764), "3D-aware reward".

    In [0,1], as the paper's R_3D in [0,3] asks: where noise has an LPIPS above 1 the score is 0.

    x are all frames of the video, Phi its Gaussians and E_hat its cameras, both as the reconstructor found them; the
    distance is the mean over frames. Where no Gaussian lies the rendering is black, as the renderer leaves it, and
    counts. Nothing else enters: a blurred, empty or still video that renders like itself scores high, and Gaussians
    that lie in a frame are drawn into that same frame again. `ReconReward` guards against both.

    The scene is drawn where `device` is, by gsplat on CUDA and by the kernel of `worldr1.splats` on a CPU, so many
    frames at once that frames are at most 8 and views times Gaussians at most 2**24 (or one view).
    """

    name = "recon"
    needs_reconstruction = True

    def __init__(self, lpips: Lpips | None = None, device: torch.device | str = "cpu") -> None:
        """Raises ImportError on CUDA without gsplat."""
        self.device = torch.device(device)
        if self.device.type == "cuda":
            from worldr1.splats.cuda import require_gsplat

            require_gsplat()
        self.lpips = (Lpips() if lpips is None else lpips).to(self.device)

    def __call__(self, samples: Sequence[Sample], reconstructions: Sequence[Reconstruction] | None = None) -> Tensor:
        """Scores [B]; nan where the video or its cameras are not finite, or nothing was rebuilt.

        Raises ValueError without one reconstruction per sample.
        """
        reconstructions = require_reconstructions("RerenderReward", samples, reconstructions)
        scores = torch.full((len(samples),), torch.nan)
        for place, (sample, scene) in enumerate(zip(samples, reconstructions, strict=True)):
            if _usable(sample, scene):
                scores[place] = 1.0 - self._distance(sample.video, scene)
        return scores.clamp(0.0, 1.0)

    @torch.no_grad()
    def _distance(self, video: Tensor, scene: Reconstruction) -> float:
        """LPIPS between a video [T,3,H,W] and its scene, mean over frames."""
        splats = scene.splats.to(self.device)
        height, width = video.shape[-2:]
        step = max(1, min(FRAMES_AT_ONCE, SPLATS_AT_ONCE // len(splats)))
        distances = []
        for frames, cameras in zip(video.split(step), scene.c2w.split(step), strict=True):
            drawn = render(splats, cameras, scene.intrinsics, height, width).image.clamp(0.0, 1.0)
            distances.append(self.lpips(drawn, frames.detach().to(self.device, torch.float32)).cpu())
        return float(torch.cat(distances).mean())


def _usable(sample: Sample, scene: Reconstruction) -> bool:
    return len(scene.splats) > 0 and all(map(all_finite, (sample.video, scene.c2w, scene.intrinsics)))
