"""The whole evaluation with models that draw known clips: the base spoilt ones, the trained model the truth."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from synthetic_run import some_prompts, spoilt_clips, synthetic_columns
from torch import Tensor

from worldr1.evaluation import document
from worldr1.evaluation.distribution import modes, summarise
from worldr1.evaluation.fitted import FittedScore, fitted_score
from worldr1.evaluation.model import Extent, assemble, evaluate_models
from worldr1.evaluation.prompts import ground_truth
from worldr1.policy.base import Conditioning
from worldr1.recipes import load_recipe
from worldr1.reconstruction.stereo import StereoReconstructor
from worldr1.rewards.compose import RewardComposer
from worldr1.rewards.recon import ReconReward
from worldr1.rewards.traj import TrajReward

EXTENT = Extent(prompts=3, dynamic=1, fitted=2, clips=3, seed=5)


class General:
    """A stand-in for R_gen: a quarter for everything."""

    name = "general"
    needs_reconstruction = False

    def __call__(self, samples: Sequence[Any], reconstructions: Sequence[Any] | None = None) -> Tensor:
        return torch.full((len(samples),), 0.25)


class Drawer:
    """A policy whose ODE ends in constant latents that name a clip: k for its own k-th, 100 + k for the truth."""

    device = torch.device("cpu")

    def __init__(self, prompts: Sequence[str], clips: Tensor, truth: Tensor) -> None:
        self.prompts, self.clips, self.truth = list(prompts), clips, truth
        self.noise: list[Tensor] = []

    def compress(self, videos: Tensor) -> Tensor:
        codes = [
            100.0 + min(range(len(self.truth)), key=lambda k: float((self.truth[k] - v).abs().max())) for v in videos
        ]
        return torch.tensor(codes).view(-1, 1, 1, 1, 1).expand(-1, 1, 5, 8, 8)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        return Conditioning(torch.tensor([float(self.prompts.index(p)) for p in prompts]).view(-1, 1, 1))

    def velocity(self, latents: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        if float(sigma[0]) == 1.0:
            self.noise.append(latents.clone())
        return (latents - conditioning.embeds.view(-1, 1, 1, 1, 1)) / sigma.view(-1, 1, 1, 1, 1)

    def decode(self, latents: Tensor) -> Tensor:
        codes = latents.mean((1, 2, 3, 4)).round().int().tolist()
        return torch.stack([self.truth[k - 100] if k >= 100 else self.clips[k] for k in codes])

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        return 1, 5, 8, 8

    def sigmas(self, steps: int) -> Tensor:
        return torch.linspace(1, 0, steps + 1)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path, Drawer, Drawer]:
    out = tmp_path_factory.mktemp("run")
    prompts = some_prompts(3, 1)
    truth, names = ground_truth(prompts, 64, 64), [p.prompt for p in prompts]
    base, trained = Drawer(names, spoilt_clips(prompts), truth), Drawer(names, truth, truth)
    composer = RewardComposer(
        {"recon": ReconReward(), "traj": TrajReward(), "general": General()},
        {"recon": 1.0, "traj": 1.0, "general": 1.0},
        StereoReconstructor(),
    )
    result = evaluate_models(base, trained, composer, load_recipe("tiny"), EXTENT, out)  # type: ignore[arg-type]
    return result, out, base, trained


def test_a_model_that_draws_the_truth_closes_the_gap(evaluated: tuple[dict[str, Any], Path, Drawer, Drawer]) -> None:
    result = evaluated[0]
    assert result["gap_closed"] == pytest.approx(1.0)
    assert result["psnr_trained"] == pytest.approx(result["psnr_ground_truth"])
    assert result["gain_db"] > 4
    assert result["gain_db"] == pytest.approx(result["psnr_trained"] - result["psnr_base"])
    assert result["fitted"]["gain_db"] > 2
    assert result["fitted"]["psnr"]["trained"]["n"] == 2
    assert not result["hacked"]
    assert result["guards"]["general"]["ratio"] == pytest.approx(1.0)
    assert result["guards"]["dynamic_degree"]["n"] == 1


def test_both_models_get_the_same_noise(evaluated: tuple[dict[str, Any], Path, Drawer, Drawer]) -> None:
    _, _, base, trained = evaluated
    assert torch.equal(base.noise[0], trained.noise[0])
    assert float(base.noise[0].std()) == pytest.approx(1.0, abs=0.15)


def test_files_hold_what_was_returned(evaluated: tuple[dict[str, Any], Path, Drawer, Drawer]) -> None:
    result, out, _, _ = evaluated
    stored = json.loads((out / "evaluation.json").read_text())
    assert stored["gap_closed"] == result["gap_closed"]
    assert [row["index"] for row in stored["clips"]] == [0, 1, 3]
    assert all((out / row[side]).is_file() for row in stored["clips"] for side in document.SIDES)
    assert len(json.loads((out / "cameras.json").read_text())) == 3
    assert stored["videos"][3]["dynamic"]
    assert stored["videos"][3]["base"]["psnr"] is None


def test_numbers_follow_from_the_columns() -> None:
    prompts = some_prompts(4, 2)
    columns = synthetic_columns(prompts)
    result = assemble(prompts, columns, {}, ["recon", "traj", "general"])
    base, trained, truth = (np.nanmean(columns[side]["psnr"]) for side in document.SIDES)
    assert result["psnr_base"] == pytest.approx(base)
    assert result["gap_closed"] == pytest.approx((trained - base) / (truth - base))
    low, high = result["ci95"]["gap_closed"]
    assert low < result["gap_closed"] < high
    assert result["metrics"]["recon"]["trained"]["n"] == 4
    assert "fitted" not in result
    assert not result["hacked"]
    columns["trained"]["objects"] = [0.5] * 6
    assert assemble(prompts, columns, {}, ["recon"])["hacked_reasons"][0].startswith("objects fell to 0.500")


def test_rank_correlation_pairs_the_same_clips() -> None:
    scores = {s: [FittedScore(v, 0.5, math.nan) for v in row] for s, row in _ladder().items()}
    assert document.fitted_section(scores, _ladder())["rank_correlation"] == pytest.approx(1.0)
    upside_down = {side: [-v for v in row] for side, row in _ladder().items()}
    section = document.fitted_section(scores, upside_down)
    assert section["rank_correlation"] == pytest.approx(-1.0)
    assert "lpips" not in section


def _ladder() -> dict[str, list[float]]:
    return {"base": [20.0, 22.0, 21.0], "trained": [25.0, 27.0, 26.0], "ground_truth": [30.0, 30.5, 31.0]}


def test_plain_has_no_nan() -> None:
    assert document.plain({"a": (math.nan, np.float64(1.5)), 2: [math.inf]}) == {"a": [None, 1.5], "2": [None]}


def test_extent_rejects_nothing_to_do() -> None:
    with pytest.raises(ValueError, match="at least one prompt"):
        Extent(prompts=0)


def test_fitted_splats_prefer_the_consistent_clip() -> None:
    prompts = some_prompts(1, 0, seed=8)
    clean, spoilt = ground_truth(prompts, 64, 64)[0], spoilt_clips(prompts)[0]
    good, bad = (fitted_score(v, prompts[0].trajectory, iterations=60) for v in (clean, spoilt))
    assert good.psnr > bad.psnr + 3
    assert good.ssim > bad.ssim
    assert math.isnan(good.lpips)
    with pytest.raises(ValueError, match="both must agree"):
        fitted_score(clean[:9], prompts[0].trajectory)


def test_modes_of_a_half_spoilt_set(tmp_path: Path) -> None:
    prompts = some_prompts(5, 0, seed=9)
    videos = torch.cat([ground_truth(prompts, 64, 64), spoilt_clips(prompts)])
    picture = tmp_path / "modes.png"
    found = modes(videos, [p.trajectory for p in prompts] * 2, picture=picture, reference=[33.0])
    assert picture.stat().st_size > 10_000
    assert found["n"] == 10
    assert np.mean(found["psnr"][:5]) > np.mean(found["psnr"][5:]) + 4
    assert 0.2 <= found["fraction_above"] <= 0.8


def test_fraction_above_the_valley() -> None:
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(20, 1, 325), rng.normal(32, 1, 175)])
    found = summarise([*scores, math.nan], [0.5] * 501)
    assert found.fraction_above == pytest.approx(0.35, abs=0.01)
    assert found.to_dict()["separation"] > 2
