"""A training step of World-R1-Small or -Large on one CUDA device, in one call that builds, checks and times.

`python -m benchmarks.gpu.policy --recipe world-r1-small` (or `world-r1-large`) builds every network of the recipe at
its published size with random weights, on the device and without any download: text encoder, Wan2.1, Depth Anything 3,
Qwen3-VL and HPSv3. A group of two videos is then encoded, sampled, decoded, scored and learned from by the library's
own code; the update must be finite, move the adapter and nothing else. Written are seconds, peak memory and what stayed
in memory, for each stage, and the share of the card's matrix rate that the transformer's forward reaches. Times do not
depend on weights; scores and videos mean nothing. Where the rewards do not fit, rollout and update are timed alone.

`--tiny` runs the same code in tiny configurations of the same classes, on the CPU if there is no device: no figures.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.logging import RichHandler

from benchmarks.gpu.clock import GIB, Clock, matrix_rate
from benchmarks.gpu.device import describe_device, device_name, version_of
from benchmarks.gpu.report import NEEDED, forward_share, markdown, seconds_per_step, sentences
from benchmarks.gpu.step import FORWARDS, run_step
from benchmarks.random_models.shapes import VIDEOS, Size, full, tiny
from benchmarks.results import save
from worldr1.planning.shapes import PipelineShape
from worldr1.planning.work import measure_forward
from worldr1.recipes import load_recipe

logger = logging.getLogger("benchmarks.gpu")
RESULTS = Path(__file__).parent / "results"
RECIPES = ("world-r1-small", "world-r1-large")
_PACKAGES = ("transformers", "peft", "depth-anything-3")


def main() -> None:
    """The command line: ends with 1 where there is no device, or rollout or update did not fit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.policy", description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", choices=RECIPES, default=RECIPES[0], help=f"whose step to run ({RECIPES[0]})")
    parser.add_argument("--tiny", action="store_true", help="tiny configurations, also on the CPU: no figures")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (benchmarks/gpu/results)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not options.tiny:
        parser.exit(1, "No CUDA device: run this where one is, or with --tiny to see that it works.\n")
    size = tiny(options.recipe) if options.tiny else full(options.recipe)
    try:
        found = measure(size, device)
    except ImportError as error:
        parser.exit(1, f"{error}\n")
    path = write(options.out, found, device)
    for said in sentences(found):
        logger.info("%s", said)
    logger.info("wrote %s and %s", path, path.with_suffix(".md").name)
    done = {stage["name"] for stage in found["stages"] if stage["seconds"] is not None}
    if not done.issuperset(NEEDED):
        parser.exit(1, f"Too little memory for {', '.join(name for name in NEEDED if name not in done)}.\n")


def measure(size: Size, device: str) -> dict[str, Any]:
    """One training step of a recipe, and what its stages took; raises as `run_step`."""
    recipe, clock = size.recipe, Clock(device)
    done = run_step(size, clock)
    stages = [asdict(stage) for stage in clock.stages]
    spent, forward = clock.seconds("forward"), None
    if spent is not None:
        flops = measure_forward(PipelineShape(size.transformer, size.vae, 0), recipe.model, recipe.clip).flops
        forward = forward_share(flops, spent / FORWARDS, matrix_rate(device, 8192 if device == "cuda" else 256))
    schedule = load_recipe(recipe.name).schedule
    per_step = schedule.groups * schedule.group_size
    return {
        "recipe": recipe.name,
        "tiny": size.tiny,
        "clip": recipe.clip.model_dump(),
        "videos": VIDEOS,
        "videos_per_step": per_step,
        "parameters": dict(done.parameters),
        "stages": stages,
        "forward": forward,
        "reserved_gib": torch.cuda.max_memory_reserved() / GIB if device == "cuda" else None,
        "seconds_per_step": seconds_per_step(stages, VIDEOS, per_step),
        "scores": dict(done.scores),
        "losses": list(done.losses),
    }


def write(folder: Path, found: dict[str, Any], device: str) -> Path:
    """Write `<date>-<recipe>-<device>.json` and the table beside it; returns the path of the first."""
    versions = {name: version_of(name) for name in _PACKAGES}
    name = f"{found['recipe']}{'-tiny' if found['tiny'] else ''}-{device_name(device)}"
    return save(folder, name, found, markdown, **describe_device(device), **versions)


if __name__ == "__main__":
    main()
