"""The shipped pipeline: plain diffusers loads it, it stays small, it follows its prompt, injected noise survives it."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import worldr1
from worldr1.camera import Trajectory
from worldr1.noise import injection_survival, wrap_noise
from worldr1.policy.wan import WanPolicy
from worldr1.sampling.rollout import rollout
from worldr1.tinyworld import pipeline_dir
from worldr1.tinyworld.vocabulary import COLORS


@pytest.fixture(scope="module")
def policy() -> WanPolicy:
    return WanPolicy(worldr1.load_pipeline("tiny"), guidance=1.0, max_sequence_length=32)


def _videos(policy: WanPolicy, prompts: list[str], strength: float = 0.6) -> torch.Tensor:
    noise = torch.stack(
        [wrap_noise(Trajectory.from_prompt(p, 17), (16, 5, 8, 8), i, strength) for i, p in enumerate(prompts)]
    )
    with torch.no_grad():
        return policy.decode(rollout(policy, policy.encode(prompts), noise, policy.sigmas(10)).latents)


def test_plain_diffusers_loads_and_generates() -> None:
    from diffusers import WanPipeline

    pipe = WanPipeline.from_pretrained(pipeline_dir())
    pipe.set_progress_bar_config(disable=True)
    frames = pipe(
        "camera push in. a green sphere on open grass",
        height=64,
        width=64,
        num_frames=17,
        num_inference_steps=4,
        guidance_scale=1.0,
        max_sequence_length=32,
        output_type="np",
        generator=torch.Generator().manual_seed(0),
    ).frames
    assert frames.shape == (1, 17, 64, 64, 3)
    assert 0.05 < frames.std() < 0.5


def test_all_tiny_weights_together_stay_under_25_mb() -> None:
    package = Path(worldr1.__file__).parent
    assert sum(file.stat().st_size for file in package.rglob("*.safetensors")) < 25e6


def test_objects_have_the_colour_that_was_asked_for(policy: WanPolicy) -> None:
    """The asked colour explains the frames' most saturated pixels better than the five others do, for 9 of 12 clips."""
    names = ["red", "green", "blue", "yellow"]
    prompts = [
        f"camera fixed. a {color} box in a {room} room" for color in names for room in ("tiled", "dotted", "striped")
    ]
    videos = _videos(policy, prompts)
    hits = 0
    for prompt, video in zip(prompts, videos, strict=True):
        pixels = video[::4, :, 20:52, 12:52].permute(0, 2, 3, 1).reshape(-1, 3)
        spread = pixels.amax(1) - pixels.amin(1)
        vivid = pixels[spread >= spread.quantile(0.97)].mean(0)
        distance = {
            c: float(np.linalg.norm(vivid / vivid.norm() - np.array(v) / np.linalg.norm(v))) for c, v in COLORS.items()
        }
        hits += min(distance, key=distance.__getitem__) == prompt.split()[3]
    assert hits >= 9


def test_injected_noise_reaches_the_model_at_every_noisy_step(policy: WanPolicy) -> None:
    """Correlation with the injected noise stays near the straight path's, sigma / sqrt(sigma^2 + (1 - sigma)^2)."""
    prompts = ["camera move left. a red box in a tiled room", "camera push in. a blue sphere on open sand"]
    noise = torch.stack([wrap_noise(Trajectory.from_prompt(p, 17), (16, 5, 8, 8), seed=3) for p in prompts])
    states: list[torch.Tensor] = []
    sigmas = policy.sigmas(10)
    with torch.no_grad():
        rollout(policy, policy.encode(prompts), noise, sigmas, observe=lambda _, x: states.append(x.clone()))
    survival = injection_survival(states, noise).mean(1)
    straight = sigmas / (sigmas.square() + (1 - sigmas).square()).sqrt()
    assert survival[0] == pytest.approx(1.0)
    assert all(later < earlier for earlier, later in pairwise(survival.tolist()))
    noisy = sigmas >= 0.4
    assert bool((survival[noisy] > 0.8 * straight[noisy]).all())
