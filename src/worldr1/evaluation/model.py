"""Held-out evaluation of a model: base against trained on the same prompts and noise, ground truth beside them."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from worldr1.data.atomic import whole_directory, write_text
from worldr1.evaluation import document
from worldr1.evaluation.calibration import load_calibration
from worldr1.evaluation.fitted import FittedScore, fitted_scores
from worldr1.evaluation.measure import Measured, measure
from worldr1.evaluation.prompts import HeldOutPrompt, ground_truth, held_out_prompts
from worldr1.evaluation.video import write_video
from worldr1.recipes import Recipe
from worldr1.rewards.compose import RewardComposer
from worldr1.rewards.recon import ReconReward
from worldr1.rl.assemble_policy import encode_all
from worldr1.rl.base_weights import BaseWeights
from worldr1.rl.batch import fixed_batch
from worldr1.rl.scoring import decode
from worldr1.sampling.rollout import rollout

if TYPE_CHECKING:
    from worldr1.policy.diffusers_policy import DiffusersPolicy

logger = logging.getLogger(__name__)
FPS = 8
MICRO_BATCH = 32
"""Videos that go through the networks at once, where the recipe does not tell."""


@dataclass(frozen=True)
class Extent:
    """How much is evaluated.

    Attributes:
        prompts: static held-out prompts (the headline).
        dynamic: dynamic held-out prompts (the dynamic degree; objects, sharpness and R_gen see both kinds).
        fitted: how many of the static prompts the second evaluator sees too; 0 leaves it out.
        clips: how many before-and-after clips are kept, two thirds of them static.
        seed: of prompts and noise; not the one that evaluation during training uses.
    """

    prompts: int = 128
    dynamic: int = 64
    fitted: int = 24
    clips: int = 9
    seed: int = 2_718

    def __post_init__(self) -> None:
        if self.prompts < 1 or min(self.dynamic, self.fitted, self.clips, self.seed) < 0:
            raise ValueError(f"evaluation needs at least one prompt and no negative number, got {self}")


@torch.no_grad()
def draw(policy: DiffusersPolicy, prompts: Sequence[HeldOutPrompt], recipe: Recipe, seed: int) -> Tensor:
    """One clip per prompt by the plain ODE, [B,T,3,H,W] in [0,1]; two models get the same noise for the same seed."""
    clip = recipe.clip
    shape = policy.latent_shape(clip.frames, clip.height, clip.width)
    batch = fixed_batch([p.prompt for p in prompts], clip.frames, shape, recipe.noise, seed)
    if recipe.model.embeds_cache is not None:
        encode_all(policy, batch.prompts)
    sigmas, conditioning = policy.sigmas(recipe.sampling.steps), policy.encode(batch.prompts)
    size = recipe.sampling.micro_batch or MICRO_BATCH
    made = rollout(policy, conditioning, batch.noise.to(policy.device), sigmas, micro_batch=size)
    return decode(policy, made.latents, size)


@torch.no_grad()
def through_vae(policy: DiffusersPolicy, videos: Tensor, micro_batch: int | None = None) -> Tensor:
    """Clips [B,T,3,H,W] in [0,1] encoded (posterior mode) and decoded by the policy's autoencoder."""
    return torch.cat([policy.decode(policy.compress(c)).cpu() for c in videos.split(micro_batch or MICRO_BATCH)])


def evaluate_models(
    base: DiffusersPolicy,
    trained: DiffusersPolicy,
    composer: RewardComposer,
    recipe: Recipe,
    extent: Extent,
    out: Path | None,
    weights: BaseWeights | None = None,
) -> dict[str, Any]:
    """Evaluate, and write evaluation.json, cameras.json and samples/evaluation/ into `out` if given.

    Args:
        base, trained: the two models; both sample with the recipe's clip, noise and sampling settings.
        composer: the rewards and the reconstructor that they need; must hold "recon".
        recipe: of the training run.
        extent: how much.
        out: the run directory.
        weights: of the base, to be told in evaluation.json.

    Returns:
        What evaluation.json holds (see `document`).
    """
    if composer.reconstructor is None:
        raise ValueError("evaluation re-renders videos: the composer must have a reconstructor")
    if recipe.evaluation.source != "tinyworld":
        logger.warning(
            "this run's held-out prompts are those of %s; prompts, ground truth and guards of this evaluation are the "
            "tiny world's and say little of a model of another",
            recipe.evaluation.source,
        )
    began = time.monotonic()
    rewards = dict(composer.rewards)
    rewards.setdefault("recon", ReconReward())
    clip = recipe.clip
    prompts = held_out_prompts(extent.prompts, extent.seed, clip.frames)
    prompts += held_out_prompts(extent.dynamic, extent.seed, clip.frames, dynamic=True)
    logger.info("sampling %d held-out prompts from both models, the same noise for both", len(prompts))
    clips = {"base": draw(base, prompts, recipe, extent.seed), "trained": draw(trained, prompts, recipe, extent.seed)}
    truth = ground_truth(prompts, clip.height, clip.width)
    clips["ground_truth"] = through_vae(base, truth, recipe.sampling.micro_batch)
    measured: dict[str, Measured] = {}
    for side, videos in clips.items():
        logger.info("measuring %s", side.replace("_", " "))
        measured[side] = measure(prompts, videos, rewards, composer.reconstructor)
    fitted = _fit(prompts, clips, min(extent.fitted, extent.prompts), rewards["recon"])
    result = assemble(prompts, {side: m.columns for side, m in measured.items()}, fitted, list(rewards))
    result["extent"] = {
        "prompts": extent.prompts,
        "dynamic": extent.dynamic,
        "fitted": extent.fitted,
        "seed": extent.seed,
    }
    if weights is not None:
        result["base_weights"] = asdict(weights)
    result["seconds"] = time.monotonic() - began
    if out is not None:
        result["clips"] = write_clips(out, prompts, clips, measured, _chosen(extent))
        write_text(out / "evaluation.json", json.dumps(document.plain(result), indent=1, allow_nan=False))
    plain: dict[str, Any] = document.plain(result)
    return plain


