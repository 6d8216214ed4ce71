"""`python -m benchmarks.weak`: the reward of the recipe `tiny` by one Ray worker, and by two with twice the videos.

The cluster has room for two workers, on different nodes; benchmarks.two_nodes starts it, and this. Prints one JSON
document: videos of a worker; by number of workers, medians of the seconds and of a worker's processor seconds; workers
of each node when there were two.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence

import torch

from benchmarks.nodes import NODES, cpu_seconds
from benchmarks.overlap import recipe_of
from benchmarks.ray_nodes import actors
from worldr1.recipes.pool import PoolSettings
from worldr1.rewards.pool.ray_workers import ray_pool
from worldr1.rewards.types import Sample
from worldr1.rl.assemble import build_objective, training_prompts
from worldr1.rl.assemble_policy import load_policy
from worldr1.rl.batch import training_batch
from worldr1.rl.draws import step_draws
from worldr1.rl.scoring import decode, samples_of
from worldr1.rl.seeds import Stream

_BATCH = 2


def videos(groups: int) -> list[Sample]:
    """So many groups of 8 that the shipped model makes."""
    recipe = recipe_of(_BATCH, "local")
    policy, clip, size = load_policy(recipe), recipe.clip, recipe.schedule.group_size
    shape = policy.latent_shape(clip.frames, clip.height, clip.width)
    batch = training_batch(
        training_prompts(recipe).main, groups, size, clip.frames, shape, recipe.noise, recipe.seed, 0
    )
    draws = step_draws(Stream.ROLLOUT, recipe.seed, 0, len(batch.prompts))
    made = build_objective(recipe, policy).collect(policy, policy.encode(batch.prompts), batch.noise, draws, 0)
    return samples_of(batch, decode(policy, made.latents))


def measure(samples: Sequence[Sample], workers: int, rounds: int) -> tuple[list[tuple[float, float]], list[int]]:
    """Seconds and a worker's processor seconds, by round, as many videos for each worker; workers of each node."""
    settings = {"kind": "ray", "batch": _BATCH, "workers": [workers, workers]}
    pool = ray_pool(recipe_of(_BATCH, "ray").reward, PoolSettings.model_validate(settings))
    load = [*samples] * workers
    pool(load)  # starts the workers and compiles what there is
    crew = [actors(node, "Scorer") for node in NODES]
    numbers = [number for part in crew for number in part]
    taken = []
    for _ in range(rounds):
        spent, began = cpu_seconds(numbers), time.perf_counter()
        pool(load)
        taken.append((time.perf_counter() - began, (cpu_seconds(numbers) - spent) / workers))
    pool.close()
    while any(actors(node, "Scorer") for node in NODES):
        time.sleep(0.1)
    return taken, [len(part) for part in crew]


def main() -> None:
    """One worker and two in turn, twice, so that a load of the machine falls on both."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.weak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--groups", type=int, default=2, help="groups of 8 videos for each worker (2)")
    parser.add_argument("--rounds", type=int, default=5, help="that are counted, each time (5)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    samples = videos(given.groups)
    taken: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    for workers in (1, 2, 1, 2):
        measured, crew = measure(samples, workers, given.rounds)
        taken[workers] += measured
    seconds, cpu = ([statistics.median(row[place] for row in rows) for rows in taken.values()] for place in (0, 1))
    told = {"videos": len(samples), "seconds": seconds, "cpu": cpu, "scored_on": crew}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
