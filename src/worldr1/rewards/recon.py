"""S_recon: does the video agree with the scene that was rebuilt from it? (World-R1, S_recon = 1 - LPIPS(x, render))"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numba
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from worldr1.reconstruction.redraw import fill_holes, look_up, splat_depth
from worldr1.reconstruction.search import spread
from worldr1.reconstruction.types import Reconstruction, all_finite
from worldr1.rewards.lpips import Lpips
from worldr1.rewards.moving import moving_mask
from worldr1.rewards.points import points_agreement
from worldr1.rewards.types import Sample, require_reconstructions

HOLE_ROUNDS = 2
FULL_COVERAGE = 0.6
MISSING_COVERAGE = 0.05
SHARP_RATIO = 0.46
PLAIN_GRADIENT = 0.03
NOISE_FROM, NOISE_TO = 1.2, 2.0
PICTURE_SIDE = 64
PSNR_CEILING = 60.0
PIXELS_FROM, PIXELS_TO = 10.0, 40.0


@dataclass(frozen=True)
class Redrawing:
    """One video's key frames, each drawn from the other key frames.

    frames [K] their indices; originals [K,3,H,W] as the video has them; drawn [K,3,H,W], where nothing could be drawn
    the video's own pixels; covered [K,H,W] bool, where something could. Pixels that are `left_out` [K,H,W] bool are not
    covered and not missed.
    """

    frames: Tensor
    originals: Tensor
    drawn: Tensor
    covered: Tensor
    left_out: Tensor

    @property
    def coverage(self) -> float:
        """Share of pixels that could be drawn from other frames, in [0,1]."""
        return float(self.covered.float().sum() / (~self.left_out).float().sum())

    @property
    def psnr(self) -> float:
        """dB over all covered pixels, at most 60; nan when there are none."""
        error = (self.drawn - self.originals).square().mean(1)[self.covered].mean()
        return float(-10 * torch.log10(error + 10 ** (-PSNR_CEILING / 10)))


@dataclass(frozen=True)
class ReconDetails:
    """What the score is made of, each [B].

    lpips: perceptual distance on covered pixels; psnr: dB on covered pixels, squared errors averaged over frames before
    the logarithm, at most 60; coverage in [0,1]; evidence in [0,1], see `evidence`.
    """

    lpips: Tensor
    psnr: Tensor
    coverage: Tensor
    evidence: Tensor


class ReconReward:
    """Score in [0,1]: (1 - LPIPS between key frames and their redrawings) * coverage factor * evidence.

    A share `pixels` of the first factor may be the redrawings' PSNR instead, from 0 at 10 dB to 1 at 40 dB: where all
    samples have come to look alike, the perceptual distance hardly tells them apart and pixels still do. A share
    `points` of what comes out may be `points_agreement`, which asks for geometry alone; where no point is confident, as
    under a still camera, pixels keep the whole.

    With `leave_moving`, what moves by itself (`moving_mask`) is left out of pixels and coverage, so that a moving
    object costs nothing; `details`, which evaluation reads, never leaves it out.

    Each of `keys` evenly spread frames is drawn from the other ones: their depths place its surfaces, and its colours
    are looked up in all of them that see the surface, nearer ones counting more, along the estimated cameras. A quarter
    of the clip lies between a frame and its nearest source, so content that changes shows as an error.

    - Pixels that no other frame sees are left out of LPIPS. A coverage under 60% lowers the score in proportion, so
      that nothing is gained by leaving them out; under 5% the score is missing.
    - A camera that stands still shows no depth: frames are then drawn by copying pixels, and the score says how still
      the picture is.
    - A blurred or empty picture agrees with anything. `evidence` takes back what blurring pays.
    """

    name = "recon"
    needs_reconstruction = True

    def __init__(
        self,
        lpips: Lpips | None = None,
        keys: int = 5,
        sharpness: float = SHARP_RATIO,
        pixels: float = 0.0,
        points: float = 0.0,
        leave_moving: bool = False,
    ) -> None:
        if keys < 2:
            raise ValueError(f"ReconReward needs at least 2 key frames to draw one from another, got {keys}.")
        self.lpips = Lpips() if lpips is None else lpips
        if sharpness <= 0:
            raise ValueError(f"sharpness must be positive, got {sharpness}.")
        for name, share in (("pixels", pixels), ("points", points)):
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"{name} is a share, from 0 to 1; got {share}.")
        self.keys = keys
        self.sharpness = sharpness
        self.pixels = pixels
        self.points = points
        self.leave_moving = leave_moving

    def __call__(self, samples: Sequence[Sample], reconstructions: Sequence[Reconstruction] | None = None) -> Tensor:
        """Scores [B]; nan where the video or its cameras are not finite, or hardly anything is covered.

        Raises ValueError without one reconstruction per sample.
        """
        details = self._details(samples, reconstructions, self.leave_moving)
        factor = (details.coverage / FULL_COVERAGE).clamp(max=1.0) * details.evidence
        seen = (1.0 - details.lpips).clamp(0.0, 1.0)
        exact = ((details.psnr - PIXELS_FROM) / (PIXELS_TO - PIXELS_FROM)).clamp(0.0, 1.0)
        agreed = torch.lerp(seen, exact, self.pixels)
        if self.points > 0.0 and reconstructions is not None:
            pairs = zip(samples, reconstructions, strict=True)
            met = torch.tensor([points_agreement(r, self.keys) if _usable(s, r) else torch.nan for s, r in pairs])
            agreed = torch.where(met.isnan(), agreed, torch.lerp(agreed, met, self.points))
        score = agreed * factor
        return torch.where(details.coverage < MISSING_COVERAGE, torch.nan, score)

    def details(self, samples: Sequence[Sample], reconstructions: Sequence[Reconstruction] | None) -> ReconDetails:
        """The parts of the score, each [B], nothing left out; nan where missing."""
        return self._details(samples, reconstructions, leave_moving=False)

    def _details(
        self, samples: Sequence[Sample], reconstructions: Sequence[Reconstruction] | None, leave_moving: bool
    ) -> ReconDetails:
        reconstructions = require_reconstructions("ReconReward", samples, reconstructions)
        usable = [i for i, (s, r) in enumerate(zip(samples, reconstructions, strict=True)) if _usable(s, r)]
        videos = [samples[i].video.detach().float().cpu() for i in usable]
        scenes = [reconstructions[i] for i in usable]
        with ThreadPoolExecutor(max(1, min(len(usable), numba.get_num_threads()))) as pool:
            drawings = list(pool.map(redraw, videos, scenes, [self.keys] * len(usable)))
        if leave_moving:
            drawings = [without_moving(drawing) for drawing in drawings]
        table = torch.full((4, len(samples)), torch.nan)
        for i, drawing, distance in zip(usable, drawings, self._distances(drawings), strict=True):
            table[:, i] = torch.tensor(
                [distance, drawing.psnr, drawing.coverage, evidence(drawing.originals, self.sharpness)]
            )
        return ReconDetails(*table)

    def _distances(self, drawings: Sequence[Redrawing]) -> list[float]:
        """Mean perceptual distance of each redrawing; pictures of one size are compared together, where LPIPS is."""
        device = next(self.lpips.parameters()).device
        distances = [float("nan")] * len(drawings)
        for size in {d.drawn.shape[2:] for d in drawings}:
            places = [i for i, d in enumerate(drawings) if d.drawn.shape[2:] == size]
            with torch.inference_mode():
                joint = self.lpips(
                    torch.cat([drawings[i].drawn for i in places]).clamp(0.0, 1.0).to(device),
                    torch.cat([drawings[i].originals for i in places]).to(device),
                    torch.cat([drawings[i].covered for i in places]).float().to(device),
                ).cpu()
            for i, part in zip(places, joint.split([len(drawings[i].frames) for i in places]), strict=True):
                distances[i] = float(part.nanmean())
        return distances


def _usable(sample: Sample, reconstruction: Reconstruction) -> bool:
    return all_finite(sample.video) and all_finite(reconstruction.c2w)


def redraw(video: Tensor, reconstruction: Reconstruction, keys: int = 5) -> Redrawing:
    """Draw `keys` evenly spread frames of a video [T,3,H,W] each from the others.

    Nothing of a frame reaches its drawing but its camera.
    """
    frames = spread(len(video), keys)
    images = np.ascontiguousarray(video[frames].permute(0, 2, 3, 1).numpy(), np.float32)
    w2c = np.linalg.inv(reconstruction.c2w[frames].detach().cpu().double().numpy())
    rho = 1.0 / reconstruction.depth[frames].detach().cpu().double().clamp(min=1e-3).numpy()
    intrinsics = np.ascontiguousarray(reconstruction.intrinsics.detach().cpu().double().numpy())
    places = np.arange(len(frames))
    own, weight = np.empty(rho.shape), np.empty(rho.shape)
    drawn = np.empty(images.shape)
    for k in range(len(frames)):
        splat_depth(w2c, k, places, rho, intrinsics, own[k])
        fill_holes(own[k], HOLE_ROUNDS)
        look_up(images, w2c, k, places, rho, intrinsics, own[k], drawn[k], weight[k])
    covered = torch.from_numpy(weight > 0)
    picture = torch.from_numpy(drawn).float().permute(0, 3, 1, 2)
    originals = video[frames]
    drawing = torch.where(covered[:, None], picture, originals)
    return Redrawing(torch.from_numpy(frames), originals, drawing, covered, torch.zeros_like(covered))


def without_moving(drawing: Redrawing) -> Redrawing:
    """The same with what moves by itself left out."""
    moving = moving_mask(drawing.originals, drawing.drawn, drawing.covered)
    return replace(drawing, covered=drawing.covered & ~moving, left_out=drawing.left_out | moving)


def evidence(images: Tensor, sharpness: float = SHARP_RATIO) -> float:
    """How much pictures [K,3,H,W] could reveal, in [0,1]: 1 for sharp and textured ones.

    Sharpness is the energy of the finest differences against that of differences at half the size: sharp edges give
    0.46 or more, a 5x5 box blur 0.28, and no grain counts for more than sharp edges. Texture is the root
    mean square difference at half the size against 0.03, a third of what the tiny world has. Pictures are first shrunk
    to at most 64 pixels on the short side, and must have 8. `sharpness` is the energy ratio that counts as sharp: what
    true clips show after the policy's own autoencoder.

    Noise is no picture: where the energy falls from each size to its half, over two halvings, by more than in any
    picture, the evidence falls with the smaller of both ratios, from all at 1.2 to none at 2. Clips of the tiny world
    have at most 0.59, pictures with a 1/f spectrum 1.1, white noise 4, and 2.1 after shrinking. Grain on a picture
    raises only the first ratio.
    """
    scale = PICTURE_SIDE / min(images.shape[2:])
    if scale < 1.0:
        size = (round(images.shape[2] * scale), round(images.shape[3] * scale))
        images = functional.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
    fine, coarse, coarser = (_difference_energy(functional.avg_pool2d(images, size)) for size in (1, 2, 4))
    sharp = min(1.0, fine / max(sharpness * coarse, 1e-9))
    rise = min(fine / max(coarse, 1e-9), coarse / max(coarser, 1e-9))
    picture = min(1.0, max(0.0, (NOISE_TO - rise) / (NOISE_TO - NOISE_FROM)))
    return picture * sharp * min(1.0, coarse**0.5 / PLAIN_GRADIENT)


def _difference_energy(images: Tensor) -> float:
    across, down = images.diff(dim=3), images.diff(dim=2)
    return float(across.square().mean() + down.square().mean())
