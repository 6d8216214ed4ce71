"""WanPolicy against the pipeline that it wraps."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from worldr1.policy import Conditioning, LoraSettings, WanPolicy
from worldr1.policy.wan import flow_shift
from worldr1.sampling import rollout

PROMPT = "camera orbit left, then push in. a red box"
FRAMES, SIDE, LENGTH, STEPS = 5, 32, 24, 4
LORA = LoraSettings(rank=4, alpha=12)


def _pipeline_output(pipeline: Any, noise: Tensor, output_type: str = "latent", **change: Any) -> Any:
    arguments = {
        "prompt": PROMPT,
        "height": SIDE,
        "width": SIDE,
        "num_frames": FRAMES,
        "num_inference_steps": STEPS,
        "guidance_scale": 1.0,
        "max_sequence_length": LENGTH,
        "latents": noise,
        "output_type": output_type,
    }
    return pipeline(**{**arguments, **change}).frames


def _noise(policy: WanPolicy, batch: int = 1) -> Tensor:
    return torch.randn(batch, *policy.latent_shape(FRAMES, SIDE, SIDE))


def _scheduler_sigmas(pipeline: Any) -> Tensor:
    scheduler = copy.deepcopy(pipeline.scheduler)
    scheduler.set_timesteps(STEPS)
    return scheduler.sigmas


def _randomise(policy: WanPolicy, scale: float = 0.1) -> None:
    with torch.no_grad():
        for parameter in policy.trainable_parameters():
            parameter.add_(scale * torch.randn_like(parameter))


def _velocity(policy: WanPolicy, x: Tensor) -> Tensor:
    return policy.velocity(x, torch.full((len(x),), 0.6), policy.encode([PROMPT] * len(x)))


@pytest.mark.parametrize("guidance", [1.0, 4.5])
def test_euler_rollout_is_the_pipelines_output_bit_for_bit(tiny_pipeline: Any, guidance: float) -> None:
    policy = WanPolicy(
        tiny_pipeline, guidance=guidance, max_sequence_length=LENGTH, lora=LORA, negative_prompt="blurry"
    )
    noise = _noise(policy)
    ours = rollout(policy, policy.encode([PROMPT]), noise, _scheduler_sigmas(tiny_pipeline)).latents
    theirs = _pipeline_output(tiny_pipeline, noise, guidance_scale=guidance, negative_prompt="blurry")
    assert torch.equal(ours, theirs)


def test_decode_is_the_pipelines_video(tiny_pipeline: Any) -> None:
    policy = WanPolicy(tiny_pipeline, max_sequence_length=LENGTH, lora=LORA)
    noise = _noise(policy)
    ours = policy.decode(rollout(policy, policy.encode([PROMPT]), noise, _scheduler_sigmas(tiny_pipeline)).latents)
    theirs = _pipeline_output(tiny_pipeline, noise, output_type="np")
    assert ours.shape == (1, FRAMES, 3, SIDE, SIDE)
    assert ours.dtype == torch.float32
    np.testing.assert_array_equal(ours.permute(0, 1, 3, 4, 2).numpy(), theirs)
    assert 0 <= float(ours.min()) < float(ours.max()) <= 1


def test_encode_is_the_pipelines_and_each_prompt_is_encoded_once(
    tiny_pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.no_grad():
        expected, _ = tiny_pipeline.encode_prompt(PROMPT, do_classifier_free_guidance=False, max_sequence_length=LENGTH)
    policy = WanPolicy(tiny_pipeline, max_sequence_length=LENGTH, lora=LORA)
    calls: list[str] = []
    encode_prompt = tiny_pipeline.encode_prompt

    def counted(prompt: str, **rest: Any) -> Any:
        calls.append(prompt)
        return encode_prompt(prompt, **rest)

    monkeypatch.setattr(tiny_pipeline, "encode_prompt", counted)
    first = policy.encode([PROMPT, "a blue sphere", PROMPT])
    second = policy.encode(["a blue sphere", PROMPT])
    assert calls == [PROMPT, "a blue sphere"]
    assert torch.equal(first.embeds[:1], expected)
    assert torch.equal(first.embeds[2], second.embeds[1])
    assert torch.equal(first.embeds[1], second.embeds[0])


def test_conditioning_repeats_group_after_group() -> None:
    text = Conditioning(torch.arange(2.0).reshape(2, 1, 1)).repeat(3)
    assert text.embeds.flatten().tolist() == [0, 0, 0, 1, 1, 1]
    assert text.index(slice(2, 4)).embeds.flatten().tolist() == [0, 1]
    assert text.index(torch.tensor([5, 0])).embeds.flatten().tolist() == [1, 0]
    with pytest.raises(ValueError, match=re.escape("[B, L, D]")):
        Conditioning(torch.zeros(2, 3))


def test_sigmas_are_those_of_both_of_wans_schedulers(tiny_pipeline: Any) -> None:
    from diffusers import UniPCMultistepScheduler

    sigmas = WanPolicy(tiny_pipeline, lora=LORA).sigmas(10)
    euler = copy.deepcopy(tiny_pipeline.scheduler)
    euler.set_timesteps(sigmas=np.linspace(1, 0, 11)[:-1].tolist())
    torch.testing.assert_close(sigmas, euler.sigmas, rtol=0, atol=1e-6)
    unipc = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    unipc.set_timesteps(10)
    torch.testing.assert_close(sigmas, unipc.sigmas, rtol=0, atol=3e-3)  # its grid ends at 1/1000 instead of 0
    assert float(sigmas[0]) == 1.0
    assert float(sigmas[-1]) == 0.0


def test_shift_is_read_from_either_key_and_its_absence_is_named() -> None:
    assert flow_shift({"shift": 3.0}) == 3.0
    assert flow_shift({"flow_shift": 5.0}) == 5.0
    with pytest.raises(ValueError, match="flow-matching scheduler"):
        flow_shift({"beta_start": 0.1})
    with pytest.raises(ValueError, match="constant shift"):
        flow_shift({"shift": 3.0, "use_dynamic_shifting": True})


def test_latent_shape_is_the_pipelines(tiny_pipeline: Any) -> None:
    policy = WanPolicy(tiny_pipeline, lora=LORA)
    expected = tiny_pipeline.prepare_latents(1, 4, 48, 64, 9, torch.float32, torch.device("cpu"), None, None)
    assert policy.latent_shape(9, 48, 64) == tuple(expected.shape[1:])
    with pytest.raises(ValueError, match="multiple of 4, got 8"):
        policy.latent_shape(8, 48, 64)
    with pytest.raises(ValueError, match="width must be a positive multiple of 16, got 40"):
        policy.latent_shape(9, 48, 40)


def test_bad_velocity_input_is_named(tiny_pipeline: Any) -> None:
    policy = WanPolicy(tiny_pipeline, lora=LORA, max_sequence_length=LENGTH)
    with pytest.raises(ValueError, match=re.escape("sigma [2] and 2 prompts")):
        policy.velocity(_noise(policy, 2), torch.tensor(0.5), policy.encode([PROMPT] * 2))
    with pytest.raises(ValueError, match="sequence of prompts"):
        policy.encode(PROMPT)


@pytest.mark.parametrize("lora", [LORA, None])
def test_base_is_the_untrained_model_and_leaves_no_trace(tiny_pipeline: Any, lora: LoraSettings | None) -> None:
    untouched = copy.deepcopy(tiny_pipeline.transformer)
    policy = WanPolicy(tiny_pipeline, max_sequence_length=LENGTH, lora=lora)
    x = _noise(policy, 2)
    with torch.no_grad():
        expected = untouched(x, torch.full((2,), 600.0), policy.encode([PROMPT] * 2).embeds, return_dict=False)[0]
        assert torch.equal(_velocity(policy, x), expected)
        _randomise(policy)
        trained = _velocity(policy, x)
        assert not torch.allclose(trained, expected, atol=1e-3)
        with policy.base():
            with policy.base():
                assert torch.equal(_velocity(policy, x), expected)
            assert torch.equal(_velocity(policy, x), expected)
        assert torch.equal(_velocity(policy, x), trained)
        with pytest.raises(RuntimeError, match="inside"), policy.base():
            raise RuntimeError("inside")
        assert torch.equal(_velocity(policy, x), trained)
    assert all(parameter.requires_grad for parameter in policy.trainable_parameters())


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_a_policy_that_only_samples_copies_and_converts_no_weights(tiny_pipeline: Any, weights: torch.dtype) -> None:
    tiny_pipeline.transformer.to(weights)
    before = {name: tensor.data_ptr() for name, tensor in tiny_pipeline.transformer.state_dict().items()}
    policy = WanPolicy(tiny_pipeline, max_sequence_length=LENGTH, samples_only=True)
    noise = _noise(policy)
    made = _velocity(policy, noise)
    after = tiny_pipeline.transformer.state_dict()
    assert {name: tensor.data_ptr() for name, tensor in after.items()} == before
    text = policy.encode([PROMPT]).embeds
    with torch.no_grad():
        plain = tiny_pipeline.transformer(noise.to(weights), torch.tensor([600.0]), text, return_dict=False)[0]
    assert plain.dtype == weights
    assert torch.equal(made, plain.float())
    assert policy.trainable_parameters() == []
    assert policy._frozen == []
    with policy.base():
        assert torch.equal(_velocity(policy, noise), _velocity(policy, noise))
    assert not _velocity(policy, noise).requires_grad
    with pytest.raises(ValueError, match="trained nothing"):
        policy.save("nowhere")
    with pytest.raises(ValueError, match="not both"):
        WanPolicy(tiny_pipeline, lora=LORA, samples_only=True)


def test_only_adapters_train_and_gradients_reach_them(tiny_pipeline: Any) -> None:
    policy = WanPolicy(tiny_pipeline, max_sequence_length=LENGTH, lora=LORA)
    _randomise(policy)
    _velocity(policy, _noise(policy)).square().mean().backward()
    names = set(policy.state_dict())
    assert names
    assert all("lora" in name for name in names)
    for name, parameter in tiny_pipeline.transformer.named_parameters():
        assert (parameter.grad is not None) == (name in names), name


@pytest.mark.parametrize("trained_by", ["lora", "lora without metadata", "full"])
def test_saved_weights_give_the_same_frames_in_a_plain_pipeline(
    tiny_pipeline: Any, tmp_path: Path, trained_by: str
) -> None:
    from diffusers import WanPipeline

    tiny_pipeline.save_pretrained(tmp_path / "base")
    lora = None if trained_by == "full" else LoraSettings(rank=4, alpha=8)  # the paper's ratio, exact in binary
    policy = WanPolicy(tiny_pipeline, max_sequence_length=LENGTH, lora=lora)
    noise = _noise(policy)
    base = policy.decode(_pipeline_output(tiny_pipeline, noise))
    _randomise(policy)
    policy.save(tmp_path / "trained")
    source = tmp_path / ("trained" if trained_by == "full" else "base")
    plain = WanPipeline.from_pretrained(source, local_files_only=True)
    plain.set_progress_bar_config(disable=True)
    if trained_by == "lora":
        plain.load_lora_weights(tmp_path / "trained")
    elif trained_by == "lora without metadata":  # as tools read it that look at the matrices only
        file = tmp_path / "trained" / "pytorch_lora_weights.safetensors"
        save_file(load_file(file), file)
        plain.load_lora_weights(tmp_path / "trained")
    latents = rollout(policy, policy.encode([PROMPT]), noise, _scheduler_sigmas(tiny_pipeline)).latents
    assert torch.equal(_pipeline_output(plain, noise), latents)
    frames = policy.decode(latents)
    assert float((frames - base).abs().max()) > 0.02, "the frames must show what was trained"
    theirs = _pipeline_output(plain, noise, output_type="np")
    np.testing.assert_array_equal(theirs, frames.permute(0, 1, 3, 4, 2).numpy())


def test_the_saved_adapter_has_the_trained_strength_for_every_reader(tiny_pipeline: Any, tmp_path: Path) -> None:
    policy = WanPolicy(tiny_pipeline, max_sequence_length=LENGTH, lora=LoraSettings(rank=4, alpha=8))
    _randomise(policy)
    policy.save(tmp_path)
    layer = tiny_pipeline.transformer.get_submodule("blocks.1.attn1.to_q")
    x = torch.randn(5, layer.in_features)
    with torch.no_grad():
        trained = layer(x) - layer.base_layer(x)
    with safe_open(tmp_path / "pytorch_lora_weights.safetensors", "pt") as file:
        settings = json.loads(file.metadata()["lora_adapter_metadata"])
        down, up = (file.get_tensor(f"transformer.blocks.1.attn1.to_q.lora_{part}.weight") for part in "AB")
        assert not any(name.endswith(".alpha") for name in file.keys())  # noqa: SIM118
    assert settings["transformer.lora_alpha"] == settings["transformer.r"] == 4
    torch.testing.assert_close(x @ down.T @ up.T, trained, rtol=0, atol=1e-5)
    assert torch.equal(up, 2 * layer.lora_B["default"].weight), "8 / 4 is folded in without rounding"


def test_an_extrapolated_adapter_is_the_pipelines_adapter_with_that_weight(tiny_pipeline: Any, tmp_path: Path) -> None:
    from diffusers import WanPipeline

    tiny_pipeline.save_pretrained(tmp_path / "base")
    policy = WanPolicy(tiny_pipeline, max_sequence_length=LENGTH, lora=LORA)
    noise = _noise(policy)
    _randomise(policy, 0.03)
    policy.save(tmp_path / "trained")
    with policy.extrapolated(1.7):
        ours = rollout(policy, policy.encode([PROMPT]), noise, _scheduler_sigmas(tiny_pipeline)).latents
    plain = WanPipeline.from_pretrained(tmp_path / "base", local_files_only=True)
    plain.set_progress_bar_config(disable=True)
    plain.load_lora_weights(tmp_path / "trained", adapter_name="consistent")
    assert not torch.allclose(_pipeline_output(plain, noise), ours, atol=1e-3)
    plain.set_adapters("consistent", 1.7)
    torch.testing.assert_close(_pipeline_output(plain, noise), ours, rtol=0, atol=1e-5)


@pytest.mark.parametrize("lora", [LORA, None])
def test_extrapolation_goes_from_the_base_through_the_present_weights(
    tiny_pipeline: Any, lora: LoraSettings | None
) -> None:
    policy = WanPolicy(tiny_pipeline, max_sequence_length=LENGTH, lora=lora)
    _randomise(policy, 0.03)
    x = _noise(policy, 2)
    with torch.no_grad():
        with policy.base():
            base = _velocity(policy, x)
        present = _velocity(policy, x)
        at = {}
        for scale in (0.0, 1.0, 2.0):
            with policy.extrapolated(scale):
                at[scale] = _velocity(policy, x)
        assert torch.equal(_velocity(policy, x), present)
    torch.testing.assert_close(at[0.0], base, rtol=0, atol=1e-6)
    assert torch.equal(at[1.0], present)
    assert (at[2.0] - base).norm() > 1.3 * (present - base).norm()


@pytest.mark.parametrize("lora", [LORA, None])
def test_state_goes_round_and_a_foreign_state_is_refused(tiny_pipeline: Any, lora: LoraSettings | None) -> None:
    policy = WanPolicy(tiny_pipeline, max_sequence_length=LENGTH, lora=lora)
    x = _noise(policy)
    _randomise(policy)
    state = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    with torch.no_grad():
        expected = _velocity(policy, x)
        _randomise(policy)
        assert not torch.equal(_velocity(policy, x), expected)
        policy.load_state_dict(state)
        assert torch.equal(_velocity(policy, x), expected)
    with pytest.raises(ValueError, match="names differ"):
        policy.load_state_dict({"other": torch.zeros(1)})


@pytest.mark.filterwarnings("ignore:Mismatch dtype")
@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_low_precision_networks_give_fp32_velocities_and_fp32_trainables(
    tiny_pipeline: Any, weights: torch.dtype
) -> None:
    reference = WanPolicy(copy.copy(tiny_pipeline), max_sequence_length=LENGTH)
    x = _noise(reference)
    with torch.no_grad():
        exact = _velocity(reference, x)
    tiny_pipeline.transformer.to(weights)
    policy = WanPolicy(
        tiny_pipeline,
        max_sequence_length=LENGTH,
        lora=LORA,
        autocast=torch.bfloat16 if weights == torch.float32 else None,
    )
    velocity = _velocity(policy, x)
    velocity.square().mean().backward()
    assert velocity.dtype == torch.float32
    assert {parameter.dtype for parameter in policy.trainable_parameters()} == {torch.float32}
    relative = (velocity.detach() - exact).norm() / exact.norm()
    assert 1e-5 < float(relative) < 0.05


def test_gradient_checkpointing_gives_the_same_gradients(tiny_pipeline: Any) -> None:
    gradients = []
    for checkpointing in (False, True):
        policy = WanPolicy(
            copy.deepcopy(tiny_pipeline), max_sequence_length=LENGTH, gradient_checkpointing=checkpointing
        )
        x = torch.ones(1, *policy.latent_shape(FRAMES, SIDE, SIDE))
        _velocity(policy, x).square().mean().backward()
        gradients.append([parameter.grad for parameter in policy.trainable_parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)
