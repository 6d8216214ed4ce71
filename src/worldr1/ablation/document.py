"""ablation.json: what was run, what it reached, what each variant changes, and the paper's numbers beside it.

`variants` has one entry for each, in the table's order: `name`, `title`, `set` and `scale` (what it changes), `paper`
(the paper's values), `same_as` (a variant that trains the same recipe, so that both share their runs, else null),
`runs` (one a seed: `seed`, `directory`, `hacked`, `error`, and the measures) and `measures`. Of those each holds
`value`, `ci95` and `n` over seeds, and `effect`, the difference from the first variant within each seed: `value`,
`ci95`, `n`, and, where the paper has one, `paper` and `verdict` (holds, open, opposite).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worldr1.ablation.effects import MEASURES, Measure, over_seeds, value_of, verdict
from worldr1.ablation.execute import Outcome
from worldr1.ablation.plan import PlannedRun
from worldr1.ablation.variants import Variant
from worldr1.evaluation.document import plain
from worldr1.evaluation.statistics import Estimate

NOT_RUN = "not run yet"
"""What stands in place of a run's error until it has been tried."""


def ablation_document(
    runs: Sequence[PlannedRun], outcomes: Mapping[Path, Outcome], extent: Mapping[str, int]
) -> dict[str, Any]:
    """What ablation.json says of the runs done so far.

    Args:
        runs: all that are planned; the first one's variant is what others are compared with.
        outcomes: evaluation or complaint by run directory; runs that are not there are still to be done.
        extent: of the evaluations.
    """
    variants = list({run.variant.name: run.variant for run in runs}.values())
    tables = {variant.name: _values(variant, runs, outcomes) for variant in variants}
    full = variants[0]
    recipe = runs[0].recipe
    document = {
        "recipe": recipe.name,
        "steps": recipe.schedule.total_steps,
        "seeds": list(dict.fromkeys(run.seed for run in runs)),
        "extent": dict(extent),
        "compared_with": full.name,
        "variants": [
            {
                "name": variant.name,
                "title": variant.title,
                "set": dict(variant.overrides),
                "scale": dict(variant.scale),
                "paper": dict(variant.paper),
                "same_as": _twin(variant, runs),
                "runs": [_run(run, outcomes) for run in runs if run.variant is variant],
                "measures": _measures(variant, full, tables),
            }
            for variant in variants
        ],
    }
    result: dict[str, Any] = plain(document)
    return result


def _values(
    variant: Variant, runs: Sequence[PlannedRun], outcomes: Mapping[Path, Outcome]
) -> dict[int, Mapping[str, float]]:
    """Measures by seed of the runs that were evaluated."""
    found: dict[int, Mapping[str, float]] = {}
    for run in runs:
        outcome = outcomes.get(run.root)
        if run.variant is variant and isinstance(outcome, dict):
            found[run.seed] = {measure.name: value_of(outcome, measure) for measure in MEASURES}
    return found


def _measures(
    variant: Variant, full: Variant, tables: Mapping[str, Mapping[int, Mapping[str, float]]]
) -> dict[str, Any]:
    mine, reference = tables[variant.name], tables[full.name]
    measures: dict[str, Any] = {}
    for measure in MEASURES:
        level = over_seeds([values[measure.name] for values in mine.values()])
        if level is None:
            continue
        measures[measure.name] = _numbers(level)
        both = [seed for seed in mine if seed in reference]
        change = over_seeds([mine[seed][measure.name] - reference[seed][measure.name] for seed in both])
        if variant is not full and change is not None:
            measures[measure.name]["effect"] = _numbers(change) | _against_paper(change, measure, variant, full)
    return measures


def _against_paper(change: Estimate, measure: Measure, variant: Variant, full: Variant) -> dict[str, Any]:
    if measure.paper is None or measure.paper not in variant.paper or measure.paper not in full.paper:
        return {}
    expected = variant.paper[measure.paper] - full.paper[measure.paper]
    if math.isclose(expected, 0.0, abs_tol=1e-12):
        return {}
    return {"paper": round(expected, 6), "verdict": verdict(change, expected)}


def _twin(variant: Variant, runs: Sequence[PlannedRun]) -> str | None:
    first = next(run for run in runs if run.variant is variant)
    return next((r.variant.name for r in runs if r.root == first.root and r.variant is not variant), None)


def _run(run: PlannedRun, outcomes: Mapping[Path, Outcome]) -> dict[str, Any]:
    outcome = outcomes.get(run.root)
    row: dict[str, Any] = {"seed": run.seed, "directory": "/".join(run.root.parts[-2:])}
    if isinstance(outcome, dict):
        measures = {measure.name: value_of(outcome, measure) for measure in MEASURES}
        return row | {"hacked": outcome.get("hacked"), "error": None} | measures
    return row | {"hacked": None, "error": outcome or NOT_RUN}


def _numbers(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "ci95": [estimate.low, estimate.high], "n": estimate.n}
