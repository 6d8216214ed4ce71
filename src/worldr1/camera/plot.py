"""Camera paths as a picture, from above."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from worldr1.camera.above import CENTRE, footprints

_MARGIN = 0.15


def plot_trajectories(paths: Mapping[str, Tensor], file: str | Path, fov: float = 64.0) -> None:
    """Draw camera-to-world paths from above, with what some of the cameras look at.

    Args:
        paths: by label, ``[T, 4, 4]`` each, in units of scene depth; the cross marks the scene's centre.
        file: where; the suffix (.png, .svg, .pdf) says the kind. Written beside its place and renamed.
        fov: horizontal field of view in degrees.

    Raises:
        ValueError: when the suffix is not one that can be drawn.
    """
    from matplotlib.figure import Figure

    file = Path(file)
    figure = Figure(figsize=(6.0, 6.0), layout="constrained")
    kinds = figure.canvas.get_supported_filetypes()
    if file.suffix[1:].lower() not in kinds:
        raise ValueError(f"Cannot draw {file.name!r}; the file must end in .png, .svg or .pdf.")
    axes = figure.subplots()
    drawn = [torch.tensor([CENTRE])]
    for index, (label, path) in enumerate(paths.items()):
        colour = f"C{index}"
        centres, views = footprints(path.detach().float().cpu(), fov)
        frusta = views[:, [0, 1, 2, 0]]
        axes.plot(*centres.T.numpy(), color=colour, label=label, linewidth=2)
        axes.plot(*centres[0].numpy(), "o", color=colour)
        for frustum in frusta:
            axes.plot(*frustum.T.numpy(), color=colour, linewidth=0.8, alpha=0.6)
        drawn += [frusta.flatten(0, 1), centres]
    axes.plot(*CENTRE, "x", color="0.4", label="scene's centre")
    points = torch.cat(drawn)
    low, high = points.amin(dim=0), points.amax(dim=0)
    middle, half = (low + high) / 2, float((high - low).max()) / 2 + _MARGIN
    axes.set_xlim(float(middle[0]) - half, float(middle[0]) + half)
    axes.set_ylim(float(middle[1]) - half, float(middle[1]) + half)
    axes.set(xlabel="right, scene depths", ylabel="forward, scene depths", title="Camera from above", aspect="equal")
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.stem}.part{file.suffix}")
    figure.savefig(beside, dpi=110)
    beside.replace(file)
