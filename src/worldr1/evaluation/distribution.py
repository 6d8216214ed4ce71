"""Whether a model has two modes: how its samples spread over consistency, with pictures of both kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from worldr1.camera import Trajectory
from worldr1.evaluation.consistency import rerendering
from worldr1.evaluation.statistics import TwoHumps, fit_two_humps
from worldr1.evaluation.video import to_uint8

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

SHOWN = 6
COLUMNS = 5
HUMP_COLORS = ("#b3591e", "#0f6fb5")


@dataclass(frozen=True)
class Modes:
    """Consistency of N samples.

    psnr, recon: per sample, PSNR of re-rendering in dB and S_recon (nan where the reconstruction failed).
    humps: two Gaussians fitted to the PSNR; `fraction_above` is the share of samples above their valley.
    """

    psnr: list[float]
    recon: list[float]
    humps: TwoHumps
    fraction_above: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        humps = self.humps
        return {
            "n": len(self.psnr),
            "psnr": self.psnr,
            "recon": self.recon,
            "means": humps.means,
            "deviations": humps.deviations,
            "weights": humps.weights,
            "separation": humps.separation,
            "bic_gain": humps.bic_gain,
            "valley": humps.valley,
            "threshold": humps.threshold,
            "fraction_above": self.fraction_above,
        }


def modes(
    videos: Tensor | Sequence[Tensor],
    trajectories: Sequence[Trajectory],
    *,
    picture: Path | None = None,
    reference: Sequence[float] = (),
) -> dict[str, Any]:
    """Measure the spread of samples, and draw it.

    Args:
        videos: N clips [T,3,H,W] in [0,1], N >= 8.
        trajectories: that were asked for.
        picture: where to write a PNG: the histogram, and frames of samples from either hump.
        reference: PSNR of ground-truth clips, drawn as a line at their mean.

    Returns:
        `Modes.to_dict()`.

    Raises:
        ValueError: if fewer than eight samples could be scored.
    """
    scored = rerendering(torch.stack(list(videos)), trajectories)
    found = summarise(scored.psnr, scored.recon)
    if picture is not None:
        draw(found, videos, picture, reference)
    return found.to_dict()


def summarise(psnr: Sequence[float], recon: Sequence[float]) -> Modes:
    """Fit the two humps to given scores.

    Raises:
        ValueError: if fewer than eight scores are finite.
    """
    humps = fit_two_humps(psnr)
    finite = np.array([value for value in psnr if np.isfinite(value)])
    above = float((finite > humps.threshold).mean())
    return Modes(psnr=list(psnr), recon=list(recon), humps=humps, fraction_above=above)


def draw(found: Modes, videos: Tensor | Sequence[Tensor], path: Path, reference: Sequence[float] = ()) -> None:
    """Write the histogram and a contact sheet (samples nearest to the mean of each hump) as one PNG."""
    from PIL import Image

    values = np.array(found.psnr)
    sheets = []
    for mean in found.humps.means:
        nearest = np.argsort(np.where(np.isfinite(values), np.abs(values - mean), np.inf))[:SHOWN]
        sheets.append(np.concatenate([_strip(videos[int(k)]) for k in nearest], axis=0))
    gap = np.full((sheets[0].shape[0], 12, 3), 255, np.uint8)
    sheet = Image.fromarray(np.concatenate([sheets[0], gap, sheets[1]], axis=1))
    chart = _histogram(found, sheet.width, reference)
    page = Image.new("RGB", (sheet.width, chart.height + sheet.height), "white")
    page.paste(chart, (0, 0))
    page.paste(sheet, (0, chart.height))
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path)


def _histogram(found: Modes, width: int, reference: Sequence[float], height: int = 240, bins: int = 48) -> Image.Image:
    """Histogram of the PSNR with the fitted humps, their valley (dotted) and the mean of ground truth (dashed)."""
    from PIL import Image, ImageDraw

    values = np.array([value for value in found.psnr if np.isfinite(value)])
    truth = float(np.nanmean(reference)) if len(reference) else float("nan")
    low, high = float(values.min()) - 1, max(float(values.max()), np.nan_to_num(truth, nan=-np.inf)) + 1
    density, edges = np.histogram(values, bins=bins, range=(low, high), density=True)
    top, bottom = 40, height - 34

    def x(value: float) -> float:
        return 20 + (value - low) / (high - low) * (width - 40)

    def y(share: float) -> float:
        return bottom - share / float(density.max() * 1.05) * (bottom - top)

    image = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(image)
    for left, right, share in zip(edges[:-1], edges[1:], density, strict=True):
        pen.rectangle((x(left), y(share), x(right) - 1, bottom), fill="#c3ccd5")
    grid = np.linspace(low, high, 400)
    humps = found.humps
    for mean, deviation, weight, color in zip(humps.means, humps.deviations, humps.weights, HUMP_COLORS, strict=True):
        curve = weight * np.exp(-0.5 * ((grid - mean) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
        pen.line([(x(a), max(y(b), top)) for a, b in zip(grid, curve, strict=True)], fill=color, width=2)
    _dashes(pen, x(humps.threshold), top, bottom, 3)
    if np.isfinite(truth):
        _dashes(pen, x(truth), top, bottom, 10)
    for value in range(int(np.ceil(low)), int(high) + 1, 2):
        pen.text((x(value), bottom + 4), str(value), fill="black", anchor="ma")
    (first, second), (low_share, high_share) = humps.means, humps.weights
    title = f"{len(found.psnr)} samples, PSNR of re-rendering in dB: "
    title += f"humps at {first:.1f} ({low_share:.0%}) and {second:.1f} ({high_share:.0%}), frames left and right\n"
    title += f"separation {humps.separation:.2f}, valley {humps.valley:.2f}, "
    title += f"{found.fraction_above:.0%} above {humps.threshold:.1f}, ground truth {truth:.1f}"
    pen.text((20, 6), title, fill="black")
    return image


def _dashes(pen: ImageDraw.ImageDraw, x: float, top: int, bottom: int, length: int) -> None:
    for start in range(top, bottom, 2 * length):
        pen.line([(x, start), (x, min(start + length, bottom))], fill="#333333", width=1)


def _strip(video: Tensor) -> npt.NDArray[np.uint8]:
    """A few frames of a clip side by side, uint8 [H,W,3]."""
    frames = np.linspace(0, video.shape[0] - 1, COLUMNS).round().astype(int)
    return np.concatenate(list(to_uint8(video)[frames]), axis=1)
