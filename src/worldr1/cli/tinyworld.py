"""`worldr1 tinyworld`: where the shipped pipeline lies, and how it is built again."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

logger = logging.getLogger(__name__)


def parse(words: Sequence[str]) -> int:
    """Run `worldr1 tinyworld path` or `worldr1 tinyworld build [options]`."""
    import tyro

    tyro.extras.subcommand_cli_from_dict({"path": path, "build": build}, args=words, prog="worldr1 tinyworld")
    return 0


def path() -> None:
    """Print the directory of the shipped tiny pipeline, a diffusers WanPipeline."""
    from worldr1.tinyworld import pipeline_dir

    sys.stdout.write(f"{pipeline_dir()}\n")


def build(
    out: Path = Path("build/tinyworld/pipeline"),
    work: Path = Path("build/tinyworld/work"),
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Render the corpus and train the tiny pipeline again: hours on a CPU, minutes on a GPU; goes on where it stopped.

    Args:
        out: where the pipeline directory is written.
        work: what is kept to go on from.
        seed: of weights, corpus, batches and noise.
        device: where it trains.
    """
    import torch

    from worldr1.tinyworld.build import BuildSettings
    from worldr1.tinyworld.build import build as rebuild

    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    rebuild(work, out, BuildSettings(seed=seed, device=chosen), _Progress())
    logger.info("the pipeline lies in %s", out)


class _Progress:
    """Tells each stage's progress, a line for every twentieth."""

    def __init__(self) -> None:
        self._told = ("", -1)

    def __call__(self, stage: str, done: float) -> None:
        now = (stage, int(20 * done))
        if now != self._told:
            logger.info("%s: %.0f%%", stage, 100 * done)
            self._told = now
