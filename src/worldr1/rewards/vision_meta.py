"""S_meta by a vision-language model: the rebuilt scene, seen from where no camera was, judged with a digit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from worldr1.camera.trajectory import Trajectory
from worldr1.reconstruction.types import Reconstruction
from worldr1.rewards.meta import RAISED, SIDEWAYS, views_by_size
from worldr1.rewards.types import Sample, require_reconstructions


class VisionJudge(Protocol):
    """Looks at pictures of rebuilt scenes and gives each a digit."""

    def __call__(self, images: Tensor, prompts: Sequence[str], trajectories: Sequence[Trajectory]) -> Tensor:
        """Expected digits [B] in [0, 9] of images [B,3,H,W] in [0,1]; nan where there is no answer."""
        ...


class VisionMetaReward:
    """S_meta = 0.1 x expected digit, in [0, 0.9] per video (World-R1, "3D-aware reward").

    nan where the scene is empty, the view is not finite, or the judge gives no answer.
    """

    name = "meta"
    needs_reconstruction = True

    def __init__(self, judge: VisionJudge, sideways: float = SIDEWAYS, raised: float = RAISED) -> None:
        """`judge` looks at the views; their offset is in radians, see `meta_view_pose`."""
        self.judge = judge
        self.sideways = sideways
        self.raised = raised

    def __call__(self, samples: Sequence[Sample], reconstructions: Sequence[Reconstruction] | None = None) -> Tensor:
        """Scores [B]. Raises ValueError without one reconstruction per sample, or one digit per picture."""
        reconstructions = require_reconstructions("VisionMetaReward", samples, reconstructions)
        scores = torch.full((len(samples),), torch.nan)
        for places, views in views_by_size(samples, reconstructions, self.sideways, self.raised):
            kept = [k for k in range(len(places)) if bool(torch.isfinite(views[k]).all())]
            if kept:
                good = [places[k] for k in kept]
                scores[good] = 0.1 * self._digits(views[kept], [samples[i] for i in good])
        return scores

    def _digits(self, views: Tensor, samples: Sequence[Sample]) -> Tensor:
        digits = self.judge(views, [s.prompt for s in samples], [s.trajectory for s in samples])
        if digits.shape != (len(samples),):
            raise ValueError(f"The judge gave {list(digits.shape)} digits for {len(samples)} pictures.")
        return digits.detach().float().cpu()
