"""Do confident points of one frame land where the other frames see them? Reprojection instead of colours.

The points of a frame are lifted by its own depth, moved by the cameras into another frame, and brought back with the
depth that the other frame has there: in a consistent scene each returns to where it began (pointwise reprojection as a
reward: VIGOR, arXiv 2603.16271; the check itself is that of multi-view stereo).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from worldr1.camera import se3
from worldr1.reconstruction.search import spread
from worldr1.reconstruction.types import Reconstruction

LEAST_CONFIDENCE = 0.5
UNIT = 0.01
OCCLUDED = 1.1
NEAR = 1e-3


def points_agreement(scene: Reconstruction, keys: int = 5, least_confidence: float = LEAST_CONFIDENCE) -> float:
    """Mean over confident points of exp(-d), in [0,1]: d is the way back's error in hundredths of the picture's width.

    Every pair of neighbouring key frames is compared both ways. Points that leave the other frame, or lie more than a
    tenth behind what it sees, do not count.

    Args:
        scene: with at least two frames.
        keys: so many evenly spread frames.
        least_confidence: of the points that count, in both frames.

    Returns:
        nan where no point counts, as under a camera that stands still, which shows no depth.
    """
    frames = spread(len(scene.c2w), keys)
    errors = []
    for a, b in pairwise(frames):
        errors += [return_errors(scene, a, b, least_confidence), return_errors(scene, b, a, least_confidence)]
    found = torch.cat(errors)
    if not len(found):
        return float("nan")
    return float(torch.exp(-found / (UNIT * scene.depth.shape[-1])).mean())


def return_errors(scene: Reconstruction, source: int, target: int, least_confidence: float) -> Tensor:
    """Distances [N] in pixels between confident points of frame `source` and where they come back from `target`."""
    pair = [source, target]
    depth, depth_there = scene.depth[pair].detach().cpu().double()
    sure, sure_there = scene.confidence[pair].detach().cpu().double()
    lens = scene.intrinsics.detach().cpu().double()
    poses = scene.c2w[pair].detach().cpu().double()
    there = se3.invert(poses[1:])[0] @ poses[0]
    back = se3.invert(there[None])[0]
    height, width = depth.shape
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float64) + 0.5, torch.arange(width, dtype=torch.float64) + 0.5, indexing="ij"
    )
    begin = torch.stack([x, y], dim=-1)[sure >= least_confidence]
    moved, far = _move(begin, depth[sure >= least_confidence], there, lens)
    size = torch.tensor([width, height], dtype=torch.float64)
    kept = (far > NEAR) & ((moved >= 0.5) & (moved <= size - 0.5)).all(-1)
    begin, moved, far = begin[kept], moved[kept], far[kept]
    seen = 1.0 / _sample(1.0 / depth_there.clamp(min=NEAR), moved)
    kept = (far <= OCCLUDED * seen) & (_sample(sure_there, moved) >= least_confidence)
    returned, behind = _move(moved[kept], seen[kept], back, lens)
    return (returned - begin[kept]).norm(dim=-1)[behind > NEAR]


def _move(places: Tensor, depth: Tensor, transform: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels [N,2] at depths [N], as pixels [N,2] and depths [N] of the camera that `transform` [4,4] leads to."""
    rays = torch.linalg.solve(lens, torch.cat([places, torch.ones_like(places[:, :1])], dim=-1).T)
    points = transform[:3, :3] @ (rays * depth) + transform[:3, 3:]
    projected = lens @ points
    return (projected[:2] / points[2].clamp(min=NEAR)).T, points[2]


def _sample(field: Tensor, places: Tensor) -> Tensor:
    """Values [N] of a field [H,W] at pixels [N,2], bilinear; inverse depth of a plane is met exactly."""
    height, width = field.shape
    grid = places * 2.0 / torch.tensor([width, height], dtype=places.dtype) - 1.0
    found = functional.grid_sample(field[None, None], grid[None, None], padding_mode="border", align_corners=False)
    return found[0, 0, 0]
