"""Pipelines by name, directory or run; and videos that depend on the prompt and the seed, on nothing else."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tiny_pipeline_parts import build_tiny_cogvideox, build_tiny_pipeline, with_time_per_token, with_two_experts
from worldr1 import pipelines
from worldr1.camera.trajectory import Trajectory
from worldr1.generation import Take, by_score, generate, plan_shot, select
from worldr1.pipelines import defaults_of, load_pipeline
from worldr1.policy.wan import LoraSettings, WanPolicy
from worldr1.recipes import Recipe, load_recipe, save_recipe
from worldr1.rewards.types import Sample, Scores
from worldr1.scoring import score

PROMPT = "camera orbit left. a red box"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "pipeline"
    build_tiny_pipeline().save_pretrained(str(path))
    return path


@pytest.fixture(scope="module")
def pipeline(directory: Path) -> Any:
    return load_pipeline(directory)


def _made(pipeline: Any, prompt: str = PROMPT, seed: int = 0, **settings: Any) -> torch.Tensor:
    return generate(pipeline, prompt, seed, steps=2, frames=5, height=32, width=32, **settings)


def test_a_video_has_the_asked_size_and_range(pipeline: Any) -> None:
    video = _made(pipeline)
    assert video.shape == (5, 3, 32, 32)
    assert video.dtype == torch.float32
    assert 0.0 <= float(video.min()) < float(video.max()) <= 1.0


def test_the_same_words_and_seed_give_the_same_video(pipeline: Any) -> None:
    assert torch.equal(_made(pipeline), _made(pipeline))
    assert not torch.equal(_made(pipeline), _made(pipeline, seed=1))
    assert not torch.equal(_made(pipeline), _made(pipeline, "camera orbit right. a red box"))


def test_the_camera_acts_through_the_noise(pipeline: Any) -> None:
    assert not torch.equal(_made(pipeline, strength=0.0), _made(pipeline, strength=1.0))


def test_sizes_that_no_latent_fits_are_refused(pipeline: Any) -> None:
    with pytest.raises(ValueError, match="height must be a positive multiple of 16"):
        generate(pipeline, PROMPT, frames=5, height=20, width=32, steps=1)
    with pytest.raises(ValueError, match="best_of is 0"):
        generate(pipeline, PROMPT, best_of=0)


def test_the_best_of_several_is_the_one_with_the_highest_score(pipeline: Any) -> None:
    singles = [_made(pipeline, seed=seed) for seed in (4, 5, 6, 7)]
    totals = dict(zip(range(4), [0.2, 0.9, float("nan"), 0.9], strict=True))

    def judge(samples: Sequence[Sample]) -> Scores:
        (sample,) = samples
        assert sample.prompt == PROMPT
        assert sample.trajectory.moves == ("orbit left",)
        number = next(n for n, single in enumerate(singles) if torch.equal(single, sample.video))
        total = torch.tensor([totals[number]])
        return Scores({"recon": total / 2}, total)

    assert torch.equal(_made(pipeline, seed=4, best_of=4, judge=judge), singles[1])
    shot = plan_shot(pipeline, PROMPT, 4, steps=2, frames=5, height=32, width=32)
    told: list[Take] = []
    chosen = select(pipeline, shot, 4, judge, tell=told.append)
    assert [take.seed for take in told] == [4, 5, 6, 7]
    assert chosen.takes == tuple(told)
    assert chosen.shot.seed == chosen.kept.seed == 5
    assert chosen.kept.total == pytest.approx(0.9)
    assert chosen.kept.components == pytest.approx({"recon": 0.45})


def test_all_without_a_score_keep_the_first(pipeline: Any) -> None:
    def judge(samples: Sequence[Sample]) -> Scores:
        return Scores({}, torch.full((len(samples),), torch.nan))

    assert torch.equal(_made(pipeline, best_of=2, judge=judge), _made(pipeline))


def test_the_usual_judge_is_the_score_of_the_video_and_its_camera(pipeline: Any) -> None:
    video = _made(pipeline)
    camera = Trajectory.from_prompt(PROMPT, 5)
    found, expected = by_score([Sample(video, PROMPT, camera)]), score(video, camera=camera)
    assert torch.equal(found.total, torch.tensor([expected.total])) or math.isnan(expected.total)
    assert float(found.components["traj"]) == pytest.approx(expected.traj)


def test_a_camera_of_ones_own_takes_the_place_of_the_prompts(pipeline: Any) -> None:
    right = Trajectory.from_moves(("orbit right",), 5)
    assert torch.equal(_made(pipeline, camera=Trajectory.from_prompt(PROMPT, 5)), _made(pipeline))
    assert not torch.equal(_made(pipeline, camera=right), _made(pipeline))
    with pytest.raises(ValueError, match="the camera has 9 poses, but 5 frames"):
        _made(pipeline, camera=Trajectory.from_moves((), 9))


def test_small_transformers_take_the_tiny_recipe(pipeline: Any) -> None:
    usual, tiny = defaults_of(pipeline), load_recipe("tiny")
    assert (usual.clip, usual.noise, usual.steps) == (tiny.clip, tiny.noise, tiny.sampling.steps)
    assert usual.max_tokens == tiny.model.max_tokens


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("Wan2.1", (121, 480, 832)),
        ("Wan2.2-A14B", (81, 480, 832)),
        ("Wan2.2-5B", (121, 704, 1280)),
        ("CogVideoX1.5", (81, 768, 1360)),
        ("CogVideoX", (49, 480, 720)),
    ],
)
def test_large_transformers_take_the_length_and_size_of_their_family(
    family: str, expected: tuple[int, int, int], tiny_pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = {
        "Wan2.1": lambda: tiny_pipeline,
        "Wan2.2-A14B": lambda: with_two_experts(tiny_pipeline, 0.875),
        "Wan2.2-5B": lambda: with_time_per_token(tiny_pipeline),
        "CogVideoX1.5": build_tiny_cogvideox,
        "CogVideoX": lambda: build_tiny_cogvideox(newer=False),
    }
    monkeypatch.setattr(pipelines, "_TINY_PARAMETERS", 0)
    shot = plan_shot(build[family](), PROMPT)
    assert (shot.camera.frames, shot.height, shot.width) == expected


def _finished_run(root: Path, base: Path, adapter: bool) -> WanPolicy:
    policy = WanPolicy(load_pipeline(base), max_sequence_length=32, lora=LoraSettings(2, 4.0) if adapter else None)
    with torch.no_grad():
        for parameter in policy.trainable_parameters():
            parameter.add_(0.05)
    policy.save(root / ("lora" if adapter else "pipeline"))
    save_recipe(Recipe.model_validate({"model": {"path": str(base)}}), root / "recipe.yaml")
    return policy


@pytest.mark.parametrize("adapter", [True, False])
def test_a_run_directory_gives_its_trained_model(adapter: bool, directory: Path, tmp_path: Path) -> None:
    trained = _finished_run(tmp_path, directory, adapter)
    latents, sigma = torch.randn(1, 4, 2, 4, 4), torch.tensor([0.5])
    loaded = WanPolicy(load_pipeline(tmp_path), max_sequence_length=32)
    base = WanPolicy(load_pipeline(directory), max_sequence_length=32)
    with torch.no_grad():
        expected = trained.velocity(latents, sigma, trained.encode([PROMPT]))
        assert torch.allclose(loaded.velocity(latents, sigma, loaded.encode([PROMPT])), expected, atol=1e-5)
        assert not torch.allclose(base.velocity(latents, sigma, base.encode([PROMPT])), expected, atol=1e-3)


def test_loading_is_quiet_and_leaves_the_bars_of_others(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from diffusers.utils import logging

    shown = logging.is_progress_bar_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        load_pipeline(directory)
    assert "Loading pipeline components" not in capfd.readouterr().err
    assert logging.is_progress_bar_enabled() == shown


@pytest.mark.parametrize("name", ["no-such-model", "./no/such", "/no/such"])
def test_a_name_that_can_be_nothing_is_told(name: str) -> None:
    with pytest.raises(FileNotFoundError, match="no model"):
        load_pipeline(name)


def test_directories_without_model_or_adapter_are_told(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no diffusers pipeline"):
        load_pipeline(tmp_path)
    with pytest.raises(FileNotFoundError, match="no adapter in"):
        load_pipeline(directory, lora=tmp_path)
    save_recipe(Recipe(), tmp_path / "recipe.yaml")
    with pytest.raises(FileNotFoundError, match="holds no trained model yet"):
        load_pipeline(tmp_path)
