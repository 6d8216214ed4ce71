"""Start a run in a fresh directory, or go on with one that stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from fnmatch import fnmatch
from pathlib import Path
from typing import NoReturn

from worldr1.data.atomic import remove_unfinished
from worldr1.recipes import Recipe, load_recipe, save_recipe
from worldr1.rl.distributed import World, joined
from worldr1.rl.full_disk import full_disk_told
from worldr1.rl.run import RunDirectory, writing

logger = logging.getLogger(__name__)

MAY_CHANGE = (
    "schedule.total_steps",
    "schedule.max_minutes",
    "optimiser.extrapolate",
    "checkpoint.every",
    "checkpoint.keep",
    "evaluation.videos",
    "parallel.strategy",
    "pool.*",
)
"""Settings that a resumed run may change; all others decide how it learns."""
OTHER_RESULT = frozenset({"schedule.total_steps", "schedule.max_minutes", "optimiser.extrapolate"})
"""Those of them that give the run other weights, for which an evaluation of the former ones does not speak."""


def start(recipe: Recipe, root: Path, stopping: Callable[[], bool] = lambda: False) -> bool:
    """Train from the beginning.

    Args:
        recipe: the settings.
        root: the run directory.
        stopping: asked after every step whether to save and stop.

    Returns:
        Whether it stopped before its end, as `stopping` asked.

    Raises:
        ValueError: the directory holds a run already, or another process writes to it.
        OSError: the disk is full.
    """
    with joined() as world:
        run = RunDirectory(Path(world.agree(str(root))))
        with full_disk_told(run), _writing(run, world):
            if world.agree(run.recipe.exists()):
                refuse_held(root)
            return _train(recipe, run, world, False, stopping)


def resume(recipe: Recipe, root: Path, stopping: Callable[[], bool] = lambda: False) -> bool:
    """Train on from the newest intact checkpoint, with the run's own recipe or one that differs in `MAY_CHANGE` only.

    Arguments and result are those of `start`.

    Raises:
        FileNotFoundError: the directory holds no run.
        ValueError: the recipe changes what must stay, the base's weights are others than when the run began, another
            process writes to the directory, or no checkpoint is intact.
        OSError: the disk is full.
    """
    run = RunDirectory(root)
    changed = changes(recipe, stored_recipe(root))
    forbidden = [name for name in changed if not any(fnmatch(name, may) for may in MAY_CHANGE)]
    if forbidden:
        raise ValueError(f"{forbidden[0]} cannot change in a run that goes on; only {', '.join(MAY_CHANGE)} can")
    with joined() as world, full_disk_told(run), _writing(run, world):
        return _train(recipe, run, world, True, stopping)


def refuse_held(root: Path) -> NoReturn:
    """Say that a directory holds a run already, and what to do: a ValueError."""
    raise ValueError(f"{root} holds a run already; go on with `worldr1 train --resume {root}` or give another --run")


def stored_recipe(root: Path) -> Recipe:
    """The recipe of a run directory.

    Raises:
        FileNotFoundError: the directory holds no run.
    """
    run = RunDirectory(root)
    if not run.recipe.is_file():
        raise FileNotFoundError(f"{root} holds no run: there is no recipe.yaml in it")
    return load_recipe(run.recipe)


def changes(first: Recipe, second: Recipe) -> list[str]:
    """Dotted names of the settings in which two recipes differ."""
    one, other = _flat(first.model_dump()), _flat(second.model_dump())
    return [name for name in {**one, **other} if one.get(name) != other.get(name)]


def _writing(run: RunDirectory, world: World) -> AbstractContextManager[None]:
    return writing(run) if world.main else nullcontext()


def _train(
    recipe: Recipe, run: RunDirectory, world: World, resume: bool, stopping: Callable[[], bool] = lambda: False
) -> bool:
    from worldr1.evaluation.report import write_report
    from worldr1.rl.assemble import assemble
    from worldr1.rl.base_weights import require_same_base, store_base
    from worldr1.rl.trainer import Trainer

    logger.info("run directory %s", run.root)
    if resume:
        if world.main:
            remove_unfinished(run.root)
        require_same_base(run, recipe)
    parts = assemble(recipe, world)
    if world.main:
        if not resume:
            store_base(run, recipe)
        elif not OTHER_RESULT.isdisjoint(changes(recipe, stored_recipe(run.root))):
            run.forget_evaluation()
        save_recipe(recipe, run.recipe)
    stopped = Trainer(recipe, parts, run, world, stopping).fit(resume)
    if world.main and not stopped:
        logger.info("report %s", write_report(run.root))
    world.barrier()
    return stopped


def _flat(tree: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat
