"""Gaussians as data: the one description of a scene that the renderers, the fit and the `.ply` files share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

SH_COUNTS = (1, 4, 9, 16)


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians in world coordinates.

    means [N,3]; scales [N,3], linear standard deviations along the Gaussian's own axes; quats [N,4] wxyz, need not
    be of unit length; opacities [N] in [0,1]; colors [N,3] RGB in [0,1], or spherical harmonics [N,K,3] with K = 1,
    4, 9 or 16 (then RGB = clamp(SH + 0.5, 0), as in 3D Gaussian Splatting); source [N] int64, the frame that each
    Gaussian came from, or None.

    Raises ValueError when a shape, dtype, device or value does not fit this.
    """

    means: Tensor
    scales: Tensor
    quats: Tensor
    opacities: Tensor
    colors: Tensor
    source: Tensor | None = None

    def __post_init__(self) -> None:
        if self.means.ndim != 2 or self.means.shape[1] != 3:
            raise ValueError(f"Gaussians.means must be [N,3], got {list(self.means.shape)}.")
        count = len(self.means)
        for name, shape in {"scales": (count, 3), "quats": (count, 4), "opacities": (count,)}.items():
            got = tuple(getattr(self, name).shape)
            if got != shape:
                raise ValueError(f"Gaussians.{name} must be {list(shape)} to go with means, got {list(got)}.")
        colors = tuple(self.colors.shape)
        if colors != (count, 3) and not (len(colors) == 3 and colors[::2] == (count, 3) and colors[1] in SH_COUNTS):
            raise ValueError(
                f"Gaussians.colors must be [{count},3] RGB or [{count},K,3] with K in {SH_COUNTS}, got {list(colors)}."
            )
        for name in ("means", "scales", "quats", "opacities", "colors"):
            value: Tensor = getattr(self, name)
            if not value.is_floating_point():
                raise ValueError(f"Gaussians.{name} must be floating point, got {value.dtype}.")
            if value.device != self.means.device:
                raise ValueError(f"Gaussians.{name} is on {value.device} but means is on {self.means.device}.")
            if not bool(torch.isfinite(value.detach()).all()):
                raise ValueError(f"Gaussians.{name} holds a value that is not finite.")
        if count and (float(self.opacities.detach().min()) < 0 or float(self.opacities.detach().max()) > 1):
            raise ValueError("Gaussians.opacities must lie in [0,1]; pass sigmoid(logit), not the logit.")
        if count and float(self.scales.detach().min()) < 0:
            raise ValueError(
                "Gaussians.scales must be linear and not negative; pass exp(log_scale), not the logarithm."
            )
        if self.source is not None:
            if tuple(self.source.shape) != (count,) or self.source.is_floating_point():
                raise ValueError(
                    f"Gaussians.source must be [{count}] integers, got {list(self.source.shape)} {self.source.dtype}."
                )
            if self.source.device != self.means.device:
                raise ValueError(f"Gaussians.source is on {self.source.device} but means is on {self.means.device}.")

    def __len__(self) -> int:
        return len(self.means)

    @property
    def sh_degree(self) -> int | None:
        """Degree of the spherical harmonics, or None when colors are plain RGB."""
        return None if self.colors.ndim == 2 else SH_COUNTS.index(self.colors.shape[1])

    def __getitem__(self, index: Tensor | slice) -> Gaussians:
        """The Gaussians chosen by a boolean mask [N], an index tensor [M] or a slice."""
        source = None if self.source is None else self.source[index]
        return Gaussians(
            self.means[index], self.scales[index], self.quats[index], self.opacities[index], self.colors[index], source
        )

    def to(self, device: torch.device | str) -> Gaussians:
        """The same Gaussians on another device."""
        source = None if self.source is None else self.source.to(device)
        return Gaussians(
            self.means.to(device),
            self.scales.to(device),
            self.quats.to(device),
            self.opacities.to(device),
            self.colors.to(device),
            source,
        )

    def with_source(self, source: int) -> Gaussians:
        """The same Gaussians, all said to come from frame `source`."""
        return replace(self, source=torch.full((len(self),), source, dtype=torch.int64, device=self.means.device))


def concat(parts: Sequence[Gaussians]) -> Gaussians:
    """One set from several. The result has a source only when every part has one.

    Raises ValueError when there are no parts, or when some colours are RGB and some SH, or of different degree.
    """
    if not parts:
        raise ValueError("concat needs at least one set of Gaussians.")
    degrees = {part.sh_degree for part in parts}
    if len(degrees) > 1:
        raise ValueError(f"concat needs colours of one kind, got SH degrees {degrees} (None is RGB).")
    sources = [part.source for part in parts if part.source is not None]
    return Gaussians(
        means=torch.cat([part.means for part in parts]),
        scales=torch.cat([part.scales for part in parts]),
        quats=torch.cat([part.quats for part in parts]),
        opacities=torch.cat([part.opacities for part in parts]),
        colors=torch.cat([part.colors for part in parts]),
        source=torch.cat(sources) if len(sources) == len(parts) else None,
    )


