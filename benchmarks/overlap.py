"""`python -m benchmarks.overlap`: how much of the reward's time a worker on another core hides behind sampling.

Trains a few steps of the recipe `tiny` with the reward in this process and then by one Ray worker, one thread each, for
several numbers of videos that are sampled, and scored, at once. Prints one JSON document: median seconds of each stage,
the share of the reward that was hidden, and whether both runs wrote the same metrics.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numba
import torch

from benchmarks.machine import commit, describe
from worldr1.recipes import Recipe, load_recipe
from worldr1.rl.launch import start
from worldr1.rl.metrics import TIME_PREFIX, read_metrics

STAGES = ("rollout", "reward", "update", "total")


def recipe_of(at_once: int | None, steps: int, worker: bool) -> Recipe:
    """The recipe `tiny` without what comes before and after the steps."""
    content = load_recipe("tiny").model_dump()
    content["schedule"] |= {"total_steps": steps}
    content["evaluation"] |= {"every": 0, "prompts": 2, "videos": 0}
    content["preserve"] |= {"weight": 0.0}
    content["sampling"] |= {"micro_batch": at_once}
    content["pool"] |= {"batch": at_once, "kind": "ray" if worker else "local"}
    return Recipe.model_validate(content)


def steps_of(recipe: Recipe) -> list[dict[str, Any]]:
    """The metrics of a run's steps; the evaluation before them has started the worker and compiled everything."""
    with tempfile.TemporaryDirectory() as folder:
        start(recipe, Path(folder) / "run")
        return read_metrics(Path(folder) / "run" / "metrics.jsonl", "train")


def stages(steps: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Median seconds by stage."""
    return {stage: statistics.median(step[f"time/{stage}"] for step in steps) for stage in STAGES}


def compare(at_once: int, steps: int) -> dict[str, object]:
    """The reward here and by a worker."""
    here, worker = (steps_of(recipe_of(at_once, steps, worker)) for worker in (False, True))
    alone, beside = stages(here), stages(worker)
    return {
        "at_once": at_once,
        "here_s": alone,
        "worker_s": beside,
        "hidden": statistics.median(step["time/reward_hidden"] for step in worker),
        "hidden_of_the_reward_here": 1 - beside["reward"] / alone["reward"],
        "speedup": alone["total"] / beside["total"],
        "same_metrics": _timeless(here) == _timeless(worker),
    }


def _timeless(steps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: step[name] for name in step if not name.startswith(TIME_PREFIX)} for step in steps]


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overlap", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 2, 4], help="videos sampled and scored at once")
    parser.add_argument("--steps", type=int, default=4, help="training steps of a run")
    given = parser.parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    rows = [compare(at_once, given.steps) for at_once in given.at_once]
    whole = stages(steps_of(recipe_of(None, given.steps, worker=False)))
    result = {"commit": commit(), "machine": describe(), "rows": rows, "all_at_once_here_s": whole}
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
