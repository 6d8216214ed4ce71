"""The row of the perceptual distance: ours against torchmetrics with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.measure import Row, Setting, median_time, paired
from benchmarks.peers import lpips as peer
from worldr1.rewards.lpips import Lpips

NAME = "lpips_160_pairs"
BOUND = 1e-5


def rows(setting: Setting) -> dict[str, Callable[[], Row]]:
    """All rows of this file by name, not yet run."""
    return {NAME: partial(_distances, setting)}


def pairs_of_pictures(count: int, side: int = 64) -> tuple[Tensor, Tensor]:
    """Smooth random pictures [count, 3, side, side] in [0, 1], and the same with a little noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 9, 9, generator=generator)
    pictures = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear", align_corners=False)
    return pictures, (pictures + 0.05 * torch.randn(pictures.shape, generator=generator)).clamp(0, 1)


def _distances(setting: Setting) -> Row:
    a, b = pairs_of_pictures(2 if setting.quick else 160)
    network = Lpips()
    what = f"{len(a)} pairs of 64x64, AlexNet"
    if not peer.available():
        note = f"{what}; without a peer: {' and '.join(peer.NEEDS)} are not installed"
        return Row(NAME, median_time(partial(_ours, network, a, b), setting.runs), None, None, setting.runs, note)
    theirs = peer.load()
    measured = paired(partial(_ours, network, a, b), partial(peer.distances, theirs, a, b), setting.runs)
    difference = float((_ours(network, a, b) - peer.distances(theirs, a, b)).abs().max())
    return Row(
        NAME,
        *(measured.ours, measured.peer, measured.ratio, measured.runs),
        f"{what}; the peer is torchmetrics' network with the same weights",
        *(measured.peak_mb, measured.peer_peak_mb),
        agreement={"difference": difference},
        agrees=difference < BOUND,
    )


def _ours(network: Lpips, a: Tensor, b: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(a, b)
