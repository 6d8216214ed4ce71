"""S_meta: the rebuilt scene, seen from where no camera was, judged by a critic that knows the prompt.

World-R1, section "3D-aware reward": Qwen3-VL looks at a view off the trajectory and gives a digit from 0 to 9, which is
multiplied by 0.1. The tiny critic does the same with ten logits; its score is the expected digit times 0.1, so that it
lies in [0, 0.9].
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from worldr1.camera import se3
from worldr1.camera.trajectory import Trajectory
from worldr1.reconstruction.types import Reconstruction
from worldr1.rewards.types import Sample, require_reconstructions
from worldr1.splats.render import render_batch
from worldr1.tinyworld.critic import Critic, critics_dir, judge, load_critic

SIDEWAYS = math.radians(14.0)
RAISED = math.radians(14.0)
DIGITS = 10


def _azimuth(positions: Tensor, target: Tensor) -> Tensor:
    """Angles [T] of positions [T,3] about the target's vertical axis; 0 is straight in front, positive to the right."""
    offset = positions - target
    return torch.atan2(offset[:, 0], -offset[:, 2])


def meta_view_pose(trajectory: Trajectory, sideways: float = SIDEWAYS, raised: float = RAISED) -> Tensor:
    """A camera-to-world pose [4,4] off the trajectory, the same for every video that was asked for this trajectory.

    It looks at the point that the trajectory looks at on average, at the depth of the scene's centre; it stands as far
    from it as the trajectory does on average, `raised` radians above the floor's plane, and `sideways` radians beyond
    the end of the path, on the side to which the path goes less (the right one when it goes to neither).
    """
    c2w = trajectory.c2w.double()
    positions, forward = c2w[:, :3, 3], c2w[:, :3, 2]
    centre = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    reach = (centre - positions).norm(dim=1, keepdim=True)
    target = (positions + forward * reach).mean(0)
    angles = _azimuth(positions, target)
    beyond = float(angles.max()) + sideways if angles.max() <= -angles.min() + 1e-6 else float(angles.min()) - sideways
    distance = float((positions - target).norm(dim=1).mean())
    direction = torch.tensor(
        [math.sin(beyond) * math.cos(raised), -math.sin(raised), -math.cos(beyond) * math.cos(raised)],
        dtype=torch.float64,
    )
    right = torch.tensor([math.cos(beyond), 0.0, math.sin(beyond)], dtype=torch.float64)
    down = torch.linalg.cross(-direction, right)
    rotation = torch.stack([right, down, -direction], dim=1)
    return se3.compose(rotation, target + distance * direction).float()


def meta_views(
    trajectories: Sequence[Trajectory],
    reconstructions: Sequence[Reconstruction],
    height: int,
    width: int,
    sideways: float = SIDEWAYS,
    raised: float = RAISED,
) -> Tensor:
    """Off-trajectory renderings [B,3,H,W] in [0,1] of B reconstructed scenes; black where nothing was rebuilt.

    `sideways` and `raised` are those of `meta_view_pose`.
    """
    poses = [meta_view_pose(trajectory, sideways, raised)[None] for trajectory in trajectories]
    intrinsics = torch.stack([reconstruction.intrinsics for reconstruction in reconstructions])
    views = render_batch([r.splats for r in reconstructions], poses, intrinsics, height, width)
    return torch.cat([view.image for view in views]).clamp(0.0, 1.0)


def views_by_size(
    samples: Sequence[Sample], reconstructions: Sequence[Reconstruction], sideways: float, raised: float
) -> Iterator[tuple[list[int], Tensor]]:
    """Places of the samples whose scenes are not empty, and their `meta_views`: those of one size of video together."""
    sizes: dict[tuple[int, int], list[int]] = {}
    for place, (sample, reconstruction) in enumerate(zip(samples, reconstructions, strict=True)):
        if len(reconstruction.splats):
            height, width = sample.video.shape[-2:]
            sizes.setdefault((height, width), []).append(place)
    for (height, width), places in sizes.items():
        trajectories, scenes = [samples[i].trajectory for i in places], [reconstructions[i] for i in places]
        yield places, meta_views(trajectories, scenes, height, width, sideways, raised)


def expected_digit(logits: Tensor) -> Tensor:
    """Expectation [B] of the digit under logits [B,10], in [0, 9]."""
    return logits.softmax(-1) @ torch.arange(DIGITS, dtype=logits.dtype, device=logits.device)


class MetaReward:
    """S_meta in [0, 0.9] per video; nan where the scene is empty or the view is not finite."""

    name = "meta"
    needs_reconstruction = True

    def __init__(self, critic: Critic, sideways: float = SIDEWAYS, raised: float = RAISED) -> None:
        """`critic` with ten outputs, the logits of the digits; the view's offset in radians, see `meta_view_pose`."""
        self.critic = critic
        self.sideways = sideways
        self.raised = raised

    @classmethod
    def from_directory(
        cls, directory: Path | None = None, sideways: float = SIDEWAYS, raised: float = RAISED
    ) -> MetaReward:
        """With the critic `meta.safetensors` of a directory, by default the shipped one; raises as `load_critic`."""
        return cls(load_critic((directory or critics_dir()) / "meta.safetensors")[0], sideways, raised)

    def __call__(self, samples: Sequence[Sample], reconstructions: Sequence[Reconstruction] | None = None) -> Tensor:
        """Scores [B]. Raises ValueError when there is not one reconstruction per sample."""
        reconstructions = require_reconstructions("MetaReward", samples, reconstructions)
        scores = torch.full((len(samples),), torch.nan)
        for places, views in views_by_size(samples, reconstructions, self.sideways, self.raised):
            digits = expected_digit(judge(self.critic, views.cpu(), [samples[i].prompt for i in places]))
            scores[places] = 0.1 * digits.cpu()
        return scores
