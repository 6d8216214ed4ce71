"""`worldr1 train`: post-train a model as a recipe says."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from worldr1.cli.main import DONE, INTERRUPTED, PREEMPTED, WrongUsage
from worldr1.cli.settings import parse_settings
from worldr1.recipes import Recipe, load_recipe
from worldr1.rl.launch import resume, start, stored_recipe
from worldr1.rl.preemption import listening

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Arguments:
    """Post-train a model by reinforcement learning; every setting of the recipe can be given here too."""

    settings: Annotated[Recipe, tyro.conf.arg(name="")]
    recipe: tyro.conf.Positional[str] = "tiny"
    """Name of a shipped recipe, or a YAML file."""
    run: Path | None = None
    """Directory to write; runs/<recipe>-<date>-<time> when not given."""
    resume: Path | None = None
    """Go on with the run in this directory instead of starting one."""
    ray_workers: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Train by N processes that Ray Train starts on the cluster of RAY_ADDRESS, or else here; 0 trains in this one."""
    dry_run: bool = False
    """Load nothing; tell memory, time, network evaluations and missing weights."""
    json: bool = False
    """With --dry-run: print one JSON document."""
    matrix_tflops: float = 400.0
    """With --dry-run: the bfloat16 matrix rate that the GPU keeps up, in TFLOP/s."""


def parse(words: Sequence[str]) -> int:
    """Run `worldr1 train [RECIPE] [--field value ...] [--dry-run]` or `worldr1 train --resume RUN`."""
    resumed = _value_of("--resume", words)
    first = words[0] if words and not words[0].startswith("-") else None
    if resumed and first is not None:
        raise ValueError(f"--resume goes on with the run's own recipe; leave out {first}")
    named = first or "tiny"
    recipe = stored_recipe(Path(resumed)) if resumed else load_recipe(named)
    arguments = parse_settings(
        Arguments, words, Arguments(settings=recipe, recipe=named), prog="worldr1 train", whole=Recipe
    )
    if arguments.recipe != named:
        raise ValueError(f"{arguments.recipe} is read as a recipe; put it before all settings, or leave it out")
    if arguments.resume is not None and arguments.run is not None:
        raise ValueError("give either --run for a new run or --resume for an old one, not both")
    if arguments.json and not arguments.dry_run:
        raise ValueError("--json goes with --dry-run; a run writes its metrics to metrics.jsonl")
    if arguments.ray_workers < 0:
        raise WrongUsage(f"--ray-workers is {arguments.ray_workers}; it must be a number of processes, or 0 for none")
    if arguments.dry_run:
        from worldr1.cli.dry_run import dry_run

        return dry_run(arguments.settings, arguments.json, arguments.matrix_tflops)
    root = arguments.resume or arguments.run or _fresh_directory(arguments.settings.name)
    try:
        with listening() as stopping:
            stopped = _train(arguments, root, stopping)
    except torch.OutOfMemoryError as error:
        raise ValueError(
            f"the GPU ran out of memory; see what each stage needs with `worldr1 train {named} --dry-run`, and lower "
            "sampling.micro_batch, turn on model.gradient_checkpointing and model.vae_tiling, or take a larger GPU"
        ) from error
    except KeyboardInterrupt:
        logger.warning("interrupted; go on with: worldr1 train --resume %s", root)
        return INTERRUPTED
    if stopped:
        logger.warning("stopped by a signal, all steps saved; go on with: worldr1 train --resume %s", root)
        return PREEMPTED
    logger.info("done; see %s", root)
    return DONE


def _train(arguments: Arguments, root: Path, stopping: Callable[[], bool]) -> bool:
    if arguments.ray_workers:
        from worldr1.rl.ray_train import train_by_ray

        goes_on = arguments.resume is not None
        return train_by_ray(arguments.settings, root, arguments.ray_workers, goes_on, stopping)
    return (start if arguments.resume is None else resume)(arguments.settings, root, stopping)


def _fresh_directory(name: str) -> Path:
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def _value_of(flag: str, words: Sequence[str]) -> str | None:
    for place, word in enumerate(words):
        if word == flag and place + 1 < len(words):
            return words[place + 1]
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None
