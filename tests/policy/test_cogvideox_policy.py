"""CogVideoX as a flow-matching policy, against its own pipeline and the identities between the two."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tiny_pipeline_parts import build_tiny_cogvideox
from worldr1.camera.trajectory import Trajectory
from worldr1.noise import wrap_noise
from worldr1.noise.flow import latent_poses
from worldr1.pipelines import load_pipeline
from worldr1.planning.shapes import parameters_of, shape_of
from worldr1.policy import LoraSettings
from worldr1.policy.adapters import adapter_of, make_policy
from worldr1.policy.cogvideox import CogVideoXPolicy
from worldr1.recipes import Recipe
from worldr1.rl.assemble_policy import load_policy
from worldr1.sampling import rollout

PROMPT = "camera orbit left, then push in. a red box"
FRAMES, SIDE, LENGTH, STEPS = 9, 32, 16, 5
LORA = LoraSettings(rank=4, alpha=12)


@pytest.fixture
def pipeline() -> Any:
    return build_tiny_cogvideox(newer=True)


def _pipeline_output(pipeline: Any, noise: Tensor, output_type: str = "latent", guidance: float = 1.0) -> Any:
    return pipeline(
        prompt=PROMPT,
        negative_prompt="blurry",
        height=SIDE,
        width=SIDE,
        num_frames=FRAMES,
        num_inference_steps=STEPS,
        guidance_scale=guidance,
        max_sequence_length=LENGTH,
        latents=noise.transpose(1, 2),
        output_type=output_type,
    ).frames


def _sample(policy: CogVideoXPolicy, noise: Tensor) -> Tensor:
    return rollout(policy, policy.encode([PROMPT]), noise, policy.sigmas(STEPS)).latents


@pytest.mark.parametrize("newer", [True, False])
@pytest.mark.parametrize("guidance", [1.0, 6.0])
def test_euler_steps_of_the_flow_are_the_pipelines_ddim_steps(newer: bool, guidance: float) -> None:
    pipeline = build_tiny_cogvideox(newer)
    policy = CogVideoXPolicy(pipeline, guidance, LENGTH, lora=LORA, negative_prompt="blurry")
    noise = torch.randn(1, *policy.latent_shape(FRAMES, SIDE, SIDE))
    assert noise.shape[2] == (4 if newer else 3)
    ours, theirs = _sample(policy, noise), _pipeline_output(pipeline, noise, guidance=guidance).transpose(1, 2)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert float((ours - noise).norm() / noise.norm()) > 0.1
    video = policy.decode(ours).permute(0, 1, 3, 4, 2).numpy()
    assert video.shape == (1, FRAMES, SIDE, SIDE, 3)
    np.testing.assert_allclose(video, _pipeline_output(pipeline, noise, "np", guidance), atol=1e-4)


def test_velocity_is_noise_minus_data_for_a_network_that_knows_both(
    pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that answers v = a eps - b x0 of the state that it is shown gives the flow's eps - x0 at any level."""
    policy = CogVideoXPolicy(pipeline, max_sequence_length=LENGTH, lora=LORA)
    shape = (3, *policy.latent_shape(FRAMES, SIDE, SIDE))
    data, noise = torch.randn(shape), torch.randn(shape)
    sigma = torch.tensor([0.999, 0.5, 0.1])
    level = sigma.reshape(-1, 1, 1, 1, 1)
    seen: dict[str, Tensor] = {}

    def network(hidden_states: Tensor, timestep: Tensor, **_: Any) -> tuple[Tensor]:
        root = (level**2 + (1 - level) ** 2).sqrt()
        seen.update(state=hidden_states.transpose(1, 2), timestep=timestep)
        return ((((1 - level) * noise - level * data) / root).transpose(1, 2),)

    monkeypatch.setattr(policy._transformer, "forward", network)
    velocity = policy.velocity((1 - level) * data + level * noise, sigma, policy.encode([PROMPT] * 3))
    torch.testing.assert_close(velocity, noise - data, rtol=1e-4, atol=1e-4)
    kept = pipeline.scheduler.alphas_cumprod[seen["timestep"]].float().reshape(level.shape)
    expected = kept.sqrt() * data + (1 - kept).sqrt() * noise
    torch.testing.assert_close(seen["state"], expected, rtol=0, atol=0.02)  # between two whole timesteps


