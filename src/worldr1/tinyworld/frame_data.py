"""Single frames with right and wrong captions, from which both critics first learn to read: cheap, hence many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldr1.camera.trajectory import Trajectory
from worldr1.tinyworld.critic_data import captions_of, draw_order
from worldr1.tinyworld.critic_scenes import renderable
from worldr1.tinyworld.latents import pack_video
from worldr1.tinyworld.render import render_clips

DYNAMIC = 0.2
EDITED = 0.35


@dataclass(frozen=True)
class FrameSet:
    """N rendered frames: images [N,3,H,W] uint8; tokens [N,C,L] int16, C captions each; agreement [N,C] in [0,1]."""

    images: Tensor
    tokens: Tensor
    agreement: Tensor


def frame_part(frames: int, seed: tuple[int, ...], split: str) -> FrameSet:
    """Draw and render `frames` frames, each of its own scene; the same for the same seed."""
    rng = np.random.default_rng(seed)
    orders = [draw_order(rng, split, DYNAMIC, bool(rng.random() < EDITED)) for _ in range(frames)]
    poses = [order.trajectory.c2w[int(rng.integers(1, order.trajectory.frames))] for order in orders]
    pairs = [Trajectory(torch.stack([torch.eye(4), pose])) for pose in poses]
    clips = render_clips([renderable(order.shown) for order in orders], pairs)
    captions = [captions_of(rng, order, split) for order in orders]
    return FrameSet(
        pack_video(torch.stack([clip.video[1] for clip in clips])),
        torch.stack([tokens for tokens, _ in captions]),
        torch.stack([agreement for _, agreement in captions]).float(),
    )
