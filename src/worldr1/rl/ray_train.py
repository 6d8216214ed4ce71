"""One run by processes that Ray Train starts, here or on a cluster: the same trainer, another way to its processes."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from worldr1.recipes import Recipe
from worldr1.rl.distributed import PATIENCE, joined
from worldr1.rl.launch import refuse_held, resume, start
from worldr1.rl.run import RunDirectory

try:
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
except ImportError as error:
    raise ImportError('--ray-workers needs Ray Train; install it: pip install "worldr1[ray-train]"') from error

_LOOK_UP = 1.0
"""Seconds between two looks whether the run shall stop."""


class Board:
    """What the run's processes and the one that started them tell each other; an actor beside them."""

    def __init__(self) -> None:
        self._asked = False
        self._stopped = False
        self._problem = ""

    def ask(self) -> None:
        """The run shall save and stop."""
        self._asked = True

    def asked(self) -> bool:
        """Whether it shall."""
        return self._asked

    def tell(self, stopped: bool, problem: str = "") -> None:
        """How the main process ended, or what is wrong by the first that met something."""
        self._stopped = stopped
        self._problem = self._problem or problem

    def told(self) -> tuple[bool, str]:
        """Whether the run stopped before its end, and what was wrong."""
        return self._stopped, self._problem


def train_by_ray(
    recipe: Recipe, root: Path, workers: int, goes_on: bool, stopping: Callable[[], bool] = lambda: False
) -> bool:
    """Train by so many processes of the cluster that Ray finds (`RAY_ADDRESS`), or of one of this machine.

    Each has a GPU where the cluster has any. They work where this process does: its folder, the run directory and the
    weights must lie where all machines see them. What they tell each other is what they would under torchrun.

    Args:
        recipe: the settings.
        root: the run directory.
        workers: the number of processes.
        goes_on: whether to resume the run in `root`; otherwise it is a new one.
        stopping: asked about every second whether to end the running step, save and stop.

    Returns:
        Whether it stopped before its end, as `stopping` or the drain of a machine asked.

    Raises:
        ValueError: as `launch.start` and `launch.resume`.
        ChildProcessError: a process was lost.
    """
    if not goes_on and RunDirectory(root).recipe.exists():
        refuse_held(root)
    if not ray.is_initialized():
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            include_dashboard=False,
            logging_level=logging.WARNING,
            runtime_env={"worker_process_setup_hook": _quiet},
        )
    board: Any = ray.remote(Board).options(num_cpus=0).remote()
    own = root.absolute() / "ray"
    trainer = TorchTrainer(
        _train,
        train_loop_config={
            "recipe": recipe.model_dump(mode="json"),
            "root": str(root.absolute()),
            "goes_on": goes_on,
            "folder": os.getcwd(),
            "board": board,
        },
        torch_config=TorchConfig(timeout_s=int(PATIENCE.total_seconds())),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=ray.cluster_resources().get("GPU", 0) > 0),
        run_config=RunConfig(name=own.name, storage_path=str(own.parent)),
    )
    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(trainer.fit)
        try:
            while not wait([ended], _LOOK_UP).done:
                if stopping():
                    ray.get(board.ask.remote())
            failure = ended.exception()
            stopped, problem = ray.get(board.told.remote())
        finally:
            ray.shutdown()
            shutil.rmtree(own, ignore_errors=True)
    if problem:
        raise ValueError(problem) from failure
    if failure is not None:
        raise ChildProcessError(
            f"a process of Ray Train was lost; go on with `worldr1 train --resume {root}`"
        ) from failure
    return bool(stopped)


def _quiet() -> None:
    """In each process of Ray: what Ray Train says again and again where no dashboard runs."""
    logging.getLogger("ray.train.v2._internal.execution.controller.placement_group_cleaner").setLevel(logging.ERROR)


def _train(plan: dict[str, Any]) -> None:
    """What each process does; Ray Train calls it again when it begins anew after a machine was taken away."""
    board, root = plan["board"], Path(plan["root"])
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("worldr1").setLevel(logging.INFO)
    os.chdir(plan["folder"])
    recipe = Recipe.model_validate(plan["recipe"])
    drained = getattr(ray.train, "get_preemption_info", lambda: None)

    def stopping() -> bool:
        return drained() is not None or bool(ray.get(board.asked.remote()))

    with joined() as world:
        goes_on = world.agree(plan["goes_on"] or RunDirectory(root).recipe.is_file())
        try:
            stopped = (resume if goes_on else start)(recipe, root, stopping)
        except (ValueError, OSError, ImportError) as error:
            ray.get(board.tell.remote(False, str(error)))
            raise
        if world.main:
            ray.get(board.tell.remote(stopped))
