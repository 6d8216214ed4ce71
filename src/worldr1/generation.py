"""Camera-controlled video from a prompt: the moves it asks for steer the noise; the best of several can be kept."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from worldr1.camera.trajectory import Trajectory
from worldr1.noise import wrap_noise
from worldr1.pipelines import defaults_of
from worldr1.policy.wan import WanPolicy
from worldr1.sampling.rollout import rollout

if TYPE_CHECKING:
    from diffusers.pipelines.wan.pipeline_wan import WanPipeline

logger = logging.getLogger(__name__)


def generate(
    pipeline: WanPipeline,
    prompt: str,
    seed: int = 0,
    *,
    frames: int | None = None,
    height: int | None = None,
    width: int | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    strength: float | None = None,
    best_of: int = 1,
) -> Tensor:
    """Make a video whose camera moves as the prompt says.

    Args:
        pipeline: as `worldr1.load_pipeline` gives it.
        prompt: such as "camera orbit left, then push in. a red box and a blue sphere in a striped room".
        seed: of the initial noise; candidate n of `best_of` takes seed + n.
        frames: 4k + 1; like all that follow, what the pipeline was trained for when None.
        height, width: in pixels, multiples of 16.
        steps: of the sampler.
        guidance: classifier-free guidance scale, 1 for none.
        strength: share of the camera's motion in the noise, in [0, 1].
        best_of: make so many and keep the one that `worldr1.score` finds best.

    Returns:
        float32 [T, 3, H, W] in [0, 1].

    Raises:
        ValueError: for sizes that the pipeline cannot make, or `best_of` below 1.
    """
    if best_of < 1:
        raise ValueError(f"best_of is {best_of}; it must be at least 1")
    usual = defaults_of(pipeline)
    frames = frames or usual.clip.frames
    policy = WanPolicy(pipeline, usual.guidance if guidance is None else guidance, usual.max_tokens)
    shape = policy.latent_shape(frames, height or usual.clip.height, width or usual.clip.width)
    trajectory = Trajectory.from_prompt(prompt, frames)
    share = usual.noise.strength if strength is None else strength
    conditioning, sigmas = policy.encode([prompt]), policy.sigmas(steps or usual.steps)
    videos = []
    for candidate in range(best_of):
        noise = wrap_noise(trajectory, shape=shape, seed=seed + candidate, strength=share, law=usual.noise.law)
        made = rollout(policy, conditioning, noise[None].to(policy.device), sigmas)
        videos.append(policy.decode(made.latents)[0].cpu())
    return videos[0] if best_of == 1 else _best(videos, trajectory)


def _best(videos: list[Tensor], trajectory: Trajectory) -> Tensor:
    """The video with the highest total; one without a score never wins against one that has it."""
    from worldr1.scoring import score

    totals = torch.tensor([score(video, camera=trajectory).total for video in videos])
    order = totals.nan_to_num(nan=-torch.inf)
    logger.info("scores of %d candidates: %s", len(videos), ", ".join(f"{float(total):.3f}" for total in totals))
    return videos[int(order.argmax())]
