"""`python -m benchmarks.overlap`: how much of the reward's time a worker on another core hides behind sampling.

Samples and scores steps of the recipe `tiny`, one thread each, with the reward in this process and by one Ray worker in
turn. Prints one JSON document: medians of the seconds of sampling, of the wait for the scores after it, of the share
that was hidden, and whether videos and scores were the same bits.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numba
import torch
from torch import Tensor

from benchmarks.machine import commit, describe
from worldr1.policy.base import Policy
from worldr1.recipes import Recipe, load_recipe
from worldr1.rewards.types import Composer
from worldr1.rl.assemble import build_objective, build_scorer, training_prompts
from worldr1.rl.assemble_policy import load_policy
from worldr1.rl.batch import Batch, training_batch
from worldr1.rl.draws import step_draws
from worldr1.rl.objectives import Objective
from worldr1.rl.scored import Scored, sample_and_score
from worldr1.rl.seeds import Stream

logger = logging.getLogger("benchmarks")


@dataclass(frozen=True)
class Took:
    """Seconds of sampling, of the wait for scores after it, and the share of the scoring that was hidden."""

    sampling: float
    waiting: float
    hidden: float


@dataclass(frozen=True)
class Step:
    """What samples and scores the videos of a step."""

    recipe: Recipe
    policy: Policy
    objective: Objective

    def run(self, batch: Batch, step: int, composer: Composer) -> tuple[Took, Scored]:
        """Sample a batch and have it scored."""
        draws = step_draws(Stream.ROLLOUT, self.recipe.seed, step, len(batch.prompts))
        text, began = self.policy.encode(batch.prompts), time.perf_counter()
        at_once = self.recipe.sampling.micro_batch
        made = sample_and_score(self.policy, self.objective, composer, batch, text, draws, step, True, at_once)
        return Took(made.sampled - began, time.perf_counter() - made.sampled, made.hidden), made


def recipe_of(at_once: int, kind: str) -> Recipe:
    """The recipe `tiny`, so many videos at once."""
    content = load_recipe("tiny").model_dump()
    content["sampling"] |= {"micro_batch": at_once}
    content["pool"] |= {"batch": at_once, "kind": kind}
    return Recipe.model_validate(content)


def measure(at_once: int, groups: int, steps: int) -> dict[str, object]:
    """Both ways, in turn, after a few videos that compile and start what there is."""
    recipe, worker = recipe_of(at_once, "local"), build_scorer(recipe_of(at_once, "ray"))
    worker([])  # starts the process, which loads while this one does
    here, policy = build_scorer(recipe), load_policy(recipe)
    step, clip = Step(recipe, policy, build_objective(recipe, policy)), recipe.clip
    shape, prompts = policy.latent_shape(clip.frames, clip.height, clip.width), training_prompts(recipe).main
    size = recipe.schedule.group_size
    taken: list[tuple[Took, Took]] = []
    same = True
    for number in range(steps + 1):
        batch = training_batch(prompts, groups, size, clip.frames, shape, recipe.noise, recipe.seed, number)
        batch = batch if number else batch.rows(slice(0, at_once))
        (alone, one), (beside, other) = (step.run(batch, number, composer) for composer in (here, worker))
        same = same and _same(one, other)
        logger.info("here %s, worker %s, same bits: %s", alone, beside, same)
        if number:
            taken.append((alone, beside))
    alone, beside = (_median(took) for took in zip(*taken, strict=True))
    return {
        "videos": groups * size,
        "at_once": at_once,
        "here": asdict(alone),
        "worker": asdict(beside),
        "hidden_of_the_reward_here": 1 - beside.waiting / alone.waiting,
        "speedup": (alone.sampling + alone.waiting) / (beside.sampling + beside.waiting),
        "same_bits": same,
    }


def _median(took: Sequence[Took]) -> Took:
    rows = [asdict(one) for one in took]
    return Took(**{name: statistics.median(row[name] for row in rows) for name in rows[0]})


def _same(one: Scored, other: Scored) -> bool:
    def bits(made: Scored) -> list[Tensor]:
        scores = [made.scores.total, *made.scores.components.values()]
        return [made.rollout.latents, *(values.float().view(torch.int32) for values in scores)]

    return all(torch.equal(left, right) for left, right in zip(bits(one), bits(other), strict=True))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overlap", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--at-once", type=int, default=2, help="videos that are sampled, and scored, at once (2)")
    parser.add_argument("--groups", type=int, default=4, help="groups of 8 videos in a step (4)")
    parser.add_argument("--steps", type=int, default=5, help="steps that are counted (5)")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}  # Ray's workers are nice by 15 otherwise
    result = {"commit": commit(), "machine": describe(), **measure(given.at_once, given.groups, given.steps)}
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