def from_depth(
    image: Tensor,
    depth: Tensor,
    c2w: Tensor,
    intrinsics: Tensor,
    confidence: Tensor | None = None,
    source: int | Tensor | None = None,
    *,
    footprint: float = 0.3,
    stride: int = 1,
    min_confidence: float = 0.0,
) -> Gaussians:
    """Pixel-aligned Gaussians: one isotropic Gaussian on the surface behind each pixel centre.

    image [3,H,W] in [0,1]; depth [H,W], z along the optical axis; c2w [4,4] OpenCV; intrinsics [3,3] in pixels;
    confidence [H,W] in [0,1] becomes the opacity (default 1); source, the frame index. All of image, depth, c2w,
    confidence and source may carry one leading frame dimension T (source is then [T], default 0..T-1).

    The standard deviation is `footprint` pixels times `stride`, carried to the surface: footprint * stride * depth /
    focal. Only every `stride`-th pixel in each direction, starting in the middle of the first block, gives a
    Gaussian. Pixels whose depth is not finite or not positive, or whose confidence is not above `min_confidence`,
    give none.

    Raises ValueError when shapes do not agree or stride < 1.
    """
    _check_depth(image, depth, c2w, intrinsics, confidence, stride)
    frames, height, width = (1, *depth.shape) if depth.ndim == 2 else tuple(depth.shape)
    pick = slice(stride // 2, None, stride)
    z = depth.reshape(frames, height, width)[:, pick, pick]
    color = image.reshape(frames, 3, height, width)[:, :, pick, pick].permute(0, 2, 3, 1)
    opacity = torch.ones_like(z) if confidence is None else confidence.reshape(frames, height, width)[:, pick, pick]
    pose = c2w.reshape(frames, 4, 4).to(z.dtype)
    frame_of = torch.arange(frames) if source is None else torch.as_tensor(source).reshape(frames)
    keep = torch.isfinite(z) & (z > 0) & (opacity > min_confidence)

    v = torch.arange(height, device=z.device, dtype=z.dtype)[pick] + 0.5
    u = torch.arange(width, device=z.device, dtype=z.dtype)[pick] + 0.5
    focal_x, focal_y = intrinsics[0, 0], intrinsics[1, 1]
    rays_y, rays_x = torch.meshgrid((v - intrinsics[1, 2]) / focal_y, (u - intrinsics[0, 2]) / focal_x, indexing="ij")
    rays = torch.stack([rays_x, rays_y, torch.ones_like(rays_x)], -1).to(z.dtype)
    world = torch.einsum("tij,thwj->thwi", pose[:, :3, :3], rays * z[..., None]) + pose[:, None, None, :3, 3]

    kept_z = z[keep]
    std = footprint * stride * kept_z * (2.0 / (focal_x + focal_y))
    quats = torch.zeros(len(kept_z), 4, dtype=z.dtype, device=z.device)
    quats[:, 0] = 1.0
    index = frame_of.to(z.device, torch.int64)[:, None, None].expand(z.shape)
    return Gaussians(
        means=world[keep],
        scales=std[:, None].expand(-1, 3).contiguous(),
        quats=quats,
        opacities=opacity[keep].clamp(0, 1),
        colors=color[keep].contiguous(),
        source=index[keep],
    )


def _check_depth(
    image: Tensor, depth: Tensor, c2w: Tensor, intrinsics: Tensor, confidence: Tensor | None, stride: int
) -> None:
    if depth.ndim not in (2, 3):
        raise ValueError(f"from_depth: depth must be [H,W] or [T,H,W], got {list(depth.shape)}.")
    lead, size = depth.shape[:-2], depth.shape[-2:]
    wanted = {"image": (image, (*lead, 3, *size)), "c2w": (c2w, (*lead, 4, 4))}
    if confidence is not None:
        wanted["confidence"] = (confidence, (*lead, *size))
    for name, (value, shape) in wanted.items():
        if tuple(value.shape) != shape:
            raise ValueError(f"from_depth: {name} must be {list(shape)} to go with depth, got {list(value.shape)}.")
    if tuple(intrinsics.shape) != (3, 3):
        raise ValueError(f"from_depth: intrinsics must be [3,3], got {list(intrinsics.shape)}.")
    if stride < 1:
        raise ValueError(f"from_depth: stride must be at least 1, got {stride}.")
