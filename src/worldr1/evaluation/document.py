"""evaluation.json: what it says and how its numbers follow from the columns of base, trained and ground truth.

Top level: `psnr_base`, `psnr_trained`, `psnr_ground_truth` (dB of S_recon's re-rendering, mean over static held-out
prompts), `gap_closed` = (trained - base) / (ground_truth - base), `gain_db`; `ci95` holds [low, high] of each by the
same name (paired bootstrap over prompts). `metrics.<name>.{base,trained,ground_truth}` and `fitted.<name>.*` hold
{value, ci95, n}. `guards.<name>` holds base, trained, ground_truth, ratio, ci95, band, inside, state ("inside",
"undecided", "left", "not measured") and missing, the shares of clips without a value. `hacked` says whether one left
its band, `hacked_reasons` why. `base_weights` holds {path, fingerprint} of the base. `videos` has one row per prompt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldr1.evaluation.calibration import Calibration
from worldr1.evaluation.fitted import FittedScore
from worldr1.evaluation.guards import EXPLANATIONS, Guard, compare, reasons
from worldr1.evaluation.prompts import HeldOutPrompt
from worldr1.evaluation.statistics import Estimate, difference, gap_closed, mean_of, paired_bootstrap, spearman

Columns = Mapping[str, Sequence[float]]
SIDES = ("base", "trained", "ground_truth")
METRICS = ("psnr", "recon", "meta", "traj", "general", "coverage", "rot_err_deg", "trans_err", "residual_flow", "grain")


def headline(sides: Mapping[str, Sequence[float]], seed: int = 0) -> dict[str, Any]:
    """Means, gain and closed gap of one quantity whose `SIDES` are columns over the same prompts, with intervals.

    Raises:
        ValueError: if no prompt has a value on all sides.
    """
    base, trained, truth = (sides[side] for side in SIDES)
    estimates = {
        "psnr_base": paired_bootstrap([base, trained, truth], lambda a, b, c: mean_of(a), seed=seed),
        "psnr_trained": paired_bootstrap([base, trained, truth], lambda a, b, c: mean_of(b), seed=seed),
        "psnr_ground_truth": paired_bootstrap([base, trained, truth], lambda a, b, c: mean_of(c), seed=seed),
        "gap_closed": paired_bootstrap([base, trained, truth], gap_closed, seed=seed),
        "gain_db": paired_bootstrap([base, trained, truth], lambda a, b, c: difference(a, b), seed=seed),
    }
    numbers: dict[str, Any] = {name: estimate.value for name, estimate in estimates.items()}
    return numbers | {"ci95": {name: [e.low, e.high] for name, e in estimates.items()}}


def summary(columns: Mapping[str, Columns], names: Sequence[str]) -> dict[str, Any]:
    """Mean with interval of every named quantity on every side that has a value."""
    table: dict[str, Any] = {}
    for name in names:
        row = {}
        for side in SIDES:
            values = np.asarray(columns.get(side, {}).get(name, []), dtype=np.float64)
            if np.isfinite(values).any():
                row[side] = _estimate(paired_bootstrap([values], mean_of))
        if row:
            table[name] = row
    return table


def guards_of(columns: Mapping[str, Columns]) -> list[Guard]:
    """All guards whose columns there are, measured or not."""
    names = [name for name in EXPLANATIONS if name in columns["base"] and name in columns["trained"]]
    truth = columns.get("ground_truth", {})
    return [compare(name, columns["base"][name], columns["trained"][name], truth.get(name)) for name in names]


def guards_section(guards: Sequence[Guard], calibration: Calibration) -> dict[str, Any]:
    """The guards as JSON, the verdict, and how good the object detector is."""
    rows = {
        g.name: {
            "base": g.base,
            "trained": g.trained,
            "ground_truth": g.ground_truth,
            "ratio": g.ratio.value,
            "ci95": [g.ratio.low, g.ratio.high],
            "n": g.ratio.n,
            "band": g.band,
            "inside": g.inside,
            "state": g.state,
            "missing": {"base": g.missing[0], "trained": g.missing[1]},
            "meaning": EXPLANATIONS[g.name],
        }
        for g in guards
    }
    why = reasons(guards)
    detector = calibration.detector
    accuracy = {"color": detector.color_accuracy, "color_and_shape_given_color": detector.shape_accuracy}
    return {"guards": rows, "hacked": bool(why), "hacked_reasons": why, "object_detector_accuracy": accuracy}


def fitted_section(fitted: Mapping[str, Sequence[FittedScore]], psnr: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Evaluator 2, and its rank correlation with evaluator 1 (`psnr`, of the same clips) over base and trained.

    Raises:
        ValueError: if no clip could be scored on all sides.
    """
    columns = {
        side: {name: [getattr(score, name) for score in scores] for name in ("psnr", "ssim", "lpips")}
        for side, scores in fitted.items()
    }
    section = summary(columns, ("psnr", "ssim", "lpips"))
    numbers = headline({side: columns[side]["psnr"] for side in SIDES})
    ours = [value for side in ("base", "trained") for value in columns[side]["psnr"]]
    theirs = [value for side in ("base", "trained") for value in psnr[side]]
    return section | {
        "gain_db": numbers["gain_db"],
        "gap_closed": numbers["gap_closed"],
        "ci95": {name: numbers["ci95"][name] for name in ("gain_db", "gap_closed")},
        "rank_correlation": spearman(ours, theirs),
        "clips": len(fitted["base"]),
    }


def video_rows(
    prompts: Sequence[HeldOutPrompt],
    columns: Mapping[str, Columns],
    fitted: Mapping[str, Sequence[FittedScore]],
    names: Sequence[str],
) -> list[dict[str, Any]]:
    """One row per prompt: every named column of every side, and the fitted PSNR where it was measured."""
    rows = []
    for k, held_out in enumerate(prompts):
        row: dict[str, Any] = {"index": k, "prompt": held_out.prompt, "dynamic": held_out.scene.dynamic}
        for side in SIDES:
            values = {name: columns[side][name][k] for name in names if name in columns[side]}
            if k < len(fitted.get(side, [])):
                values["fitted_psnr"] = fitted[side][k].psnr
            row[side] = values
        rows.append(row)
    return rows


def plain(value: Any) -> Any:
    """The value as JSON can hold it: nan and infinity become None, tuples lists, numpy numbers Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "ci95": [estimate.low, estimate.high], "n": estimate.n}
