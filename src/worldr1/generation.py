"""Camera-controlled video from a prompt: the camera steers the noise; the best of several can be kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from worldr1.camera.trajectory import Trajectory
from worldr1.noise import wrap_noise
from worldr1.noise.inject import Law
from worldr1.pipelines import defaults_of
from worldr1.policy.adapters import make_policy
from worldr1.policy.diffusers_policy import DiffusersPolicy
from worldr1.rewards.types import Sample, Scores
from worldr1.sampling.rollout import rollout

Judge = Callable[[Sequence[Sample]], Scores]
"""Scores samples; a `RewardComposer` is one."""


@dataclass(frozen=True)
class Shot:
    """All that decides a video beside the model's weights.

    Attributes:
        prompt: as the text encoder gets it.
        seed: of the initial noise.
        camera: one pose for each video frame.
        height, width: in pixels.
        steps: of the sampler.
        guidance: classifier-free guidance scale, 1 for none.
        strength: share of the camera's motion in the noise, in [0, 1].
        law: of the noise transport, see `worldr1.wrap_noise`.
        max_tokens: to which the prompt is padded.
    """

    prompt: str
    seed: int
    camera: Trajectory
    height: int
    width: int
    steps: int
    guidance: float
    strength: float
    law: Law
    max_tokens: int


@dataclass(frozen=True)
class Take:
    """One candidate: its seed and what the judge says of it; nan where a score is missing."""

    seed: int
    total: float
    components: Mapping[str, float]


@dataclass(frozen=True)
class Selection:
    """The video that was kept, float32 [T, 3, H, W] in [0, 1], the shot that makes it again, and all candidates."""

    video: Tensor
    shot: Shot
    takes: tuple[Take, ...]

    @property
    def kept(self) -> Take:
        """The candidate that was kept."""
        return next(take for take in self.takes if take.seed == self.shot.seed)


def generate(
    pipeline: Any,
    prompt: str,
    seed: int = 0,
    *,
    camera: Trajectory | None = None,
    frames: int | None = None,
    height: int | None = None,
    width: int | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    strength: float | None = None,
    best_of: int = 1,
    judge: Judge | None = None,
) -> Tensor:
    """Make a video whose camera moves as the prompt says.

    Args:
        pipeline: as `worldr1.load_pipeline` gives it.
        prompt: such as "camera orbit left, then push in. a red box and a blue sphere in a striped room".
        seed: of the initial noise; candidate n of `best_of` takes seed + n.
        camera: the path to take instead of the prompt's; it has one pose for each frame.
        frames: 4k + 1; like all that follow, what suits the pipeline when None.
        height, width: in pixels, multiples of 16.
        steps: of the sampler.
        guidance: classifier-free guidance scale, 1 for none.
        strength: share of the camera's motion in the noise, in [0, 1].
        best_of: make so many and keep the one that the judge finds best.
        judge: such as the composer of a recipe; `by_score` when None.

    Returns:
        float32 [T, 3, H, W] in [0, 1].

    Raises:
        ValueError: for sizes that the pipeline cannot make, a camera of another length, or `best_of` below 1.
    """
    shot = plan_shot(
        pipeline,
        prompt,
        seed,
        camera=camera,
        frames=frames,
        height=height,
        width=width,
        steps=steps,
        guidance=guidance,
        strength=strength,
    )
    return select(pipeline, shot, best_of, judge).video


def plan_shot(
    pipeline: Any,
    prompt: str,
    seed: int = 0,
    *,
    camera: Trajectory | None = None,
    frames: int | None = None,
    height: int | None = None,
    width: int | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    strength: float | None = None,
) -> Shot:
    """Fill in what is None; arguments and errors as `generate`."""
    if camera is not None and frames not in (None, camera.frames):
        raise ValueError(
            f"the camera has {camera.frames} poses, but {frames} frames are asked for; "
            "worldr1.camera.fit.fit_trajectory spreads it over another number"
        )
    usual = defaults_of(pipeline)
    return Shot(
        prompt=prompt,
        seed=seed,
        camera=camera or Trajectory.from_prompt(prompt, frames or usual.clip.frames),
        height=height or usual.clip.height,
        width=width or usual.clip.width,
        steps=steps or usual.steps,
        guidance=usual.guidance if guidance is None else guidance,
        strength=usual.noise.strength if strength is None else strength,
        law=usual.noise.law,
        max_tokens=usual.max_tokens,
    )


def select(
    pipeline: Any,
    shot: Shot,
    count: int = 1,
    judge: Judge | None = None,
    tell: Callable[[Take], None] | None = None,
) -> Selection:
    """Make `count` videos with consecutive seeds, one after the other, and keep the one with the highest total.

    A video without a score never wins against one that has it; of equals the first is kept. A single one is not judged.

    Args:
        pipeline: as `worldr1.load_pipeline` gives it.
        shot: of the first candidate.
        count: number of candidates.
        judge: `by_score` when None.
        tell: called with every candidate as soon as it is there.

    Raises:
        ValueError: for sizes that the pipeline cannot make, or `count` below 1.
    """
    if count < 1:
        raise ValueError(f"best_of is {count}; it must be at least 1")
    policy = make_policy(pipeline, shot.guidance, shot.max_tokens, samples_only=True)
    takes: list[Take] = []
    best, kept = -1, torch.empty(0)
    for number in range(count):
        video = _film(policy, replace(shot, seed=shot.seed + number))
        take = (
            _judged(video, shot, shot.seed + number, judge or by_score) if count > 1 else Take(shot.seed, math.nan, {})
        )
        takes.append(take)
        if best < 0 or _rank(take) > _rank(takes[best]):
            best, kept = number, video
        if tell is not None:
            tell(take)
    return Selection(kept, replace(shot, seed=takes[best].seed), tuple(takes))


def by_score(samples: Sequence[Sample]) -> Scores:
    """The judge that needs no weights: S_recon + S_traj of `worldr1.score`, each [B]."""
    from worldr1 import scoring

    found = [scoring.score(sample.video, camera=sample.trajectory) for sample in samples]
    names = ("recon", "traj")
    components = {name: torch.tensor([getattr(scores, name) for scores in found]) for name in names}
    return Scores(components, torch.tensor([scores.total for scores in found]))


def _film(policy: DiffusersPolicy, shot: Shot) -> Tensor:
    shape = policy.latent_shape(shot.camera.frames, shot.height, shot.width)
    noise = wrap_noise(shot.camera, shape=shape, seed=shot.seed, strength=shot.strength, law=shot.law)
    made = rollout(policy, policy.encode([shot.prompt]), noise[None].to(policy.device), policy.sigmas(shot.steps))
    return policy.decode(made.latents)[0].cpu()


def _judged(video: Tensor, shot: Shot, seed: int, judge: Judge) -> Take:
    scores = judge([Sample(video, shot.prompt, shot.camera)])
    return Take(seed, float(scores.total[0]), {name: float(value[0]) for name, value in scores.components.items()})


def _rank(take: Take) -> float:
    return -math.inf if math.isnan(take.total) else take.total
