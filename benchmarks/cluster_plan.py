"""World-R1-Large on 96 GPUs as a simulation: `python -m benchmarks.cluster_plan`.

Tells seconds per step, where they are waited, and what gives way first when the reward workers grow to 1,000. Every
cost is printed with its source; none was measured on a GPU.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.logging import RichHandler

from benchmarks.cluster_costs import Cost, costs, dispatch_seconds, large
from benchmarks.cluster_sim import Pool, Service, Step, simulate_step
from benchmarks.machine import cpu_name
from benchmarks.results import RESULTS, save

logger = logging.getLogger("benchmarks")

GPUS = 96
NODE = 8
BATCH = 4
FLEETS = (8, 64, 250, 1000)
_SEEDS = 20
_ROUNDS = 8


@dataclass(frozen=True)
class Row:
    """Means over seeds of one way to divide the cards; times in seconds, `idle` and `workers_busy` shares."""

    layout: str
    built: bool
    seconds: float
    sampling: float
    waiting: float
    updating: float
    idle: float
    workers_busy: float
    deaths: float
    given_up: float


@dataclass(frozen=True)
class Fleet:
    """Videos a second through so many workers that one process feeds, and what bounds them."""

    workers: int
    at_best: float
    simulated: float
    simulated_8_bit: float
    dispatcher: float


def main() -> None:
    """The command line."""
    options = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)])
    recipe = large(options.recipe)
    known = costs(recipe, options.tflops, options.gbit)
    dispatch = {workers: dispatch_seconds(workers) for workers in FLEETS}
    videos = recipe.schedule.groups * recipe.schedule.group_size
    rows = [_row(*layout) for layout in layouts(known, videos, recipe.schedule.groups, dispatch)]
    fleets = [fleet(known, workers, spent) for workers, spent in dispatch.items()]
    bounds = feeds(known, videos, dispatch[max(FLEETS)])
    found = {
        "recipe": f"{options.recipe}, 14B, {recipe.schedule.groups} groups of {recipe.schedule.group_size}",
        "gpus": GPUS,
        "costs": {name: asdict(cost) for name, cost in known.items()},
        "rows": [asdict(row) for row in rows],
        "fleets": [asdict(row) for row in fleets],
        "feeds_workers": bounds,
    }
    path = save(options.out, f"{cpu_name()}-cluster-{options.recipe}", found, partial(_table, rows, fleets))
    for row in rows:
        logger.info("%s: %.0f seconds per step", row.layout, row.seconds)
    for part, count in bounds.items():
        logger.info("%s: keep %.3g workers at work", part, count)
    logger.info("wrote %s and %s", path, path.with_suffix(".md").name)


def _arguments() -> argparse.Namespace:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster_plan", description=summary)
    parser.add_argument("--recipe", default="world-r1-paper", help="whose sampling, update and reward (world-r1-paper)")
    parser.add_argument("--tflops", type=float, default=400.0, help="bfloat16 rate of a card, 1e12 operations/s (400)")
    parser.add_argument("--gbit", type=float, default=25.0, help="network of one process, Gbit/s (25)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (benchmarks/results)")
    return parser.parse_args()


def layouts(
    known: Mapping[str, Cost], videos: int, groups: int, dispatch: Mapping[int, float]
) -> list[tuple[str, bool, Step]]:
    """Ways to divide the cards: their name, whether this package can do it, and the step."""
    make, score = known["sample"].value + known["decode"].value, known["models"].value + known["render"].value
    step = Step(videos, groups, make, score, known["update"].value, jitter=known["jitter"].value)
    spare = GPUS - groups
    own = replace(step, batch=BATCH, pools=groups, pool=_pool(known, 1, dispatch[min(FLEETS)], spare))
    found = [
        (f"{groups} ranks that score themselves, {spare} cards idle", True, step),
        (f"{groups} ranks, a worker of its own for each, scores at the end", True, replace(own, overlap=False)),
        (f"{groups} ranks, a worker of its own for each, scores meanwhile", True, own),
    ]
    for workers in (1, 2, 4, spare):
        pool = _pool(known, 1, dispatch[min(FLEETS)], workers)
        shared = replace(step, batch=BATCH, pool=pool)
        found.append((f"{groups} ranks, one pool of {workers}, scores meanwhile", False, shared))
    return [*found, (f"{GPUS} ranks that score themselves, two for a group", True, replace(step, ranks=GPUS))]


def _pool(known: Mapping[str, Cost], width: float, dispatch: float, workers: int) -> Pool:
    """Workers fed by one process; `width`: bytes of a value in those of float32."""
    size = BATCH * known["video"].value * 1e6 * width
    return Pool(
        workers=workers,
        dispatch=dispatch + size / (known["copy"].value * 1e9),
        transfer=size / (known["network"].value * 1e9),
        death=known["death"].value,
        restart=known["restart"].value,
    )


def _row(layout: str, built: bool, step: Step) -> Row:
    runs = [asdict(simulate_step(step, seed)) for seed in range(_SEEDS)]
    return Row(layout, built, **{name: float(np.mean([run[name] for run in runs])) for name in runs[0]})


def fleet(known: Mapping[str, Cost], workers: int, dispatch: float) -> Fleet:
    """All at work at once, on a few rounds of batches that wait from the start."""
    score = known["models"].value + known["render"].value
    batches = _ROUNDS * workers
    seconds = np.full(batches, BATCH * score)

    def rate(width: float) -> float:
        pool = _pool(known, width, dispatch, workers)
        done = Service(np.zeros(batches), seconds, pool, np.random.default_rng(0)).run()
        return BATCH * batches / done.end

    return Fleet(workers, workers / score, rate(1), rate(1 / 4), BATCH / dispatch)


def feeds(known: Mapping[str, Cost], videos: int, dispatch: float) -> dict[str, float]:
    """How many workers each part can keep at work, fewest first."""
    score = known["models"].value + known["render"].value
    made = GPUS / (known["sample"].value + known["decode"].value)
    sent = known["network"].value * 1e9 / (known["video"].value * 1e6)
    copied = known["copy"].value * 1e9 / (known["video"].value * 1e6)
    bounds = {
        f"videos that {GPUS} cards make while they do nothing else": made * score,
        f"a step's {videos} videos in batches of {BATCH}": videos / BATCH,
        "network of one process, float32": sent * score,
        "network of one process, 8 bits": 4 * sent * score,
        f"network of {GPUS // NODE} machines, float32": GPUS / NODE * sent * score,
        "copies into the object store by one process, float32": copied * score,
        "dispatcher with 1,000 workers": BATCH / dispatch * score,
    }
    return dict(sorted(bounds.items(), key=lambda bound: bound[1]))


def _table(rows: Sequence[Row], fleets: Sequence[Fleet], content: Mapping[str, Any]) -> str:
    first, *_ = content["feeds_workers"]
    parts = [
        f"# {content['recipe']}, on {content['gpus']} GPUs: a simulated step\n",
        f"{content['date'][:10]}, commit {content['commit']}. Nothing here was measured on a GPU.\n",
        _lines(("cost", "value", "source", "what"), map(_cost, content["costs"].items())),
        f"Means of {_SEEDS} simulated steps; seconds. Built: whether this package can run it.\n",
        _lines(
            (
                "layout",
                "built",
                "step",
                "sampling",
                "waits for scores",
                "update",
                "ranks idle",
                "workers busy",
                "deaths",
            ),
            map(_layout, rows),
        ),
        f"Workers fed by one process with work without end, videos/s (batches of {BATCH}):\n",
        _lines(("workers", "at best", "simulated", "with 8-bit videos", "dispatcher alone"), map(_fleet, fleets)),
        f"Workers that each part can keep at work. On the way to 1,000 the first to give way: {first}.\n",
        _lines(("part", "workers"), ((part, f"{count:.3g}") for part, count in content["feeds_workers"].items())),
    ]
    return "\n".join(parts)


def _cost(named: tuple[str, Mapping[str, Any]]) -> Sequence[str]:
    name, cost = named
    return name, f"{cost['value']:.4g} {cost['unit']}", cost["source"], cost["note"]


def _layout(row: Row) -> Sequence[str]:
    times = [f"{value:.0f}" for value in (row.seconds, row.sampling, row.waiting, row.updating)]
    built = "yes" if row.built else "no"
    return row.layout, built, *times, f"{row.idle:.0%}", f"{row.workers_busy:.1%}", f"{row.deaths:.2f}"


def _fleet(row: Fleet) -> Sequence[str]:
    rates = (row.at_best, row.simulated, row.simulated_8_bit, row.dispatcher)
    return str(row.workers), *(f"{value:.3g}" for value in rates)


def _lines(head: Sequence[str], cells: Any) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *cells))


if __name__ == "__main__":
    main()
