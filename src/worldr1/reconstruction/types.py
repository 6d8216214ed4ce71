"""What a reconstruction of a video is, and what can make one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from worldr1.camera.trajectory import Trajectory
    from worldr1.splats.gaussians import Gaussians


@dataclass(frozen=True)
class Reconstruction:
    """Cameras, depth and Gaussians of one video of T frames, H x W pixels.

    c2w: [T,4,4] OpenCV camera to world, the first is the identity; lengths are in units of the scene's centre depth,
        the distance of what the video is about (how it is taken is up to the reconstructor).
    intrinsics: [3,3] pixels of the video, pixel centres at +0.5.
    depth: [T,H,W] distance along the optical axis, in the same unit as the translations.
    confidence: [T,H,W] in [0,1]; 0 where the depth is a guess.
    splats: Gaussians in the world of frame 0; `splats.source` names the frame that each came from.
    metres: length of the unit, where the reconstructor knows it; None where scale is not seen.
    """

    c2w: Tensor
    intrinsics: Tensor
    depth: Tensor
    confidence: Tensor
    splats: Gaussians
    metres: float | None = None

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from worldr1.notebook import reconstruction_html

        return reconstruction_html(self)


class Reconstructor(Protocol):
    """Anything that lifts videos to scenes."""

    def __call__(self, videos: Tensor, trajectories: Sequence[Trajectory] | None = None) -> list[Reconstruction]:
        """Reconstruct videos [B,T,3,H,W] in [0,1]; `trajectories` (one per video) are hints of what was asked for."""
        ...


def all_finite(values: Tensor) -> bool:
    """Whether neither nan nor an infinity is among values, in one pass and without a mask of their size."""
    return values.numel() == 0 or all(bool(torch.isfinite(end)) for end in torch.aminmax(values))


def missing(video: Tensor) -> Reconstruction:
    """What stands for a video [T,3,H,W] that could not be rebuilt: nan everywhere, confidence 0, no Gaussians."""
    from worldr1.splats.gaussians import Gaussians

    frames, _, height, width = video.shape
    nothing = video.new_zeros((0, 3), dtype=torch.float32)
    return Reconstruction(
        c2w=torch.full((frames, 4, 4), torch.nan, device=video.device),
        intrinsics=torch.full((3, 3), torch.nan, device=video.device),
        depth=torch.full((frames, height, width), torch.nan, device=video.device),
        confidence=torch.zeros((frames, height, width), device=video.device),
        splats=Gaussians(
            means=nothing,
            scales=nothing,
            quats=nothing.new_zeros((0, 4)),
            opacities=nothing.new_zeros(0),
            colors=nothing,
            source=torch.zeros(0, dtype=torch.int64, device=video.device),
        ),
    )
