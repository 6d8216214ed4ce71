"""Wan2.2 as a policy, against its own pipeline: two experts, and a time per token."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from tiny_pipeline_parts import with_time_per_token, with_two_experts
from worldr1.pipelines import load_pipeline
from worldr1.planning.shapes import parameters_of, shape_of, trainable_parameters
from worldr1.planning.work import measure_forward
from worldr1.policy import LoraSettings, WanPolicy
from worldr1.recipes import Recipe
from worldr1.recipes.settings import ClipSettings, ModelSettings
from worldr1.rl.assemble_policy import wrap
from worldr1.sampling import rollout

PROMPT = "camera orbit left, then push in. a red box"
FRAMES, SIDE, LENGTH, STEPS = 5, 32, 24, 4
BOUNDARY = 0.8
LORA = LoraSettings(rank=4, alpha=12)


@pytest.fixture
def experts(tiny_pipeline: Any) -> Any:
    """A pipeline of two experts, as Wan2.2-T2V-A14B is one."""
    return with_two_experts(tiny_pipeline, BOUNDARY)


@pytest.fixture
def per_token(tiny_pipeline: Any) -> Any:
    """A pipeline with a time per token, as Wan2.2-TI2V-5B is one."""
    return with_time_per_token(tiny_pipeline)


def _pipeline_output(pipeline: Any, noise: Tensor, side: int = SIDE, **change: Any) -> Any:
    arguments = {
        "prompt": PROMPT,
        "negative_prompt": "blurry",
        "height": side,
        "width": side,
        "num_frames": FRAMES,
        "num_inference_steps": STEPS,
        "guidance_scale": 1.0,
        "max_sequence_length": LENGTH,
        "latents": noise,
        "output_type": "latent",
    }
    return pipeline(**{**arguments, **change}).frames


def _sigmas(pipeline: Any) -> Tensor:
    scheduler = copy.deepcopy(pipeline.scheduler)
    scheduler.set_timesteps(STEPS)
    return scheduler.sigmas


def _sample(policy: WanPolicy, noise: Tensor) -> Tensor:
    return rollout(policy, policy.encode([PROMPT]), noise, _sigmas(policy.pipeline)).latents


def _randomise(policy: WanPolicy) -> None:
    with torch.no_grad():
        for parameter in policy.trainable_parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


@pytest.mark.parametrize(("guidance", "second"), [(1.0, None), (4.0, None), (4.0, 3.0), (4.0, 1.0), (1.0, 3.0)])
def test_two_experts_share_the_path_as_in_the_pipeline(experts: Any, guidance: float, second: float | None) -> None:
    """Also with a scale for each; where the first is 1 the pipeline guides neither."""
    sigmas = _sigmas(experts)[:-1]
    assert 0 < int((sigmas < BOUNDARY).sum()) < STEPS, "the test needs steps on both sides of the boundary"
    policy = WanPolicy(experts, guidance, LENGTH, lora=LORA, negative_prompt="blurry", guidance_2=second)
    noise = torch.randn(1, *policy.latent_shape(FRAMES, SIDE, SIDE))
    theirs = _pipeline_output(experts, noise, guidance_scale=guidance, guidance_scale_2=second)
    assert torch.equal(_sample(policy, noise), theirs)
    with_one = _pipeline_output(experts, noise, guidance_scale=guidance)
    assert torch.equal(theirs, with_one) == (second is None or guidance == 1.0)


def test_each_sample_of_a_batch_is_guided_by_its_expert_s_scale(experts: Any) -> None:
    policy = WanPolicy(experts, 4.0, LENGTH, lora=LORA, negative_prompt="blurry", guidance_2=2.0)
    x = torch.randn(3, *policy.latent_shape(FRAMES, SIDE, SIDE))
    sigma, text = torch.tensor([0.9, 0.2, 0.5]), policy.encode([PROMPT] * 3)
    together = policy.velocity(x, sigma, text)
    for row, scale in enumerate((4.0, 2.0, 2.0)):
        part = slice(row, row + 1)
        alone = WanPolicy(experts, scale, LENGTH, samples_only=True, negative_prompt="blurry")
        expected = alone.velocity(x[part], sigma[part], text.index(part))
        torch.testing.assert_close(together[part], expected, rtol=0, atol=1e-5)


def test_a_recipe_s_second_scale_reaches_the_policy_and_needs_two_experts(experts: Any, tiny_pipeline: Any) -> None:
    model, sampling = {"max_tokens": LENGTH, "rank": 2, "alpha": 2}, {"guidance": 4.0, "guidance_2": 3.0}
    recipe = Recipe.model_validate({"model": model, "sampling": sampling, "objective": {"name": "grpo"}})
    policy = wrap(experts, recipe)
    assert (policy.guidance, policy.guidance_2) == (4.0, 3.0)
    with pytest.raises(ValueError, match="second of two experts, which this pipeline lacks"):
        wrap(tiny_pipeline, recipe)
    with pytest.raises(ValidationError, match="guidance_2 goes with guidance above 1"):
        Recipe.model_validate({"sampling": {"guidance_2": 3.0}})


def test_samples_of_one_batch_may_lie_on_both_sides_of_the_boundary(experts: Any) -> None:
    policy = WanPolicy(experts, max_sequence_length=LENGTH, lora=LORA)
    x = torch.randn(4, *policy.latent_shape(FRAMES, SIDE, SIDE))
    sigma = torch.tensor([0.9, 0.2, BOUNDARY, 0.79])
    text = policy.encode([PROMPT, "a", "b", "c"])
    together = policy.velocity(x, sigma, text)
    for row in range(4):
        network = experts.transformer if float(sigma[row]) >= BOUNDARY else experts.transformer_2
        part = slice(row, row + 1)
        alone = network(x[part], 1000 * sigma[part], text.embeds[part], return_dict=False)[0]
        torch.testing.assert_close(together[part], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("lora", [LORA, None])
def test_both_experts_learn_have_a_base_and_keep_their_state(experts: Any, lora: LoraSettings | None) -> None:
    policy = WanPolicy(experts, max_sequence_length=LENGTH, lora=lora)
    x = torch.randn(2, *policy.latent_shape(FRAMES, SIDE, SIDE))
    sigma, text = torch.tensor([0.9, 0.3]), policy.encode([PROMPT] * 2)
    with torch.no_grad():
        before = policy.velocity(x, sigma, text)
        state = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
        _randomise(policy)
        moved = (policy.velocity(x, sigma, text) - before).flatten(1).norm(dim=1)
        assert bool((moved > 1e-2).all())
        with policy.base():
            assert torch.equal(policy.velocity(x, sigma, text), before)
    policy.velocity(x, sigma, text).square().mean().backward()
    of_second = [name.startswith("transformer_2.") for name in policy.state_dict()]
    assert 2 * sum(of_second) == len(of_second)
    assert sum(float(p.grad.abs().sum()) > 0 for p in policy.trainable_parameters() if p.grad is not None) > 4
    with torch.no_grad():
        policy.load_state_dict(state)
        assert torch.equal(policy.velocity(x, sigma, text), before)


def test_both_adapters_are_saved_and_load_into_a_plain_pipeline(experts: Any, tmp_path: Path) -> None:
    experts.save_pretrained(tmp_path / "base")
    policy = WanPolicy(experts, max_sequence_length=LENGTH, lora=LORA)
    noise = torch.randn(1, *policy.latent_shape(FRAMES, SIDE, SIDE))
    _randomise(policy)
    policy.save(tmp_path / "lora")
    loaded = load_pipeline(tmp_path / "base", lora=tmp_path / "lora")
    assert loaded.transformer_2.peft_config
    torch.testing.assert_close(_pipeline_output(loaded, noise), _sample(policy, noise), rtol=0, atol=1e-6)
    assert not torch.allclose(
        _pipeline_output(load_pipeline(tmp_path / "base"), noise), _sample(policy, noise), atol=0.01
    )


def test_an_expert_that_is_missing_is_named(tiny_pipeline: Any) -> None:
    tiny_pipeline.register_to_config(boundary_ratio=0.875)
    with pytest.raises(ValueError, match=r"boundary_ratio=0\.875, but transformer_2 is missing"):
        WanPolicy(tiny_pipeline)


@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_a_time_per_token_is_the_pipelines(per_token: Any, guidance: float) -> None:
    policy = WanPolicy(per_token, guidance, LENGTH, lora=LORA, negative_prompt="blurry")
    shape = policy.latent_shape(FRAMES, 64, 64)
    assert shape == (8, 2, 4, 4)
    with pytest.raises(ValueError, match="multiple of 32, got 48"):
        policy.latent_shape(FRAMES, 48, 64)
    noise = torch.randn(1, *shape)
    assert torch.equal(_sample(policy, noise), _pipeline_output(per_token, noise, 64, guidance_scale=guidance))
    ours = policy.decode(_sample(policy, noise)).permute(0, 1, 3, 4, 2).numpy()
    theirs = _pipeline_output(per_token, noise, 64, guidance_scale=guidance, output_type="np")
    assert ours.shape == (1, FRAMES, 64, 64, 3)
    np.testing.assert_array_equal(ours, theirs)


def test_the_plan_reads_both_kinds_from_their_files(experts: Any, per_token: Any, tmp_path: Path) -> None:
    for name, pipeline, count in (("experts", experts, 2), ("per-token", per_token, 1)):
        pipeline.save_pretrained(tmp_path / name)
        model = ModelSettings(path=str(tmp_path / name), max_tokens=LENGTH, rank=2, alpha=2)
        shape = shape_of(model)
        assert (shape.pipeline, shape.experts, shape.per_token) == ("WanPipeline", count, name == "per-token")
        assert parameters_of(shape.build_transformer()) == parameters_of(pipeline.transformer)
        assert parameters_of(shape.build_vae()) == parameters_of(pipeline.vae)
        assert shape.text_parameters == parameters_of(pipeline.text_encoder)
        policy = WanPolicy(pipeline, 1.0, LENGTH, lora=LoraSettings(2, 2))
        assert trainable_parameters(shape, model) == sum(p.numel() for p in policy.trainable_parameters())
        assert measure_forward(shape, model, ClipSettings(frames=FRAMES, height=64, width=64)).flops > 0
    with pytest.raises(ValueError, match="height must be a positive multiple of 32, got 48"):
        measure_forward(shape, model, ClipSettings(frames=FRAMES, height=48, width=64))
