"""`python -m benchmarks.best_of RUN`: what the best of several samples gains, of the base and of the trained model.

Candidates are made of held-out prompts and judged as `worldr1 generate --best-of` does, and measured as
`worldr1 evaluate` does. Every candidate is measured, so a "best of k" is the mean over all disjoint groups of k.
The judge is kin to the headline: both redraw frames along estimated cameras. `fitted` shares nothing with it: splats
fitted along the asked cameras, frames that were left out compared.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tyro
from torch import Tensor

from benchmarks.parts import part
from benchmarks.results import RESULTS, save
from worldr1.evaluation.document import plain
from worldr1.evaluation.fitted import fitted_scores
from worldr1.evaluation.measure import measure
from worldr1.evaluation.model import draw, through_vae
from worldr1.evaluation.prompts import HeldOutPrompt, ground_truth, held_out_prompts
from worldr1.evaluation.statistics import Estimate, gap_closed, mean_of, paired_bootstrap
from worldr1.generation import Judge, by_score
from worldr1.pipelines import base_of
from worldr1.policy.diffusers_policy import DiffusersPolicy
from worldr1.recipes import Recipe, load_recipe
from worldr1.rewards.compose import InBatches, RewardComposer
from worldr1.rewards.recon import ReconReward
from worldr1.rewards.types import Sample
from worldr1.rl.assemble import build_composer
from worldr1.rl.assemble_policy import load_sampler
from worldr1.rl.run import RunDirectory

logger = logging.getLogger(__name__)
COUNTS = (1, 2, 4, 8)
HEADLINE = ("psnr", "fitted_psnr")
GUARDS = ("camera_motion", "rot_err_deg", "dynamic_degree", "objects")
MEASURES = (*HEADLINE, "fitted_ssim", "fitted_lpips", "recon", *GUARDS)
_HEAD = ("model", "chosen by", "best of", "PSNR", "gap closed", "fitted PSNR", "fitted gap closed", "fitted LPIPS")
_HEAD_GUARDS = ("camera motion", "RotErr", "dynamic degree", "objects")
Columns = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Task:
    """What is measured of every candidate.

    Attributes:
        prompts: static ones first.
        recipe: of the run.
        judges: by name.
        composer: the recipe's reward, for its reconstructor and its S_recon.
        fitted: how many of the prompts the second evaluator sees.
        seed: of the first candidates' noise.
    """

    prompts: Sequence[HeldOutPrompt]
    recipe: Recipe
    judges: Mapping[str, Judge]
    composer: RewardComposer
    fitted: int
    seed: int


def main(
    run: tyro.conf.Positional[Path],
    prompts: int = 64,
    dynamic: int = 32,
    fitted: int = 24,
    seed: int = 2_718,
    out: Path = Path("runs/best-of"),
    results: Path = RESULTS,
) -> None:
    """Compare single samples and the best of 2, 4 and 8 of a run's base and of what it trained; goes on where it was
    interrupted.

    Args:
        run: directory of a finished run of the tiny world.
        prompts: static held-out prompts.
        dynamic: dynamic ones, for the dynamic degree.
        fitted: how many of the static prompts the second evaluator sees.
        seed: of prompts and noise; the first candidates are those of `worldr1 evaluate`.
        out: folder for the candidates' numbers.
        results: folder for the table and the numbers, by date.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = load_recipe(RunDirectory(run).recipe)
    composer = build_composer(recipe)
    shown = held_out_prompts(prompts, seed, recipe.clip.frames)
    shown += held_out_prompts(dynamic, seed, recipe.clip.frames, dynamic=True)
    judges: dict[str, Judge] = {"score": by_score, "recipe": InBatches(composer, 32)}
    task = Task(shown, recipe, judges, composer, fitted, seed)
    setting = {"prompts": prompts, "dynamic": dynamic, "fitted": fitted, "seed": seed}
    base = load_sampler(base_of(recipe), recipe)
    models = {"base": base, "trained": load_sampler(str(run), recipe)}
    known = part(out / "truth.json", setting, partial(_truth, base, task))
    made: dict[str, Columns] = {}
    seconds: list[dict[str, float]] = []
    for model, policy in models.items():
        taken = []
        for number in range(COUNTS[-1]):
            kept = setting | {"run": str(run), "model": model, "number": number}
            taken.append(part(out / f"{model}-{number}.json", kept, partial(candidate, policy, task, number)))
            logger.info("%s %d: mean PSNR %.2f dB", model, number, np.nanmean(taken[-1]["columns"]["psnr"]))
        seconds += [one["seconds"] for one in taken]
        made[model] = {name: np.array([one["columns"][name] for one in taken]) for name in taken[0]["columns"]}
    found = {
        "extent": setting | {"candidates": COUNTS[-1]},
        "rows": table_rows(made, {name: np.array(column) for name, column in known.items()}, tuple(judges)),
        "seconds_a_clip": {name: float(np.median([one[name] for one in seconds])) for name in seconds[0]},
    }
    path = save(results, "best-of", plain(found), table)
    sys.stdout.write(f"{path.with_suffix('.md').read_text('utf-8')}\nwrote {path}\n")


