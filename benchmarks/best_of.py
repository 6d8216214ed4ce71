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
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import tyro
from torch import Tensor

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


@dataclass
class Clock:
    """Seconds of processor time spent on parts of the work, and how many clips they were for."""

    seconds: dict[str, float] = field(default_factory=dict)
    clips: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def of(self, name: str, clips: int) -> Any:
        """Count what happens inside."""
        began = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - began
        self.clips[name] = self.clips.get(name, 0) + clips

    def each(self) -> dict[str, float]:
        """Seconds a clip."""
        return {name: self.seconds[name] / self.clips[name] for name in self.seconds}


def main(
    run: tyro.conf.Positional[Path],
    prompts: int = 64,
    dynamic: int = 32,
    fitted: int = 24,
    seed: int = 2_718,
    results: Path = RESULTS,
) -> None:
    """Compare single samples and the best of 2, 4 and 8 of a run's base and of what it trained.

    Args:
        run: directory of a finished run of the tiny world.
        prompts: static held-out prompts.
        dynamic: dynamic ones, for the dynamic degree.
        fitted: how many of the static prompts the second evaluator sees.
        seed: of prompts and noise; the first candidates are those of `worldr1 evaluate`.
        results: folder for the table and the numbers, by date.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = load_recipe(RunDirectory(run).recipe)
    composer = build_composer(recipe)
    shown = held_out_prompts(prompts, seed, recipe.clip.frames)
    shown += held_out_prompts(dynamic, seed, recipe.clip.frames, dynamic=True)
    judges: dict[str, Judge] = {"score": by_score, "recipe": InBatches(composer, 32)}
    clock = Clock()
    base = load_sampler(base_of(recipe), recipe)
    made = {"base": candidates(base, shown, recipe, seed, judges, composer, fitted, clock)}
    truth = through_vae(base, ground_truth(shown, recipe.clip.height, recipe.clip.width), recipe.sampling.micro_batch)
    known = measured(shown, truth, composer, fitted)
    trained = load_sampler(str(run), recipe)
    made["trained"] = candidates(trained, shown, recipe, seed, judges, composer, fitted, clock)
    rows = table_rows(made, known, tuple(judges))
    found = {
        "extent": {"prompts": prompts, "dynamic": dynamic, "fitted": fitted, "seed": seed, "candidates": COUNTS[-1]},
        "rows": rows,
        "seconds_a_clip": clock.each(),
    }
    path = save(results, "best-of", plain(found), table)
    sys.stdout.write(f"{path.with_suffix('.md').read_text('utf-8')}\nwrote {path}\n")


def candidates(
    policy: DiffusersPolicy,
    prompts: Sequence[HeldOutPrompt],
    recipe: Recipe,
    seed: int,
    judges: Mapping[str, Judge],
    composer: RewardComposer,
    fitted: int,
    clock: Clock,
) -> Columns:
    """All measures of `COUNTS[-1]` samples of every prompt, and what the judges say: columns [candidates, prompts]."""
    rows: list[Columns] = []
    for number in range(COUNTS[-1]):
        with clock.of("sampling", len(prompts)), torch.no_grad():
            videos = draw(policy, prompts, recipe, seed + number)
        row = measured(prompts, videos, composer, fitted)
        samples = [Sample(v, p.prompt, p.trajectory) for v, p in zip(videos, prompts, strict=True)]
        for name, judge in judges.items():
            with clock.of(f"judging by {name}", len(prompts)):
                row[name] = judge(samples).total.double().numpy()
        rows.append(row)
        logger.info("candidate %d: mean PSNR %.2f dB", number, np.nanmean(row["psnr"]))
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def measured(prompts: Sequence[HeldOutPrompt], videos: Tensor, composer: RewardComposer, fitted: int) -> Columns:
    """`MEASURES` of one clip for each prompt, nan where they do not apply; static prompts come first."""
    recon = composer.rewards.get("recon", ReconReward())
    assert composer.reconstructor is not None
    assert isinstance(recon, ReconReward)
    columns = measure(prompts, videos, {"recon": recon}, composer.reconstructor).columns
    found = {name: np.array(values) for name, values in columns.items()}
    fits = fitted_scores(videos[:fitted], [p.trajectory for p in prompts[:fitted]], lpips=recon.lpips)
    for name in ("psnr", "ssim", "lpips"):
        column = np.full(len(prompts), np.nan)
        column[: len(fits)] = [getattr(fit, name) for fit in fits]
        found[f"fitted_{name}"] = column
    return {name: found[name] for name in MEASURES}


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
