"""Held-out prompts with the scene and the camera behind each, so that ground truth can be rendered for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldr1.camera import Trajectory
from worldr1.data.prompts import tinyworld_prompts
from worldr1.tinyworld import Scene, render_clips, sample_scene
from worldr1.tinyworld.scenes import prompt_of


@dataclass(frozen=True)
class HeldOutPrompt:
    """A prompt of the test split; `scene` is one world that fits its words, `trajectory` the camera it asks for."""

    prompt: str
    scene: Scene
    trajectory: Trajectory


def held_out_prompts(count: int, seed: int, frames: int, *, dynamic: bool = False) -> list[HeldOutPrompt]:
    """The test-split prompts of `tinyworld_prompts`, each with its scene and trajectory.

    Raises:
        RuntimeError: if the prompt set no longer draws its scene first from the generator of (seed, index, dynamic).
    """
    found = []
    for index, prompt in enumerate(tinyworld_prompts(count, seed, dynamic=dynamic, split="test")):
        trajectory = Trajectory.from_prompt(prompt, frames)
        scene = sample_scene(np.random.default_rng([seed, index, int(dynamic)]), dynamic=dynamic, split="test")
        if prompt_of(scene, trajectory.moves) != prompt:
            raise RuntimeError(f"the scene drawn for {prompt!r} is {scene.caption!r}; prompts and scenes went apart")
        found.append(HeldOutPrompt(prompt, scene, trajectory))
    return found


def ground_truth(prompts: Sequence[HeldOutPrompt], height: int, width: int) -> Tensor:
    """Rendered clips of the prompts' scenes and cameras, [B,T,3,H,W] in [0,1]."""
    clips = render_clips([p.scene for p in prompts], [p.trajectory for p in prompts], height=height, width=width)
    return torch.stack([clip.video for clip in clips])