def test_the_schedule_runs_from_one_to_zero_and_hits_whole_timesteps(pipeline: Any) -> None:
    policy = CogVideoXPolicy(pipeline, lora=LORA)
    sigmas = policy.sigmas(STEPS)
    assert float(sigmas[0]) == 1.0
    assert float(sigmas[-1]) == 0.0
    assert bool((sigmas.diff() < 0).all())
    pipeline.scheduler.set_timesteps(STEPS)
    assert policy._timesteps(sigmas[:-1]).tolist() == pipeline.scheduler.timesteps.tolist()
    with pytest.raises(ValueError, match="at least 1"):
        policy.sigmas(0)
    leading = copy.copy(pipeline)
    leading.scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config, timestep_spacing="leading")
    with pytest.raises(ValueError, match="trailing"):
        CogVideoXPolicy(leading, samples_only=True).sigmas(STEPS)


def test_sizes_and_schedulers_that_do_not_fit_are_named(pipeline: Any) -> None:
    policy = CogVideoXPolicy(pipeline, lora=LORA)
    assert policy.latent_shape(81, 64, 32) == (4, 22, 8, 4)
    with pytest.raises(ValueError, match="1 plus a multiple of 8, got 5"):
        policy.latent_shape(5, SIDE, SIDE)
    with pytest.raises(ValueError, match="height must be a positive multiple of 16, got 40"):
        policy.latent_shape(9, 40, 32)
    pipeline.scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config, prediction_type="epsilon")
    with pytest.raises(ValueError, match="v_prediction"):
        CogVideoXPolicy(pipeline)


def test_the_frame_that_leads_in_shares_the_first_pose() -> None:
    path = Trajectory.from_moves(["push in"], 81)
    torch.testing.assert_close(latent_poses(path, 22)[1:], latent_poses(path, 21))
    torch.testing.assert_close(latent_poses(path, 22)[0], latent_poses(path, 22)[1])
    noise = wrap_noise(path, (4, 22, 4, 4), seed=0, strength=1.0)
    torch.testing.assert_close(noise[:, 0], noise[:, 1])
    assert not torch.allclose(noise[:, 1], noise[:, 5])


def test_only_adapters_train_and_reload_in_the_plain_pipeline(pipeline: Any, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path / "base")
    policy = make_policy(pipeline, max_sequence_length=LENGTH, lora=LORA)
    assert isinstance(policy, CogVideoXPolicy)
    noise = torch.randn(1, *policy.latent_shape(FRAMES, SIDE, SIDE))
    base = _sample(policy, noise)
    with torch.no_grad():
        for parameter in policy.trainable_parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    policy.velocity(noise, torch.tensor([0.6]), policy.encode([PROMPT])).square().mean().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in policy.trainable_parameters() if p.grad is not None)
    assert all("lora" in name for name in policy.state_dict())
    policy.save(tmp_path / "lora")
    loaded = load_pipeline(tmp_path / "base", lora=tmp_path / "lora")
    assert type(loaded).__name__ == "CogVideoXPipeline"
    theirs = _pipeline_output(loaded, noise).transpose(1, 2)
    torch.testing.assert_close(theirs, _sample(policy, noise), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(_sample(policy, noise), base, atol=1e-2)
    with torch.no_grad(), policy.base():
        torch.testing.assert_close(_sample(policy, noise), base)


def test_a_recipe_finds_the_policy_and_the_text_encoder_by_the_pipelines_files(pipeline: Any, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path / "base")
    with torch.no_grad():
        expected, _ = pipeline.encode_prompt(PROMPT, do_classifier_free_guidance=False, max_sequence_length=LENGTH)
    model = {"path": str(tmp_path / "base"), "max_tokens": LENGTH, "rank": 2, "alpha": 2}
    recipe = Recipe.model_validate({"model": {**model, "embeds_cache": str(tmp_path / "embeds")}})
    policy = load_policy(recipe, [PROMPT])
    assert isinstance(policy, CogVideoXPolicy)
    torch.testing.assert_close(policy.encode([PROMPT]).embeds, expected)
    shape = shape_of(recipe.model)
    assert (shape.pipeline, shape.experts, shape.per_token) == ("CogVideoXPipeline", 1, False)
    assert parameters_of(shape.build_transformer()) == parameters_of(pipeline.transformer)
    assert parameters_of(shape.build_vae()) == parameters_of(pipeline.vae)
    assert shape.text_parameters == parameters_of(pipeline.text_encoder)


def test_pipelines_of_other_classes_are_refused_before_their_weights_are_read(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "LTXPipeline", "_diffusers_version": "0.38.0"}')
    with pytest.raises(ValueError, match="no policy for pipelines of class LTXPipeline; there are policies for Wan"):
        load_pipeline(tmp_path)
    assert adapter_of("CogVideoXPipeline") is CogVideoXPolicy
