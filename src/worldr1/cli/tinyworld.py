"""`worldr1 tinyworld`: where the shipped pipeline lies, how it is built again, and what it draws."""

from __future__ import annotations

import json as json_
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

logger = logging.getLogger(__name__)


def parse(words: Sequence[str]) -> int:
    """Run `worldr1 tinyworld path`, `build` or `modes`, with options."""
    import tyro

    tyro.extras.subcommand_cli_from_dict(
        {"path": path, "build": build, "modes": modes}, args=words, prog="worldr1 tinyworld"
    )
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


def modes(
    model: str = "tiny", count: int = 500, seed: int = 0, out: Path = Path("modes.png"), json: bool = False
) -> None:
    """Show how consistent the samples of a model are: a histogram of the re-rendering PSNR with frames of both humps.

    Args:
        model: 'tiny', a run directory or a diffusers directory.
        count: samples, one for each held-out prompt.
        seed: of prompts and noise.
        out: the picture.
        json: print one JSON document, and nothing else, on standard output.

    Raises:
        ValueError: the picture's name has no ending of a picture.
    """
    from PIL import Image

    from worldr1.evaluation.samples import sample_modes
    from worldr1.recipes import load_recipe
    from worldr1.rl.assemble_policy import load_sampler

    if out.suffix.lower() not in Image.registered_extensions():
        raise ValueError(f"{out} has no ending of a picture; give one such as {out.with_suffix('.png')}")
    recipe = load_recipe("tiny")
    policy = load_sampler(model, recipe)
    found = sample_modes(policy, recipe, count, seed, out)
    if json:
        sys.stdout.write(json_.dumps(found, indent=1) + "\n")
        return
    low, high = found["means"]
    sys.stdout.write(
        f"{count} samples: humps at {low:.1f} and {high:.1f} dB (ground truth {found['psnr_ground_truth']:.1f}), "
        f"separation {found['separation']:.2f}, {100 * found['fraction_above']:.0f}% above the valley; {out}\n"
    )


class _Progress:
    """Tells each stage's progress, a line for every twentieth."""

    def __init__(self) -> None:
        self._told = ("", -1)

    def __call__(self, stage: str, done: float) -> None:
        now = (stage, int(20 * done))
        if now != self._told:
            logger.info("%s: %.0f%%", stage, 100 * done)
            self._told = now
