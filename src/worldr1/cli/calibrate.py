"""``worldr1 calibrate``: show that the reward is honest on clips of known quality."""

from __future__ import annotations

import dataclasses
import json as json_writer
import math
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from worldr1.rewards.calibrate import Calibration, Statistic

_TITLES = {"meta": "S_meta", "recon": "S_recon", "traj": "S_traj", "general": "R_gen"}
_SHARED = {"total": "weighted sum", "psnr": "re-rendering, dB", "coverage": "coverage"}


def calibrate(clips: int = 64, json: bool = False, seed: int = 0, recipe: str = "tiny") -> int:
    """Score ground-truth clips of the tiny world and bad ones, and compare.

    Args:
        clips: clips of each kind.
        json: print one JSON document, and nothing else, on standard output.
        seed: which scenes, moves and defects are drawn.
        recipe: whose reward is examined: a shipped recipe, or a YAML file.

    Returns:
        0 when every bad kind lies at least three standard errors below the ground truth, 1 when not, 2 on wrong usage.
    """
    from worldr1.recipes import load_recipe
    from worldr1.rewards.calibrate import calibrate as measure

    settings = load_recipe(recipe).reward
    errors = Console(stderr=True)
    if clips < 2:
        errors.print(f"--clips is {clips}; at least 2 are needed for a standard error.", style="red", markup=False)
        return 2
    with errors.status("Rendering clips") as status:
        result = measure(clips, seed, settings, progress=lambda kind: status.update(f"Scoring: {kind}"))
    if json:
        document = {
            "recipe": recipe,
            "clips": clips,
            "seed": seed,
            "honest": result.honest,
            **dataclasses.asdict(result),
        }
        sys.stdout.write(json_writer.dumps(_finite(document), indent=2, allow_nan=False) + "\n")
    else:
        _show(result, recipe)
    return 0 if result.honest else 1


def _finite(value: object) -> object:
    """The same document with null for what JSON cannot say: nan and infinity."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _show(result: Calibration, recipe: str) -> None:
    console = Console()
    table = Table(
        title=f"Reward of {recipe} on clips of known quality, mean ± standard error (s.e. below ground truth)"
    )
    table.add_column("kind")
    components = next(iter(result.kinds.values())).components_below
    titles = {name: _TITLES[name] for name in components} | _SHARED
    for title in titles.values():
        table.add_column(title, justify="right")
    for kind, row in result.kinds.items():
        below = row.components_below | {"total": row.below}
        cells = [
            _cell(row.statistics[name], 2 if name == "psnr" else 3)
            + (f" ({below[name]:.1f})" if below.get(name) else "")
            for name in titles
        ]
        table.add_row(kind, *cells)
    console.print(table)
    console.print(
        f"Cameras on ground truth: rotation {_cell(result.rotation_degrees, 2)} degrees, translation "
        f"{100 * result.translation.mean:.1f}% ({100 * result.translation_unit_free.mean:.1f}% with the best unit)."
    )
    console.print(
        f"Ground truth above spoilt: {result.auc_total:.3f} of pairs by the sum, {result.auc_psnr:.3f} by PSNR."
    )


def _cell(statistic: Statistic, digits: int) -> str:
    return f"{statistic.mean:.{digits}f} ± {statistic.error:.{digits}f}"
