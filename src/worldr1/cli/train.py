"""`worldr1 train`: post-train a model as a recipe says."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from worldr1.recipes import Recipe, load_recipe
from worldr1.rl.launch import resume, start, stored_recipe

logger = logging.getLogger(__name__)

INTERRUPTED = 130


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


def parse(words: Sequence[str]) -> int:
    """Run `worldr1 train [RECIPE] [--field value ...]` or `worldr1 train --resume RUN`."""
    resumed = _value_of("--resume", words)
    named = words[0] if words and not words[0].startswith("-") else "tiny"
    recipe = stored_recipe(Path(resumed)) if resumed else load_recipe(named)
    arguments = tyro.cli(
        Arguments,
        args=words,
        default=Arguments(settings=recipe, recipe=named),
        prog="worldr1 train",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    if arguments.resume is not None and arguments.run is not None:
        raise ValueError("give either --run for a new run or --resume for an old one, not both")
    root = arguments.resume or arguments.run or _fresh_directory(arguments.settings.name)
    try:
        if arguments.resume is not None:
            resume(arguments.settings, root)
        else:
            start(arguments.settings, root)
    except KeyboardInterrupt:
        logger.warning("interrupted; go on with: worldr1 train --resume %s", root)
        return INTERRUPTED
    logger.info("done; see %s", root)
    return 0


def _fresh_directory(name: str) -> Path:
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def _value_of(flag: str, words: Sequence[str]) -> str | None:
    for place, word in enumerate(words):
        if word == flag and place + 1 < len(words):
            return words[place + 1]
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None
