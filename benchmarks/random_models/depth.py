"""Depth Anything 3's own classes with random weights and cameras that stay sane."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


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
    steady_cameras(network)
    return network.eval()


def steady_cameras(network: nn.Module) -> None:
    """Let a random network's camera head answer with a lens and a turn that cameras have; it would say 0 for both."""
    with torch.no_grad():
        network.cam_dec.fc_fov[0].bias.fill_(0.9)
        network.cam_dec.fc_qvec.bias.copy_(torch.tensor([0.1, -0.2, 0.05, 1.0]))
