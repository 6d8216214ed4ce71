"""Everything that is measured of one set of clips: one column per quantity, one value per clip, nan where missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldr1.camera.metrics import camera_errors
from worldr1.evaluation.consistency import BATCH
from worldr1.evaluation.guards import measure_guards, pose_gain
from worldr1.evaluation.prompts import HeldOutPrompt
from worldr1.reconstruction.types import Reconstruction, Reconstructor
from worldr1.rewards.recon import ReconReward
from worldr1.rewards.types import Reward, Sample

CAMERA_COLUMNS = ("camera_motion_estimated", "rot_err_deg", "trans_err", "cam_mc")


@dataclass(frozen=True)
class Measured:
    """Columns by name, each of B values, and the estimated cameras [T,4,4] of the clips (None where not estimated)."""

    columns: dict[str, list[float]]
    c2w: list[Tensor | None]


def measure(
    prompts: Sequence[HeldOutPrompt], videos: Tensor, rewards: Mapping[str, Reward], reconstructor: Reconstructor
) -> Measured:
    """Measure clips [B,T,3,H,W] in [0,1].

    Clips of dynamic scenes are not rebuilt, as in training: the columns of rewards that need it, "psnr" and the
    camera's errors stay nan for them.

    Args:
        prompts: B of them.
        videos: one clip for each.
        rewards: components by name; "recon" brings the column "psnr" too.
        reconstructor: rebuilds the static clips.
    """
    count = len(prompts)
    columns = measure_guards(prompts, videos)
    c2w: list[Tensor | None] = [None] * count
    names = [*rewards, "psnr", "coverage", *CAMERA_COLUMNS]
    columns.update({name: [float("nan")] * count for name in names})
    finite = [k for k in range(count) if bool(torch.isfinite(videos[k]).all())]
    static = [k for k in finite if not prompts[k].scene.dynamic]
    for name, reward in rewards.items():
        if not reward.needs_reconstruction:
            for part in _parts(finite):
                _fill(columns[name], part, reward([_sample(prompts[k], videos[k]) for k in part], None))
    recon = rewards.get("recon")
    redrawing = recon if recon is None or isinstance(recon, ReconReward) else ReconReward()
    for part in _parts(static):
        scenes = reconstructor(videos[part], [prompts[k].trajectory for k in part])
        samples = [_sample(prompts[k], videos[k]) for k in part]
        for name, reward in rewards.items():
            if reward.needs_reconstruction:
                _fill(columns[name], part, reward(samples, scenes))
        if redrawing is not None:
            details = redrawing.details(samples, scenes)
            _fill(columns["psnr"], part, details.psnr)
            _fill(columns["coverage"], part, details.coverage)
        for k, scene in zip(part, scenes, strict=True):
            c2w[k] = scene.c2w
            for name, value in zip(CAMERA_COLUMNS, _camera_row(scene, prompts[k]), strict=True):
                columns[name][k] = value
    return Measured(columns=columns, c2w=c2w)


def _camera_row(scene: Reconstruction, held_out: HeldOutPrompt) -> tuple[float, float, float, float]:
    if not bool(torch.isfinite(scene.c2w).all()):
        return (float("nan"),) * 4
    errors = camera_errors(scene.c2w, held_out.trajectory.c2w, reduction="mean")
    gain = pose_gain(scene.c2w, held_out.trajectory)
    return gain, float(np.degrees(errors.rot_err)), errors.trans_err, errors.cam_mc


def _parts(places: Sequence[int]) -> list[list[int]]:
    return [list(places[start : start + BATCH]) for start in range(0, len(places), BATCH)]


def _sample(held_out: HeldOutPrompt, video: Tensor) -> Sample:
    return Sample(video=video, prompt=held_out.prompt, trajectory=held_out.trajectory)


def _fill(column: list[float], places: Sequence[int], values: Tensor) -> None:
    for place, value in zip(places, values.tolist(), strict=True):
        column[place] = float(value)
