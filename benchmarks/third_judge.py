"""`python -m benchmarks.third_judge RUN`: base against trained by geometry alone.

`rigidity` follows points and asks whether they move as those of one rigid scene. No reward, guard or evaluator of a run
uses it, so that nothing was trained or chosen to please it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from torch import Tensor

from benchmarks.results import RESULTS, save
from worldr1.evaluation.document import plain
from worldr1.evaluation.model import draw, through_vae
from worldr1.evaluation.prompts import HeldOutPrompt, ground_truth, held_out_prompts
from worldr1.evaluation.rigidity import rigidity
from worldr1.evaluation.statistics import gap_closed, mean_of, paired_bootstrap
from worldr1.pipelines import base_of
from worldr1.recipes import load_recipe
from worldr1.rl.assemble_policy import load_sampler
from worldr1.rl.run import RunDirectory


def main(run: tyro.conf.Positional[Path], prompts: int = 64, seed: int = 2_718, results: Path = RESULTS) -> None:
    """Rigidity of clips of static held-out prompts, from the same noise for base and trained model.

    Args:
        run: directory of a finished run of the tiny world.
        prompts: static held-out prompts.
        seed: of prompts and noise.
        results: folder for the table and the numbers, by date.
    """
    recipe = load_recipe(RunDirectory(run).recipe)
    shown = held_out_prompts(prompts, seed, recipe.clip.frames)
    base, trained = load_sampler(base_of(recipe), recipe), load_sampler(str(run), recipe)
    truth = ground_truth(shown, recipe.clip.height, recipe.clip.width)
    videos = {
        "base": draw(base, shown, recipe, seed),
        "trained": draw(trained, shown, recipe, seed),
        "ground truth": through_vae(base, truth, recipe.sampling.micro_batch),
    }
    values = {
        name: np.array([_value(*pair) for pair in zip(shown, made, strict=True)]) for name, made in videos.items()
    }
    found = {
        "extent": {"prompts": prompts, "seed": seed},
        "rigidity": {name: asdict(paired_bootstrap([value], mean_of)) for name, value in values.items()},
        "gap_closed": asdict(paired_bootstrap(list(values.values()), gap_closed)),
        "trained_above_base": float((values["trained"] > values["base"]).mean()),
        "missing": {name: int(np.isnan(value).sum()) for name, value in values.items()},
    }
    path = save(results, "third-judge", plain(found), table)
    sys.stdout.write(f"{path.with_suffix('.md').read_text('utf-8')}\nwrote {path}\n")


def _value(held_out: HeldOutPrompt, video: Tensor) -> float:
    height, width = video.shape[2:]
    return rigidity(video, float(held_out.trajectory.intrinsics(height, width)[0, 0]))


def table(content: Mapping[str, Any]) -> str:
    """Means, their intervals over prompts, and the gap closed in Markdown."""
    machine = ", ".join(f"{name} {value}" for name, value in content["machine"].items())
    gap = content["gap_closed"]
    lines = [
        f"# Base against trained by rigidity, {content['date'][:10]}, commit {content['commit']}\n",
        f"{machine}. {content['extent']['prompts']} static held-out prompts, seed {content['extent']['seed']}.\n",
        "| clips of | rigidity (95%) | missing |",
        "|---|---|---|",
    ]
    for name, mean in content["rigidity"].items():
        interval = f"{mean['value']:.3f} ({mean['low']:.3f} to {mean['high']:.3f})"
        lines.append(f"| {name} | {interval} | {content['missing'][name]} |")
    lines.append(
        f"\nGap closed {gap['value']:.0%} ({gap['low']:.0%} to {gap['high']:.0%}); the trained model's clip is the "
        f"more rigid one for {content['trained_above_base']:.0%} of the prompts."
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    tyro.cli(main)
