"""Camera paths as a picture, from above and from the side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

_VIEWS = ((0, 2, "x, right", "z, forward", "from above"), (2, 1, "z, forward", "y, down", "from the right"))
_ARROWS = 9


def plot_trajectories(paths: Mapping[str, Tensor], file: str | Path) -> None:
    """Draw camera-to-world paths with the directions in which the cameras look.

    Args:
        paths: by label, ``[T, 4, 4]`` each, in units of scene depth; the cross marks the scene's centre.
        file: where; the suffix (.png, .svg, .pdf) says the kind. Written beside its place and renamed.

    Raises:
        ValueError: when the suffix is not one that can be drawn.
    """
    from matplotlib.figure import Figure

    file = Path(file)
    figure = Figure(figsize=(10, 5), layout="constrained")
    kinds = figure.canvas.get_supported_filetypes()
    if file.suffix[1:].lower() not in kinds:
        raise ValueError(f"Cannot draw {file.name!r}; the file must end in one of {', '.join(sorted(kinds))}.")
    for axes, (across, up, across_name, up_name, title) in zip(figure.subplots(1, 2), _VIEWS, strict=True):
        for index, (label, c2w) in enumerate(paths.items()):
            centres, forward = c2w[:, :3, 3].numpy(), c2w[:, :3, 2].numpy()
            step = max((len(centres) - 1) // (_ARROWS - 1), 1)
            colour = f"C{index}"
            axes.plot(centres[:, across], centres[:, up], color=colour, label=label)
            axes.plot(centres[0, across], centres[0, up], "o", color=colour)
            axes.quiver(
                *(centres[::step, across], centres[::step, up], forward[::step, across], forward[::step, up]),
                **{"color": colour, "angles": "xy", "scale_units": "xy", "scale": 6.0, "width": 0.004},
            )
        axes.plot(*((0.0, 1.0) if across == 0 else (1.0, 0.0)), "x", color="0.4")
        axes.set(xlabel=across_name, ylabel=up_name, title=title, aspect="equal")
        axes.margins(0.1)
        axes.grid(alpha=0.3)
        if up == 1:
            axes.invert_yaxis()
    figure.axes[0].legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.stem}.part{file.suffix}")
    figure.savefig(beside, dpi=110)
    beside.replace(file)
