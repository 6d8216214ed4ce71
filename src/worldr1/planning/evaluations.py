"""Network evaluations per trained video, counted by hooks on a tiny network that samples and updates as it will."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from worldr1.recipes.settings import Recipe
from worldr1.rl.assemble import build_objective
from worldr1.rl.assemble_policy import training_device, wrap
from worldr1.rl.draws import step_draws
from worldr1.rl.objectives import LossTerm
from worldr1.rl.preserve import Preservation
from worldr1.rl.seeds import Stream
from worldr1.sampling.rollout import rollout

_VIDEOS, _TOKENS, _TEXT_WIDTH = 2, 4, 8
_FRAMES, _SIDE = 5, 32


@dataclass(frozen=True)
class Evaluations:
    """Evaluations of the transformer per video of a training step.

    Attributes:
        rollout: while sampling.
        forward: with gradient, while training.
        reference: without gradient, while training (the frozen base, the old policy).
        backward: backward passes; each counts as two evaluations.
        recompute: second forwards of gradient checkpointing.
        preserve_update: of prior preservation in the updates: forward, base, backward and recompute, in forwards.
        preserve_sampling: the base's samples for it, made once, shared out over all videos of the run.
    """

    rollout: float
    forward: float
    reference: float
    backward: float
    recompute: float
    preserve_update: float = 0.0
    preserve_sampling: float = 0.0

    @property
    def update(self) -> float:
        """In units of one forward, while training."""
        return self.forward + self.reference + 2 * self.backward + self.recompute + self.preserve_update

    @property
    def total(self) -> float:
        """In units of one forward."""
        return self.rollout + self.update + self.preserve_sampling


@dataclass(frozen=True)
class Preserved:
    """How much prior preservation there is: base samples, those that every update sees, and updates per step."""

    samples: int
    per_update: int
    updates: int

    @classmethod
    def of(cls, recipe: Recipe, dynamic_prompts: int | None = None) -> Preserved | None:
        """As a recipe asks for it, of so many dynamic prompts (None: enough); None where it asks for none."""
        settings = recipe.preserve
        if not settings.weight:
            return None
        kept = settings.samples if dynamic_prompts is None else min(settings.samples, dynamic_prompts)
        return cls(kept * settings.candidates, min(settings.per_step, kept), _updates(recipe))


def count_evaluations(recipe: Recipe, preserved: Preserved | None = None) -> Evaluations:
    """Sample and update once as the recipe says, on a tiny random network, and count what its first block sees."""
    checkpointing = recipe.model.gradient_checkpointing
    model = recipe.model.model_copy(
        update={
            "dtype": "float32",
            "max_tokens": _TOKENS,
            "vae_tiling": False,
            "vae_slicing": False,
            "gradient_checkpointing": training_device() == "cuda" if checkpointing is None else checkpointing,
        }
    )
    sampling = recipe.sampling.model_copy(update={"guidance_2": None})
    small = recipe.model_copy(update={"model": model, "sampling": sampling})
    with torch.random.fork_rng(devices=[]):
        pipeline = _tiny_pipeline()
        policy = wrap(pipeline, small)
        objective = build_objective(small, policy)
        tally = _Tally()
        with _counting(pipeline.transformer.blocks[0], tally):
            text = policy.encode(["a"] * _VIDEOS)
            noise = torch.randn(_VIDEOS, *policy.latent_shape(_FRAMES, _SIDE, _SIDE))
            made = objective.collect(policy, text, noise, step_draws(Stream.ROLLOUT, 0, 0, _VIDEOS), 0)
            advantages = torch.tensor([1.0, -1.0])
            draws = step_draws(Stream.LOSS, 0, 0, _VIDEOS)
            tally.learn(objective.losses(policy, made, text, advantages, draws))
        counted = _shared(tally.each(_VIDEOS), recipe)
        if preserved is None:
            return counted
        with _counting(pipeline.transformer.blocks[0], one := _Tally()):
            made = rollout(policy, text.index(torch.tensor([0])), noise[:1], policy.sigmas(sampling.steps))
            one.learn(Preservation(small, ["a"], made.latents).losses(policy, 0))
    alone, videos = one.each(1), recipe.schedule.groups * recipe.schedule.group_size
    return replace(
        counted,
        preserve_update=alone.update * preserved.per_update * preserved.updates / videos,
        preserve_sampling=alone.rollout * preserved.samples / (videos * recipe.schedule.total_steps),
    )


def _shared(counted: Evaluations, recipe: Recipe) -> Evaluations:
    """With the steps before the window, on the mean of its places, made once for a whole group where it shares them."""
    sampling, members = recipe.sampling, recipe.schedule.group_size
    if not sampling.shared_prefix:
        return counted
    before = (sampling.window_range[0] + sampling.window_range[1] - sampling.window) / 2
    return replace(counted, rollout=counted.rollout * (1 - before / sampling.steps * (1 - 1 / members)))


def _updates(recipe: Recipe) -> int:
    """Optimiser steps per training step: the units of a pass, spread over no more updates than there are units."""
    videos = recipe.schedule.groups * recipe.schedule.group_size
    parts = math.ceil(videos / (recipe.sampling.micro_batch or videos))
    grpo, nft = recipe.objective.grpo, recipe.objective.nft
    if recipe.objective.name == "grpo":
        return grpo.epochs * min(grpo.updates, recipe.sampling.window * parts)
    return min(nft.updates, nft.times * parts)


@dataclass
class _Tally:
    sampling: bool = True
    in_backward: bool = False
    seen: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("rollout", "forward", "reference", "backward", "recompute"), 0)
    )

    def entered(self, videos: int) -> None:
        if self.sampling:
            kind = "rollout"
        elif self.in_backward:
            kind = "recompute"
        else:
            kind = "forward" if torch.is_grad_enabled() else "reference"
        self.seen[kind] += videos

    def learn(self, terms: Iterable[LossTerm]) -> None:
        """Count what follows as training, with a backward pass through every term."""
        self.sampling = False
        for term in terms:
            self.in_backward = True
            term.loss.backward()
            self.in_backward = False

    def each(self, videos: int) -> Evaluations:
        """What was seen, for one of so many videos."""
        return Evaluations(**{name: seen / videos for name, seen in self.seen.items()})


@contextmanager
def _counting(block: torch.nn.Module, tally: _Tally) -> Iterator[None]:
    def enter(_: torch.nn.Module, inputs: Any) -> None:
        tally.entered(len(inputs[0]))

    def leave(_: torch.nn.Module, __: Any, output: Tensor) -> None:
        if output.requires_grad and not tally.in_backward:
            output.register_hook(lambda gradient: tally.seen.update(backward=tally.seen["backward"] + len(gradient)))

    handles = [block.register_forward_pre_hook(enter), block.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class WanPipeline(SimpleNamespace):
    """Stands for a pipeline under the class name by which its policy is found."""


def _tiny_pipeline() -> Any:
    """What `WanPolicy` asks of a pipeline for sampling and training: a real transformer, and no text or video."""
    from diffusers import FlowMatchEulerDiscreteScheduler, WanTransformer3DModel

    transformer = WanTransformer3DModel(
        num_attention_heads=1,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=_TEXT_WIDTH,
        freq_dim=8,
        ffn_dim=12,
        num_layers=1,
        rope_max_seq_len=32,
    )
    return WanPipeline(
        transformer=transformer,
        vae=torch.nn.Identity(),
        text_encoder=torch.nn.Identity(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        config={"boundary_ratio": None, "expand_timesteps": False},
        vae_scale_factor_temporal=4,
        vae_scale_factor_spatial=8,
        encode_prompt=lambda *_, **__: (torch.ones(1, _TOKENS, _TEXT_WIDTH), None),
    )
