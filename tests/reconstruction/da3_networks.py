"""Stand-ins for Depth Anything 3: its nested class at a tiny size, and a network that knows the truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from benchmarks.random_models.depth import TinyBackbone, tiny_network
from torch import Tensor, nn

from worldr1.camera import se3
from worldr1.tinyworld import Clip


def tiny_nested_network(sky: float) -> nn.Module:
    """`NestedDepthAnything3Net` around two tiny networks; `sky` is added to what its second one takes for sky."""
    from depth_anything_3.model.da3 import DepthAnything3Net, NestedDepthAnything3Net
    from depth_anything_3.model.dpt import DPT

    nested = NestedDepthAnything3Net.__new__(NestedDepthAnything3Net)
    nn.Module.__init__(nested)
    nested.da3 = tiny_network(gaussian_degree=0, offsets=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        head = DPT(dim_in=64, output_dim=1, features=32, out_channels=[16, 16, 32, 32], patch_size=14)
        nested.da3_metric = DepthAnything3Net(TinyBackbone(64, 6, 14, across=False), head)
    with torch.no_grad():
        head.scratch.sky_output_conv2[-1].bias.add_(sky)
    return nested.eval()


class Truth(nn.Module):
    """Answers in the form of `DepthAnything3Net` with what is true of clips, in a world and a unit of its own.

    Clips must be drawn at the size that the network is to see; the one asked about is found by its mean colour.
    """

    def __init__(self, clips: Sequence[Clip], world: Tensor, unit: float) -> None:
        super().__init__()
        self.clips = list(clips)
        self.world = world.double()
        self.unit = unit
        self.seen: list[dict[str, Any]] = []

    def forward(self, frames: Tensor, **settings: Any) -> dict[str, Any]:
        from worldr1.reconstruction.da3_preprocess import normalize

        self.seen.append(settings)
        distances = [float((normalize(clip.video)[None] - frames).abs().mean()) for clip in self.clips]
        clip = self.clips[distances.index(min(distances))]
        poses = self.world @ se3.compose(clip.c2w[:, :3, :3].double(), self.unit * clip.c2w[:, :3, 3].double())
        return {
            "depth": self.unit * clip.depth[None],
            "depth_conf": torch.full_like(clip.depth[None], 4.0),
            "extrinsics": se3.invert(poses)[None, :, :3].float(),
            "intrinsics": clip.intrinsics.expand(1, len(poses), 3, 3).clone(),
        }


@dataclasses.dataclass
class Head:
    """Upstream's `specs.Gaussians`, without needing upstream."""

    means: Tensor
    scales: Tensor
    rotations: Tensor
    harmonics: Tensor
    opacities: Tensor