def assemble(
    prompts: Sequence[HeldOutPrompt],
    columns: Mapping[str, document.Columns],
    fitted: Mapping[str, Sequence[FittedScore]],
    rewards: Sequence[str],
) -> dict[str, Any]:
    """The numbers of evaluation.json from the columns of `document.SIDES`."""
    names = [*dict.fromkeys([*document.METRICS, *rewards])]
    result = document.headline({side: columns[side]["psnr"] for side in document.SIDES})
    result["metrics"] = document.summary(columns, names)
    result |= document.guards_section(document.guards_of(columns), load_calibration())
    if fitted:
        static = {side: columns[side]["psnr"][: len(fitted["base"])] for side in document.SIDES}
        result["fitted"] = document.fitted_section(fitted, static)
    result["videos"] = document.video_rows(prompts, columns, fitted, names)
    return result


def write_clips(
    out: Path,
    prompts: Sequence[HeldOutPrompt],
    clips: Mapping[str, Tensor],
    measured: Mapping[str, Measured],
    chosen: Sequence[int],
) -> list[dict[str, Any]]:
    """Write before-and-after clips and cameras.json; returns rows {index, prompt, base, trained, ground_truth}.

    cameras.json is a list of {index, prompt, moves, fov, asked, base, trained}; each path is a list of c2w poses, each
    12 numbers (3x4, row-major, OpenCV, scene depths), base and trained None where not estimated.
    """
    rows, cameras = [], []
    folder = out / "samples" / "evaluation"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_directory(folder) as beside:
        for k in chosen:
            row: dict[str, Any] = {"index": k, "prompt": prompts[k].prompt}
            for side in document.SIDES:
                path = write_video(beside / f"{k:03d}-{side}.mp4", clips[side][k], fps=FPS, magnify=4)
                row[side] = str(Path("samples") / "evaluation" / path.name)
            rows.append(row)
            trajectory = prompts[k].trajectory
            paths = {side: measured[side].c2w[k] for side in ("base", "trained")}
            cameras.append(
                {"index": k, "prompt": prompts[k].prompt, "moves": trajectory.moves, "fov": trajectory.fov}
                | {"asked": _rows(trajectory.c2w)}
                | {side: None if path is None else _rows(path) for side, path in paths.items()}
            )
    write_text(out / "cameras.json", json.dumps(document.plain(cameras), allow_nan=False))
    return rows


def _chosen(extent: Extent) -> list[int]:
    static = min(extent.prompts, extent.clips - min(extent.dynamic, extent.clips // 3))
    dynamic = min(extent.dynamic, extent.clips - static)
    return [*range(static), *range(extent.prompts, extent.prompts + dynamic)]


def _fit(
    prompts: Sequence[HeldOutPrompt], clips: Mapping[str, Tensor], count: int, recon: object
) -> dict[str, list[FittedScore]]:
    if count == 0:
        return {}
    logger.info("fitting splats to %d clips of each kind (an evaluator that training never saw)", count)
    lpips = recon.lpips if isinstance(recon, ReconReward) else None
    trajectories = [p.trajectory for p in prompts[:count]]
    return {side: fitted_scores(videos[:count], trajectories, lpips=lpips) for side, videos in clips.items()}


def _rows(c2w: Tensor) -> list[list[float]]:
    return [[round(float(x), 5) for x in pose[:3].flatten()] for pose in c2w]
