"""One training step of a recipe, stage by stage, with in memory what training has there."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from benchmarks.gpu.clock import Clock, if_it_fits
from benchmarks.gpu.learner import Learner, check, fingerprints
from benchmarks.gpu.timed import tell
from benchmarks.random_models.policy import random_policy, random_text_encoder
from benchmarks.random_models.rewards import networks, random_composer
from benchmarks.random_models.shapes import VIDEOS, Size
from worldr1.policy.base import Conditioning
from worldr1.policy.diffusers_policy import DiffusersPolicy
from worldr1.rewards.compose import RewardComposer
from worldr1.rewards.types import Scores
from worldr1.rl.assemble import build_objective, training_prompts
from worldr1.rl.assemble_policy import encode_all
from worldr1.rl.batch import Batch, training_batch
from worldr1.rl.draws import step_draws
from worldr1.rl.objectives import Objective
from worldr1.rl.scoring import decode, score
from worldr1.rl.seeds import Stream
from worldr1.sampling.rollout import Rollout

FORWARDS = 3
T = TypeVar("T")


@dataclass(frozen=True)
class Done:
    """What a step gave besides its times.

    Attributes:
        parameters: of the transformer with its adapter, and how many of them it trains.
        scores: by component, one for each video; empty where the rewards did not fit.
        losses: of the update; empty where it did not fit.
    """

    parameters: Mapping[str, int]
    scores: Mapping[str, Sequence[float]] = field(default_factory=dict)
    losses: Sequence[float] = ()


def run_step(size: Size, clock: Clock) -> Done:
    """Encode, sample, decode, score and update once; every stage is one of `clock`'s.

    Scores of random models say nothing, and may be missing, so the update is done on advantages of +1 and -1.

    Raises:
        ImportError: Depth Anything 3 is not installed.
        RuntimeError: the update is not finite, moves nothing, or moves more than the adapter.
        torch.OutOfMemoryError: the policy alone does not fit.
    """
    recipe = size.recipe
    torch.manual_seed(0)
    prompts = training_prompts(recipe).main
    policy = _encoded(size, clock, prompts)
    objective = build_objective(recipe, policy)
    rewards = _Rewards(size, clock, prompts)
    clip = recipe.clip
    latent = policy.latent_shape(clip.frames, clip.height, clip.width)
    batch = training_batch(prompts, 1, VIDEOS, clip.frames, latent, recipe.noise, recipe.seed, 0)
    text = policy.encode(batch.prompts)
    learner = Learner(recipe, policy, objective)
    transformer = policy.pipeline.transformer
    done = Done(
        {
            "transformer": sum(parameter.numel() for parameter in transformer.parameters()),
            "trained": sum(parameter.numel() for parameter in policy.trainable_parameters()),
        }
    )
    made = rewards.give_way(lambda: _sampled(policy, objective, batch, text, clock))
    if made is None:
        return done
    scores = if_it_fits(lambda: _scored(policy, rewards.composer, batch, made.latents, clock))
    if scores is not None:
        done = replace(done, scores={name: values.tolist() for name, values in scores.components.items()})
    before = fingerprints(transformer)
    losses = rewards.give_way(lambda: _updated(learner, batch, text, made, clock))
    if losses is None:
        return done
    check(before, fingerprints(transformer), losses)
    return replace(done, losses=losses)


class _Rewards:
    """The reward while there is room for its models, which stay in memory from the start as they do in training."""

    def __init__(self, size: Size, clock: Clock, prompts: Sequence[str]) -> None:
        self._clock = clock
        self.composer = if_it_fits(lambda: random_composer(size, clock.device, prompts))
        if self.composer is None:
            clock.missed("rewards", "their models")
            return
        found = networks(self.composer)
        self._names = list(found)
        for name, network in found.items():
            clock.arrive(name, network)

    def give_way(self, work: Callable[[], T]) -> T | None:
        """What `work` returns; where memory is not enough, once more without the reward's models in it; else None."""
        made = if_it_fits(work)
        if made is None and self.composer is not None:
            self.composer = None
            for name in self._names:
                self._clock.leave(name)
            gc.collect()
            made = if_it_fits(work)
        return made


def _encoded(size: Size, clock: Clock, prompts: Sequence[str]) -> DiffusersPolicy:
    """The policy, which has encoded its prompts and let go of its text encoder."""
    with tempfile.TemporaryDirectory() as cache:
        encoder = random_text_encoder(size, clock.device)
        clock.arrive("text encoder", encoder)
        policy = random_policy(size, clock.device, encoder, Path(cache), prompts)
        del encoder
        clock.arrive("transformer", policy.pipeline.transformer)
        clock.arrive("VAE", policy.pipeline.vae)
        policy.encode([policy.negative_prompt])
        with clock.stage("text encoding", f"{len(prompts)} prompts"):
            encode_all(policy, prompts)
    clock.leave("text encoder")
    return policy


def _sampled(policy: DiffusersPolicy, objective: Objective, batch: Batch, text: Conditioning, clock: Clock) -> Rollout:
    noise = batch.noise.to(policy.device)
    one = (noise[:1], torch.full((1,), 0.5, device=noise.device), text.index(slice(0, 1)))
    with torch.no_grad():
        policy.velocity(*one)
    with clock.stage("forward", f"{FORWARDS} evaluations"), torch.no_grad():
        for _ in range(FORWARDS):
            policy.velocity(*one)
    with clock.stage("rollout", f"{VIDEOS} videos"):
        return objective.collect(policy, text, noise, step_draws(Stream.ROLLOUT, 0, 0, VIDEOS), 0)


def _scored(
    policy: DiffusersPolicy, composer: RewardComposer | None, batch: Batch, latents: Tensor, clock: Clock
) -> Scores | None:
    """Scores of the decoded videos; one goes through everything before, so that what is compiled then is there."""
    first = slice(0, 1)
    with clock.stage("first decode and scores", "1 video, with what is compiled once"):
        video = decode(policy, latents[first])
        if composer is not None:
            score(composer, batch.rows(first), video)
    if composer is not None:
        tell(composer, clock)
    with clock.stage("decode", f"{VIDEOS} videos"):
        videos = decode(policy, latents, 1)
    return None if composer is None else score(composer, batch, videos)


def _updated(learner: Learner, batch: Batch, text: Conditioning, made: Rollout, clock: Clock) -> list[float]:
    with clock.stage("update", f"{VIDEOS} videos"):
        return learner.update(batch, text, made)
