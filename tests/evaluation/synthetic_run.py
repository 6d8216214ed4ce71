"""A small run directory made of ground truth: spoilt clips as the base, clean ones as the trained model."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldr1.evaluation import document
from worldr1.evaluation.fitted import FittedScore
from worldr1.evaluation.measure import Measured
from worldr1.evaluation.model import assemble, write_clips
from worldr1.evaluation.prompts import HeldOutPrompt, ground_truth, held_out_prompts
from worldr1.recipes import load_recipe, save_recipe
from worldr1.rl.metrics import MetricsWriter
from worldr1.tinyworld import SPOIL_KINDS, render_clips, sample_spoil

FRAMES = 17


def some_prompts(static: int = 4, dynamic: int = 2, seed: int = 5) -> list[HeldOutPrompt]:
    return held_out_prompts(static, seed, FRAMES) + held_out_prompts(dynamic, seed, FRAMES, dynamic=True)


def spoilt_clips(prompts: list[HeldOutPrompt], seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    spoils = [
        sample_spoil(rng, SPOIL_KINDS[k % len(SPOIL_KINDS)], "fixed" not in p.trajectory.moves)
        for k, p in enumerate(prompts)
    ]
    clips = render_clips([p.scene for p in prompts], [p.trajectory for p in prompts], spoils)
    return torch.stack([clip.video for clip in clips])


def synthetic_columns(prompts: list[HeldOutPrompt], seed: int = 0) -> dict[str, dict[str, list[float]]]:
    """Plausible columns: PSNR near 20 dB for the base, 27 for the trained model, 33 for ground truth."""
    rng = np.random.default_rng(seed)
    level = {"base": 0.0, "trained": 0.6, "ground_truth": 1.0}
    columns = {}
    for side, height in level.items():
        dynamic = [p.scene.dynamic for p in prompts]
        rows = {
            "psnr": 20 + 13 * height + rng.normal(0, 1.5, len(prompts)),
            "recon": 0.5 + 0.3 * height + rng.normal(0, 0.03, len(prompts)),
            "traj": 0.4 + 0.5 * height + rng.normal(0, 0.03, len(prompts)),
            "rot_err_deg": 6 - 5 * height + rng.random(len(prompts)),
            "camera_motion": 0.7 + 0.2 * height + rng.normal(0, 0.02, len(prompts)),
        }
        columns[side] = {
            n: [math.nan if d else float(v) for v, d in zip(r, dynamic, strict=True)] for n, r in rows.items()
        }
        columns[side]["dynamic_degree"] = [0.9 if d else math.nan for d in dynamic]
        columns[side]["objects"] = [1.0] * len(prompts)
        columns[side]["sharpness"] = [0.12 - 0.001 * height] * len(prompts)
        columns[side]["general"] = [0.2 + 0.1 * height] * len(prompts)
    return columns


def make_run(folder: Path, *, evaluated: bool = True, steps: int = 60) -> Path:
    """Write recipe.yaml, metrics.jsonl and, if asked, what `worldr1 evaluate` writes."""
    folder.mkdir(parents=True, exist_ok=True)
    save_recipe(load_recipe("tiny"), folder / "recipe.yaml")
    rng = np.random.default_rng(0)
    with MetricsWriter(folder / "metrics.jsonl") as metrics:
        for step in range(steps):
            dynamic = 30 <= step < 40
            rise = step / steps
            values: dict[str, float | int | str | None] = {"phase": "dynamic" if dynamic else "main", "time/total": 9.0}
            values["reward/general"] = 0.2 + 0.1 * rise + 0.03 * float(rng.normal())
            for name, low in () if dynamic else (("recon", 0.5), ("meta", 0.4), ("traj", 0.45)):
                values[f"reward/{name}"] = low + 0.3 * rise + 0.04 * float(rng.normal())
            values["reward/total"] = sum(float(v or 0) for k, v in values.items() if k.startswith("reward/"))
            metrics.write("train", step, values)
            if step % 20 == 0:
                metrics.write(
                    "evaluation", step, {"reward/recon": 0.5 + 0.3 * rise, "reward/general": 0.2 + 0.1 * rise}
                )
    if not evaluated:
        return folder
    prompts = some_prompts()
    truth = ground_truth(prompts, 64, 64)
    clips = {"base": spoilt_clips(prompts), "trained": truth, "ground_truth": truth}
    columns = synthetic_columns(prompts)
    fitted = {
        side: [FittedScore(psnr=v - 1, ssim=v / 40, lpips=1 - v / 40) for v in columns[side]["psnr"][:4]]
        for side in document.SIDES
    }
    result = assemble(prompts, columns, fitted, ["recon", "traj", "general"])
    measured = {side: Measured(columns[side], [_wobble(p, side) for p in prompts]) for side in document.SIDES}
    result["extent"] = {"prompts": 4, "dynamic": 2, "fitted": 4, "seed": 5}
    result["clips"] = write_clips(folder, prompts, clips, measured, [0, 1, 2, 4])
    (folder / "evaluation.json").write_text(json.dumps(document.plain(result), allow_nan=False))
    return folder


def _wobble(held_out: HeldOutPrompt, side: str) -> Tensor | None:
    if held_out.scene.dynamic:
        return None
    c2w = held_out.trajectory.c2w.clone()
    time = torch.linspace(0, 1, len(c2w))
    size = 0.12 if side == "base" else 0.02
    c2w[:, 0, 3] += size * torch.sin(5 * time)
    c2w[:, 2, 3] += size * time
    return c2w
