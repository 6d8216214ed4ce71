"""What a video cannot show: plain warnings where geometry is unobservable, so that a score is not taken for one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from worldr1.reconstruction.types import Reconstruction

SIDE = 64
PLAIN = 0.006
NEAR = 0.1
LEAST_SHIFT = 0.7
LEAST_SHARE = 0.25  # of travelling beside turning; a pan that stays on its spot is estimated with up to 0.2
LEAST_AGREEMENT = 0.25
LEAST_COVERAGE = 0.3
LEAST_CONFIDENCE = 0.15
CUT_STEP, CUT_RATIO = 0.12, 4.0


def texture(video: Tensor) -> float:
    """Root mean square difference of neighbouring pixels of a video [T, 3, H, W], at 64 pixels on the short side."""
    small = functional.interpolate(video, scale_factor=min(1.0, SIDE / min(video.shape[2:])), mode="area")
    energy = small.diff(dim=2).square().mean() + small.diff(dim=3).square().mean()
    return float(energy.sqrt())


@dataclass(frozen=True)
class Shift:
    """How far the camera moves the picture: pixels of one with 64 on the short side, the median over frame 0.

    turning: by its rotation alone; travelling: by its translation, which alone shows depth. Each for the frame in which
    it is largest. Needs no unit of length: translation and depth enter as their ratio.
    """

    turning: float
    travelling: float


def camera_shift(scene: Reconstruction) -> Shift:
    """The shift that the estimated cameras [T, 4, 4] and the depth of frame 0 tell."""
    depth, intrinsics = scene.depth[0], scene.intrinsics
    height, width = depth.shape
    stride = max(1, min(height, width) // SIDE)
    rows, columns = torch.meshgrid(
        torch.arange(0, height, stride) + 0.5, torch.arange(0, width, stride) + 0.5, indexing="ij"
    )
    focal = intrinsics[0, 0]
    rays = torch.stack(
        [(columns - intrinsics[0, 2]) / focal, (rows - intrinsics[1, 2]) / focal, torch.ones_like(rows)]
    ).flatten(1)
    w2c = torch.linalg.inv(scene.c2w)
    turned = w2c[:, :3, :3] @ rays
    moved = turned + w2c[:, :3, 3:] / depth[::stride, ::stride].flatten()
    in_view = (turned[:, 2] > NEAR) & (moved[:, 2] > NEAR)
    unit = float(focal) * SIDE / min(height, width)
    turning = (_flat(turned) - _flat(rays[None])).norm(dim=1)
    travelling = (_flat(moved) - _flat(turned)).norm(dim=1)
    return Shift(unit * _largest_median(turning, in_view), unit * _largest_median(travelling, in_view))


def _largest_median(shifts: Tensor, seen: Tensor) -> float:
    return max((float(row[ok].median()) for row, ok in zip(shifts, seen, strict=True) if bool(ok.any())), default=0.0)


def _flat(points: Tensor) -> Tensor:
    return points[:, :2] / points[:, 2:].clamp(min=NEAR)


def stands_still(scene: Reconstruction) -> bool:
    """Whether the reconstruction found no motion of the camera."""
    return torch.allclose(scene.c2w, torch.eye(4).expand_as(scene.c2w), atol=1e-6)


def cut(video: Tensor) -> int | None:
    """The frame at which a video [T, 3, H, W] jumps to another picture, or None."""
    steps = video.diff(dim=0).abs().mean((1, 2, 3))
    largest = int(steps.argmax())
    others = torch.cat([steps[:largest], steps[largest + 1 :]])
    jumps = float(steps[largest]) > max(CUT_STEP, CUT_RATIO * float(others.median())) if len(others) else False
    return largest + 1 if jumps else None


def geometry_warnings(video: Tensor, scene: Reconstruction, coverage: float, agreement: float) -> tuple[str, ...]:
    """Sentences on why the geometry of a video cannot be trusted; none for a good one.

    Args:
        video: [T, 3, H, W] in [0, 1].
        scene: rebuilt from it.
        coverage: share of the pixels that could be drawn from other frames.
        agreement: SSIM of the frames drawn from other frames; nan where there are none.
    """
    found = []
    if texture(video) < PLAIN:
        found.append("the picture has hardly any texture: neither depth nor camera can be told, and recon says little")
    jump = cut(video)
    if jump is not None:
        found.append(f"there seems to be a cut before the scored frame {jump}: score the shots one by one")
    if agreement < LEAST_AGREEMENT:
        found.append(
            "the frames hardly resemble each other: noise, cuts, things that change or motion too fast to follow; "
            "recon and camera mean nothing"
        )
    geometry = _unobservable(scene, coverage)
    return (*found, geometry) if geometry else tuple(found)


def _unobservable(scene: Reconstruction, coverage: float) -> str | None:
    if stands_still(scene):
        return (
            "no camera motion explains the video better than a still camera: depth cannot be told, and recon says only "
            "how still the picture is"
        )
    if not coverage >= LEAST_COVERAGE:
        return "hardly any of the picture is seen in other frames: recon rests on little"
    shift = camera_shift(scene)
    if shift.travelling < LEAST_SHARE * shift.turning:
        return "the camera turns and hardly travels: depth cannot be told, and camera_travel means nothing"
    if shift.travelling < LEAST_SHIFT:
        return "the camera hardly moves: depth and camera are uncertain"
    if float(scene.confidence.mean()) < LEAST_CONFIDENCE:
        return "the depth is uncertain nearly everywhere: things move, or the picture repeats or is too plain"
    return None
