"""What `evaluate` samples from: every policy adapter, in the precision of the recipe, as the trainer builds it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tiny_pipeline_parts import build_tiny_cogvideox, build_tiny_pipeline, with_time_per_token, with_two_experts
from worldr1.cli.main import main
from worldr1.evaluation.model import draw, through_vae
from worldr1.evaluation.prompts import held_out_prompts
from worldr1.policy.base import Policy
from worldr1.recipes import Recipe, save_recipe
from worldr1.rl.assemble_policy import load_policy, load_sampler
from worldr1.rl.run import RunDirectory

BUILDERS = {
    "wan2.1": build_tiny_pipeline,
    "wan2.2 two experts": lambda: with_two_experts(build_tiny_pipeline(), 0.8),
    "wan2.2 5b": lambda: with_time_per_token(build_tiny_pipeline()),
    "cogvideox": lambda: build_tiny_cogvideox(newer=False),
    "cogvideox1.5": lambda: build_tiny_cogvideox(newer=True),
}
PROMPTS = held_out_prompts(2, 3, 9)


def _recipe(kind: str, tmp_path: Path, model: dict[str, Any] | None = None, **sections: Any) -> Recipe:
    """Of a pipeline of that kind with random weights, saved beside it."""
    base = tmp_path / "base"
    BUILDERS[kind]().save_pretrained(base)
    tokens = 16 if kind.startswith("cog") else 24
    named = {"path": str(base), "max_tokens": tokens, "rank": 4, "alpha": 8, **(model or {})}
    plain = {"clip": {"frames": 9, "height": 32, "width": 32}, "sampling": {"steps": 4, "micro_batch": 1}}
    return Recipe.model_validate({"model": named, **plain, **sections})


def _trained(recipe: Recipe, root: Path) -> tuple[Policy, RunDirectory]:
    """The trainer's policy with weights that moved, and the run that saved them."""
    run = RunDirectory(root)
    root.mkdir()
    save_recipe(recipe, run.recipe)
    policy = load_policy(recipe)
    with torch.no_grad():
        for parameter in policy.trainable_parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    policy.save(run.lora if recipe.model.adapter == "lora" else run.pipeline)
    return policy, run


def _difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


@pytest.mark.parametrize("kind", BUILDERS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_base_and_trained_sample_as_in_training(kind: str, dtype: str, tmp_path: Path) -> None:
    sampling = {"steps": 4, "window_range": (1, 3), "guidance": 3.0, "micro_batch": 1}
    recipe = _recipe(kind, tmp_path, {"dtype": dtype}, sampling=sampling, objective={"name": "grpo"})
    policy, run = _trained(recipe, tmp_path / "run")
    expected = draw(policy, PROMPTS, recipe, seed=1)
    with policy.base():
        before = draw(policy, PROMPTS, recipe, seed=1)
    trained, base = load_sampler(str(run.root), recipe), load_sampler(recipe.model.path, recipe)
    assert type(trained) is type(policy)
    assert (trained.autocast, trained.guidance) == (torch.bfloat16 if dtype == "bfloat16" else None, 3.0)
    assert torch.equal(draw(trained, PROMPTS, recipe, seed=1), expected)
    assert torch.equal(draw(base, PROMPTS, recipe, seed=1), before)
    assert _difference(expected, before) > 1e-3


def test_weights_trained_in_full_are_not_rounded(tmp_path: Path) -> None:
    recipe = _recipe("wan2.2 two experts", tmp_path, {"adapter": "full", "dtype": "bfloat16"})
    policy, run = _trained(recipe, tmp_path / "run")
    sampler = load_sampler(str(run.root), recipe)
    assert sampler.pipeline.transformer_2.dtype == torch.float32
    assert torch.equal(draw(sampler, PROMPTS, recipe, seed=1), draw(policy, PROMPTS, recipe, seed=1))


def test_embeddings_that_training_cached_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import UMT5EncoderModel

    recipe = _recipe("wan2.1", tmp_path, {"embeds_cache": str(tmp_path / "embeds")})
    policy, run = _trained(recipe, tmp_path / "run")
    expected = draw(policy, PROMPTS, recipe, seed=1)
    assert policy.pipeline.text_encoder._encoder is None  # type: ignore[attr-defined]

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the text encoder was loaded")

    monkeypatch.setattr(UMT5EncoderModel, "from_pretrained", refuse)
    assert torch.equal(draw(load_sampler(str(run.root), recipe), PROMPTS, recipe, seed=1), expected)


@pytest.mark.parametrize("kind", BUILDERS)
def test_a_video_goes_through_the_autoencoder_as_it_is(kind: str, tmp_path: Path) -> None:
    """Whatever scales the latents cancels out: the same as encoding and decoding without any."""
    recipe = _recipe(kind, tmp_path)
    policy = load_sampler(recipe.model.path, recipe)
    videos = torch.rand(3, 9, 3, 64, 64)
    shape = policy.latent_shape(9, 64, 64)
    lead = 1 if kind == "cogvideox1.5" else 0
    assert policy.compress(videos).shape == (3, shape[0], shape[1] - lead, *shape[2:])
    vae = policy.pipeline.vae
    with torch.no_grad():
        decoded = vae.decode(vae.encode((videos * 2 - 1).transpose(1, 2)).latent_dist.mode()).sample
    expected = (decoded / 2 + 0.5).clamp(0, 1).transpose(1, 2)
    torch.testing.assert_close(through_vae(policy, videos, micro_batch=2), expected, rtol=0, atol=1e-4)
    assert float(expected.std()) > 1e-3


@pytest.mark.parametrize("kind", ["wan2.2 two experts", "cogvideox"])
def test_evaluate_takes_a_run_of_any_adapter(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = _recipe(kind, tmp_path, {"dtype": "bfloat16"}, clip={"frames": 17})
    _, run = _trained(recipe, tmp_path / "run")
    words = ["--prompts", "3", "--dynamic", "1", "--fitted", "0", "--json"]
    assert main(["evaluate", str(run.root), *words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["extent"]["prompts"] == 3
    assert {"base", "trained", "ground_truth"} <= told["metrics"]["general"].keys()
    assert (run.root / "report.html").is_file()
