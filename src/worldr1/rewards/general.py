"""R_gen: how good the frames look and whether they show what was asked for, by a critic trained on preferences.

World-R1 takes the mean HPSv3 score over the first K frames. The tiny critic is trained as HPSv3 is (pairs under one
caption, Bradley-Terry with an uncertainty; Ma et al. 2025), and its score is standardised before it is bounded:
R_gen = tanh((mean over frames of mu - location) / scale), in (-1, 1), where clean frames lie around tanh(1) = 0.76 and
the mean of degraded ones around -0.76.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from worldr1.rewards.types import Sample
from worldr1.tinyworld.critic import Critic, critics_dir, judge, load_critic

FRAMES = 9


def spread_frames(total: int, count: int) -> list[int]:
    """Indices of `count` frames spread evenly over `total`, first and last among them; all of them when fewer exist."""
    if total <= count:
        return list(range(total))
    return [round(float(i)) for i in torch.linspace(0, total - 1, count)]


class GeneralReward:
    """R_gen in (-1, 1) per video.

    Args:
        critic: two outputs, mu and log sigma; location, scale: of mu, see above.
        frames: K. They are spread over the clip, where the paper takes the first K: a clip must not win by going bad
            after its K-th frame.
    """

    name = "general"
    needs_reconstruction = False

    def __init__(self, critic: Critic, location: float, scale: float, frames: int = FRAMES) -> None:
        if frames < 1 or scale <= 0:
            raise ValueError(f"GeneralReward needs frames >= 1 and scale > 0, got {frames} and {scale}.")
        self.critic = critic
        self.location = location
        self.scale = scale
        self.frames = frames

    @classmethod
    def from_directory(cls, directory: Path | None = None, frames: int = FRAMES) -> GeneralReward:
        """With the critic `general.safetensors` of a directory, by default the shipped one; raises as `load_critic`."""
        critic, notes = load_critic((directory or critics_dir()) / "general.safetensors")
        return cls(critic, notes["location"], notes["scale"], frames)

    def frame_scores(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Standardised, unbounded scores [B] of images [B,3,H,W] in [0,1], one prompt each."""
        return (judge(self.critic, images, prompts)[:, 0].cpu() - self.location) / self.scale

    def __call__(self, samples: Sequence[Sample], reconstructions: object = None) -> Tensor:
        """Scores [B]; `reconstructions` are not looked at. nan where a frame's score is not finite."""
        if not samples:
            return torch.empty(0)
        picked = [spread_frames(len(sample.video), self.frames) for sample in samples]
        scores = []
        for sample, indices in zip(samples, picked, strict=True):
            scores.append(self.frame_scores(sample.video[indices], [sample.prompt] * len(indices)).mean())
        bounded = torch.tanh(torch.stack(scores))
        return torch.where(bounded.isfinite(), bounded, torch.nan)
