"""Stand-ins for Depth Anything 3: its real classes at a tiny size, and a network that knows the truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from worldr1.camera import se3
from worldr1.tinyworld import Clip


class TinyBackbone(nn.Module):
    """Upstream's own transformer at a size that its `DinoV2` wrapper does not offer."""

    def __init__(self, width: int, depth: int, patch: int, across: bool = True) -> None:
        """`across`: some layers attend across frames, as in all variants with cameras."""
        super().__init__()
        from depth_anything_3.model.dinov2.vision_transformer import DinoVisionTransformer

        self.layers = list(range(depth - 4, depth))
        start = 2 if across else -1
        self.pretrained = DinoVisionTransformer(
            img_size=4 * patch,
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=width // 32,
            ffn_layer="mlp",
            alt_start=start,
            qknorm_start=start,
            rope_start=start,
            cat_token=across,
        )
        nn.init.trunc_normal_(self.pretrained.pos_embed, std=0.02)

    def forward(self, frames: Tensor, **settings: Any) -> Any:
        return self.pretrained.get_intermediate_layers(frames, self.layers, **settings)


def tiny_network(gaussian_degree: int | None = None, seed: int = 0, offsets: bool = True) -> nn.Module:
    """`DepthAnything3Net` with random weights and cameras that differ from frame to frame but stay sane.

    gaussian_degree: of the Gaussian head's colours, None for no such head; offsets: the head moves Gaussians off the
    surfaces of the depth maps.
    """
    from depth_anything_3.model.cam_dec import CameraDec
    from depth_anything_3.model.cam_enc import CameraEnc
    from depth_anything_3.model.da3 import DepthAnything3Net
    from depth_anything_3.model.dualdpt import DualDPT

    width, patch, channels = 64, 14, [16, 16, 32, 32]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        extra = {}
        if gaussian_degree is not None:
            from depth_anything_3.model.gs_adapter import GaussianAdapter
            from depth_anything_3.model.gsdpt import GSDPT

            adapter = GaussianAdapter(sh_degree=gaussian_degree, pred_offset_depth=offsets, pred_offset_xy=offsets)
            head = GSDPT(
                dim_in=2 * width, output_dim=adapter.d_in + 1, features=32, out_channels=channels, patch_size=patch
            )
            extra = {"gs_adapter": adapter, "gs_head": head}
        network = DepthAnything3Net(
            TinyBackbone(width, 6, patch),
            DualDPT(dim_in=2 * width, output_dim=2, features=32, out_channels=channels, patch_size=patch),
            cam_dec=CameraDec(2 * width),
            cam_enc=CameraEnc(dim_out=width, num_heads=2),
            **extra,
        )
    with torch.no_grad():
        network.cam_dec.fc_fov[0].bias.fill_(0.9)
        network.cam_dec.fc_qvec.bias.copy_(torch.tensor([0.1, -0.2, 0.05, 1.0]))
    return network.eval()


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
