"""The prompts and the initial noise of one training step, named by counters alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldr1.camera.trajectory import Trajectory
from worldr1.noise import wrap_noise
from worldr1.recipes.settings import NoiseSettings
from worldr1.rl.seeds import Stream, seed_of

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class TrainingPrompts:
    """What training chooses from: prompts of the main phase and of the dynamic phase."""

    main: Sequence[str]
    dynamic: Sequence[str]


@dataclass(frozen=True)
class Batch:
    """Videos to be made.

    Attributes:
        prompts: B prompts, the members of a group next to each other.
        trajectories: the camera that each prompt asks for.
        noise: [B, C, T, H, W] initial latents; white within a frame, moving with the camera between frames.
    """

    prompts: tuple[str, ...]
    trajectories: tuple[Trajectory, ...]
    noise: Tensor

    def rows(self, part: slice) -> Batch:
        """Some of the videos."""
        return Batch(self.prompts[part], self.trajectories[part], self.noise[part])


def training_batch(
    prompts: Sequence[str],
    groups: int,
    group_size: int,
    frames: int,
    shape: Shape,
    noise: NoiseSettings,
    seed: int,
    step: int,
    here: range | None = None,
    same_noise: bool = False,
) -> Batch:
    """The batch of one training step; group g depends on (seed, step, g) only, its member m on (seed, step, g, m).

    Args:
        prompts: what to choose from; groups of one step get different prompts while there are enough.
        groups, group_size: prompts per step and videos per prompt.
        frames: frames per video.
        shape: (C, T, H, W) of the latents.
        noise: law and strength of the initial noise.
        seed, step: of the run, and of the training step from 0.
        here: the places, of groups x group_size, to make; None makes all.
        same_noise: all members of a group start from that of its first.
    """
    members = [divmod(place, group_size) for place in (range(groups * group_size) if here is None else here)]
    chosen = _choose(prompts, groups, seed, step)
    seeds = [seed_of(Stream.NOISE, seed, step, g, 0 if same_noise else m) for g, m in members]
    return _batch([chosen[g] for g, _ in members], seeds, frames, shape, noise)


def fixed_batch(
    prompts: Sequence[str], frames: int, shape: Shape, noise: NoiseSettings, seed: int, here: range | None = None
) -> Batch:
    """One video per prompt, with noise that depends on the seed and the prompt's place alone.

    Args:
        prompts, frames, shape, noise, seed: as of `training_batch`.
        here: the places to make; beyond the end the last prompt comes again. None makes each once.
    """
    places = [min(place, len(prompts) - 1) for place in (range(len(prompts)) if here is None else here)]
    seeds = [seed_of(Stream.EVALUATION, seed, place) for place in places]
    return _batch([prompts[place] for place in places], seeds, frames, shape, noise)


def _choose(prompts: Sequence[str], groups: int, seed: int, step: int) -> list[str]:
    """Walk through shuffles of the prompts, so that each comes up equally often."""
    chosen = []
    for place in range(step * groups, (step + 1) * groups):
        turn, within = divmod(place, len(prompts))
        order = np.random.default_rng(seed_of(Stream.PROMPT, seed, turn)).permutation(len(prompts))
        chosen.append(prompts[int(order[within])])
    return chosen


def noise_law(
    trajectories: Sequence[Trajectory], shape: Sequence[int], noise: NoiseSettings
) -> Callable[[int, int], Tensor]:
    """Initial noise [C, T, H, W] of the sample ``row``, whose camera is ``trajectories[row]``, by a seed."""
    channels, frames, height, width = shape

    def law(row: int, seed: int) -> Tensor:
        size = (channels, frames, height, width)
        return wrap_noise(trajectories[row], shape=size, seed=seed, strength=noise.strength, law=noise.law)

    return law


def _batch(prompts: Sequence[str], seeds: Sequence[int], frames: int, shape: Shape, noise: NoiseSettings) -> Batch:
    trajectories = tuple(Trajectory.from_prompt(prompt, frames) for prompt in prompts)
    law = noise_law(trajectories, shape, noise)
    latents = [law(row, seed) for row, seed in enumerate(seeds)]
    return Batch(tuple(prompts), trajectories, torch.stack(latents))
