"""What moves by itself: pixels that the cameras and the other frames explain far worse than the rest."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

MOST = 0.25
SPREADS = 6.0
FLOOR = 0.03
WINDOW_SHARE = 16


def moving_mask(originals: Tensor, drawn: Tensor, covered: Tensor, most: float = MOST) -> Tensor:
    """Pixels [K,H,W] bool that belong to moving objects, by the residual of redrawn frames.

    A frame's residual is the mean absolute colour error, averaged over a window of a sixteenth of the short side, so
    that only a connected patch stands out. A pixel moves where it exceeds the median of the covered pixels of all
    frames by six robust standard deviations, and 0.03. An inconsistent scene is wrong everywhere and has a high median,
    so that little of it is excused; and never more than the share `most` of a frame is, the worst pixels first.

    Args:
        originals, drawn: [K,3,H,W] in [0,1].
        covered: [K,H,W] bool, where something was drawn; other pixels never move.
        most: largest share of a frame's pixels that may be left out.

    Raises:
        ValueError: if `most` lies outside [0, 1].
    """
    if not 0.0 <= most <= 1.0:
        raise ValueError(f"most is a share, from 0 to 1; got {most}.")
    if not bool(covered.any()):
        return torch.zeros_like(covered)
    height, width = covered.shape[1:]
    residual = _window_mean((originals - drawn).abs().mean(1), covered, max(1, min(height, width) // WINDOW_SHARE))
    centre = residual[covered].median()
    spread = 1.4826 * (residual[covered] - centre).abs().median()
    excess = torch.where(covered, residual - torch.clamp(centre + SPREADS * spread, min=FLOOR), -1.0)
    return (excess > 0) & _worst(excess, int(most * height * width))


def _worst(excess: Tensor, count: int) -> Tensor:
    """The `count` largest pixels of every frame [K,H,W]."""
    flat = excess.flatten(1)
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    return chosen.scatter(1, flat.topk(count, dim=1).indices, True).view(excess.shape)


def _window_mean(field: Tensor, weight: Tensor, radius: int) -> Tensor:
    """Weighted mean of [K,H,W] over squares of side 2 radius + 1."""
    side = 2 * radius + 1

    def pool(x: Tensor) -> Tensor:
        return functional.avg_pool2d(x[:, None], side, 1, radius)[:, 0]

    share = weight.to(field.dtype)
    return pool(field * share) / pool(share).clamp(min=1e-6)
