"""Do the points of a video move as those of one rigid scene before a moving camera? Geometry alone, colours aside."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from worldr1.evaluation.bundle import Fit, Scene, adjust
from worldr1.evaluation.tracks import LEFT, SEEN, Array, Tracks, follow

SIDE = 240
SPAN, HOP = 17, 8
FEWEST_POINTS = 12
COARSE, COARSE_STEPS, FINE_STEPS = 4.0, 30, 60
SLOPE = 2.0


def rigidity(video: Tensor, focal: float) -> float:
    """Mean of exp(-d) over all points and frames, in [0, 1]: d is the reprojection error in pixels of 240p.

    Corners are followed through the video. Within windows of 17 frames, cameras, depths and a lens are sought that
    explain them as one rigid scene (`bundle`), and what is left is the error. A point that is lost inside the picture
    counts as 0, one that leaves it does not count. Nothing is asked of the camera: standing still is rigid too, and so
    is a jump.

    Reprojection errors of estimated cameras are a common measure of 3D consistency (WorldScore, arXiv 2504.00983, takes
    those of a SLAM system); this definition is ours.

    Args:
        video: [T, 3, H, W] in [0, 1], at least 32 pixels a side; errors are finest at 240 pixels on the short side.
        focal: about the focal length, in pixels.

    Returns:
        nan for fewer than three frames, or where no window has 12 corners. Where there are corners that cannot be
        followed, as in noise, 0.
    """
    frames = len(video)
    if frames < 3:
        return float("nan")
    tracks = follow(video)
    span = min(SPAN, frames)
    firsts = sorted({*range(0, frames - span + 1, HOP), frames - span})
    shares = [window_rigidity(tracks.within(first, span), focal) for first in firsts]
    known = [share for share in shares if np.isfinite(share)]
    return float(np.mean(known)) if known else float("nan")


def window_rigidity(tracks: Tracks, focal: float) -> float:
    """The same of the tracks of a few frames; nan for fewer than 12 points."""
    if len(tracks.host) < FEWEST_POINTS:
        return float("nan")
    asked = tracks.state != LEFT
    asked[np.arange(len(tracks.host)), tracks.host] = False
    if not asked.any():
        return float("nan")
    agreement = np.zeros(tracks.state.shape)
    followed = (tracks.state == SEEN).sum(axis=1) > 1
    if followed.sum() >= FEWEST_POINTS:
        agreement[followed] = _agreement(tracks.chosen(followed), focal)
    return float(agreement[asked].mean())


def _agreement(tracks: Tracks, focal: float) -> Array:
    """exp(-d) [N, T] where a point is seen, 0 elsewhere."""
    pixel = min(tracks.size) / SIDE
    fit = min((_fit(tracks, focal, rho, pixel) for rho in _starts(tracks)), key=lambda fit: fit.cost)
    return np.exp(-np.where(np.isfinite(fit.errors), fit.errors, np.inf) / pixel)


def _starts(tracks: Tracks) -> tuple[Array, Array]:
    """Inverse depths to begin with: a wall, and a ground that comes nearer towards the lower edge."""
    height = tracks.places[np.arange(len(tracks.host)), tracks.host, 1] / tracks.size[0]
    return np.ones(len(height)), np.exp(SLOPE * (height - 0.5))


def _fit(tracks: Tracks, focal: float, rho: Array, pixel: float) -> Fit:
    """From cameras that stand still: with a wide robust scale and the lens as given first."""
    still = np.broadcast_to(np.eye(4), (tracks.state.shape[1], 4, 4)).copy()
    coarse = adjust(tracks, Scene(still, rho, focal, 0.0), COARSE * pixel, COARSE_STEPS, free_lens=False)
    return adjust(tracks, coarse.scene, pixel, FINE_STEPS, free_lens=True)
