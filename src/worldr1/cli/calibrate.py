"""``worldr1 calibrate``: show that the geometric reward is honest on clips of known quality."""

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

_COLUMNS = ("recon", "traj", "total", "psnr", "coverage")


def calibrate(clips: int = 64, json: bool = False, seed: int = 0) -> int:
    """Score ground-truth clips of the tiny world and bad ones, and compare.

    Args:
        clips: clips of each kind.
        json: print one JSON document, and nothing else, on standard output.
        seed: which scenes, moves and defects are drawn.

    Returns:
        0 when every bad kind lies at least three standard errors below the ground truth, 1 when not, 2 on wrong usage.
    """
    from worldr1.rewards.calibrate import calibrate as measure

    errors = Console(stderr=True)
    if clips < 2:
        errors.print(f"--clips is {clips}; at least 2 are needed for a standard error.", style="red", markup=False)
        return 2
    with errors.status("Rendering clips") as status:
        result = measure(clips, seed, progress=lambda kind: status.update(f"Scoring: {kind}"))
    if json:
        document = {"clips": clips, "seed": seed, "honest": result.honest, **dataclasses.asdict(result)}
        sys.stdout.write(json_writer.dumps(_finite(document), indent=2, allow_nan=False) + "\n")
    else:
        _show(result)
    return 0 if result.honest else 1


def _finite(value: object) -> object:
    """The same document with null for what JSON cannot say: nan and infinity."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _show(result: Calibration) -> None:
    console = Console()
    table = Table(title="Geometric reward on clips of known quality, mean ± standard error")
    table.add_column("kind")
    for name in ("S_recon", "S_traj", "sum", "re-rendering, dB", "coverage", "below, s.e."):
        table.add_column(name, justify="right")
    for kind, row in result.kinds.items():
        cells = [_cell(row.statistics[name], 2 if name == "psnr" else 3) for name in _COLUMNS]
        table.add_row(kind, *cells, f"{row.below:.1f}" if row.below else "")
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