def candidate(policy: DiffusersPolicy, task: Task, number: int) -> dict[str, dict[str, Any]]:
    """All measures of one sample of every prompt, what the judges say, and the processor seconds of making a clip."""
    began = time.process_time()
    videos = draw(policy, task.prompts, task.recipe, task.seed + number)
    seconds = {"sampling": time.process_time() - began}
    columns = measured(task, videos)
    samples = [Sample(v, p.prompt, p.trajectory) for v, p in zip(videos, task.prompts, strict=True)]
    for name, judge in task.judges.items():
        began = time.process_time()
        columns[name] = judge(samples).total.tolist()
        seconds[f"judging by {name}"] = time.process_time() - began
    return {"columns": columns, "seconds": {name: spent / len(videos) for name, spent in seconds.items()}}


def _truth(base: DiffusersPolicy, task: Task) -> dict[str, list[float]]:
    clip = task.recipe.clip
    rendered = ground_truth(task.prompts, clip.height, clip.width)
    return measured(task, through_vae(base, rendered, task.recipe.sampling.micro_batch))


def measured(task: Task, videos: Tensor) -> dict[str, list[float]]:
    """`MEASURES` of one clip for each prompt, nan where they do not apply."""
    recon = task.composer.rewards.get("recon", ReconReward())
    assert task.composer.reconstructor is not None
    assert isinstance(recon, ReconReward)
    found = measure(task.prompts, videos, {"recon": recon}, task.composer.reconstructor).columns
    fits = fitted_scores(videos[: task.fitted], [p.trajectory for p in task.prompts[: task.fitted]], lpips=recon.lpips)
    rest = [float("nan")] * (len(videos) - len(fits))
    for name in ("psnr", "ssim", "lpips"):
        found[f"fitted_{name}"] = [float(getattr(fit, name)) for fit in fits] + rest
    return {name: [float(value) for value in found[name]] for name in MEASURES}


def best_of(values: npt.NDArray[np.float64], totals: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Mean [prompts] over disjoint groups of `count` candidates of the value of the group's best, by total.

    A candidate without a total never wins against one that has it; of equals the first is taken.

    Args:
        values, totals: [candidates, prompts]; `count` divides the number of candidates.
    """
    groups = np.where(np.isnan(totals), -np.inf, totals).reshape(-1, count, totals.shape[1])
    winner = groups.argmax(axis=1)[:, None]
    kept = np.take_along_axis(values.reshape(groups.shape), winner, axis=1)[:, 0]
    return np.asarray(kept.mean(axis=0))


def table_rows(
    made: Mapping[str, Columns], truth: Columns, judges: Sequence[str], counts: Sequence[int] = COUNTS
) -> list[dict[str, Any]]:
    """One row for each model, judge and count, with the single sample of the base as what the gap is counted from."""
    rows = []
    single = {name: made["base"][name].mean(axis=0) for name in HEADLINE}
    for model, columns in made.items():
        for judge, count in [("", 1), *((judge, count) for count in counts[1:] for judge in judges)]:
            totals = columns[judge] if judge else np.zeros_like(columns["psnr"])
            picked = {name: best_of(columns[name], totals, count) for name in MEASURES}
            row: dict[str, Any] = {"model": model, "judge": judge, "count": count}
            row["means"] = {name: asdict(_estimate([picked[name]], mean_of)) for name in MEASURES}
            row["gap_closed"] = {
                name: asdict(_estimate([single[name], picked[name], truth[name]], gap_closed)) for name in HEADLINE
            }
            rows.append(row)
    values = {name: asdict(_estimate([truth[name]], mean_of)) for name in MEASURES}
    return [*rows, {"model": "ground truth", "judge": "", "count": 1, "means": values, "gap_closed": {}}]


def _estimate(columns: list[npt.NDArray[np.float64]], statistic: Callable[..., npt.NDArray[np.float64]]) -> Estimate:
    if not np.all([np.isfinite(c) for c in columns], axis=0).any():
        return Estimate(float("nan"), float("nan"), float("nan"), n=0)
    return paired_bootstrap(columns, statistic)


def table(content: Mapping[str, Any]) -> str:
    """Machine and rows in Markdown; intervals are 95%, by paired bootstrap over prompts."""
    machine = ", ".join(f"{name} {value}" for name, value in content["machine"].items())
    extent = content["extent"]
    cost = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in content["seconds_a_clip"].items())
    heads = [*_HEAD, *_HEAD_GUARDS]
    lines = [
        f"# The best of several samples, {content['date'][:10]}, commit {content['commit']}\n",
        f"{machine}. {extent['prompts']} static and {extent['dynamic']} dynamic held-out prompts, the second evaluator "
        f"on {extent['fitted']}; seed {extent['seed']}. Processor time for a clip: {cost}.\n",
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
    ]
    for row in content["rows"]:
        means, gaps = row["means"], row["gap_closed"]
        cells = [row["model"], row["judge"], str(row["count"])]
        for name in HEADLINE:
            cells += [_number(means[name], 2), _share(gaps[name]) if gaps else ""]
        cells += [_number(means["fitted_lpips"], 4), _number(means["camera_motion"], 3)]
        cells += [_number(means["rot_err_deg"], 2), _number(means["dynamic_degree"], 3), _number(means["objects"], 3)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _number(estimate: Mapping[str, Any], digits: int) -> str:
    return "" if estimate["value"] is None else f"{estimate['value']:.{digits}f}"


def _share(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return ""
    return f"{estimate['value']:.0%} ({estimate['low']:.0%} to {estimate['high']:.0%})"


if __name__ == "__main__":
    tyro.cli(main)
