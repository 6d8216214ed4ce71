"""Motion smoothness: can every second frame be interpolated from its neighbours?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from worldr1.evaluation.flow import dense_flow, warp

_ROUNDS = 3


def motion_smoothness(video: Tensor, places: Sequence[float] | None = None) -> float:
    """1 - mean absolute difference between every second frame and what its two neighbours make of it, in [0, 1].

    The measure is VBench's (arXiv 2311.17982), which drops every second frame and lets a network (AMT) draw it again.
    Here optical flow draws it, without weights, so numbers are to be compared with numbers of this function only.

    Args:
        video: [T, 3, H, W] in [0, 1], at least 28 pixels a side; the flow follows about 8 pixels between neighbours.
        places: T increasing times or frame numbers; evenly spaced without. A frame is drawn at its own time, so that
            frames picked unevenly from a steady video count as steady.

    Returns:
        nan for fewer than three frames.

    Raises:
        ValueError: when there is not one place for each frame, or the pictures are too small.
    """
    frames = len(video)
    at = torch.arange(frames, dtype=torch.float64) if places is None else torch.tensor(places, dtype=torch.float64)
    if len(at) != frames:
        raise ValueError(f"motion_smoothness needs one place for each of {frames} frames, got {len(at)}")
    if frames < 3:
        return float("nan")
    left, middle, right = (at[k : frames - 2 + k : 2] for k in range(3))
    share = ((middle - left) / (right - left).clamp_min(1e-12)).float()
    before, real, after = (video[k : frames - 2 + k : 2].float() for k in range(3))
    return 1.0 - float((between(before, after, share) - real).abs().mean())


def between(before: Tensor, after: Tensor, share: Tensor) -> Tensor:
    """Pictures [N,3,H,W] between two stacks of such, `share` [N] of the way from the first to the second.

    The motion v of what lies at x then satisfies before(x - share v) = after(x + (1 - share) v). It is found from the
    flow of either picture to the other by fixed-point iteration, and both ends are blended by their nearness.
    """
    s = share[:, None, None, None]
    forward, backward = dense_flow(before, after).vectors, -dense_flow(after, before).vectors
    motion = (1 - s) * forward + s * backward
    for _ in range(_ROUNDS):
        motion = (1 - s) * warp(forward, -s * motion) + s * warp(backward, (1 - s) * motion)
    return (1 - s) * warp(before, -s * motion) + s * warp(after, (1 - s) * motion)
