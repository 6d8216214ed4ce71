"""Video to cameras, depth and Gaussians by Depth Anything 3 (https://arxiv.org/abs/2511.10647)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldr1.camera import se3
from worldr1.camera.trajectory import Trajectory
from worldr1.reconstruction.da3_gaussians import from_head, from_maps, transform
from worldr1.reconstruction.da3_loading import load_network, quiet_upstream
from worldr1.reconstruction.da3_preprocess import normalize, resize_frames
from worldr1.reconstruction.stereo import GAUGE_COLUMNS, GAUGE_ROWS
from worldr1.reconstruction.types import Reconstruction, all_finite, missing
from worldr1.splats.gaussians import Gaussians

PATCH = 14
REFERENCE_STRATEGIES = ("first", "middle", "saddle_balanced", "saddle_sim_range")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """One video as the network sees it: T frames of h x w pixels, lengths in the network's own unit.

    c2w: [T,4,4] float64, OpenCV, the first is the identity.
    intrinsics: [T,3,3] pixels of the processed frames.
    depth: [T,h,w] along the optical axis.
    confidence: [T,h,w] in [0,1].
    splats: Gaussians in the world of frame 0.
    metric: whether the unit is the metre.
    """

    c2w: Tensor
    intrinsics: Tensor
    depth: Tensor
    confidence: Tensor
    splats: Gaussians
    metric: bool


class DepthAnythingReconstructor:
    """Rebuilds scenes from videos with a Depth Anything 3 network.

    Cameras are what the network sees: the trajectory that was asked for is not shown to it, or it would agree.
    Unit of length: the harmonic mean depth in the lower half of frame 0 is 1, as in `StereoReconstructor`, so that the
    two can be compared and skies do not count; `predict` keeps the network's own unit (metres for nested variants).
    Confidence: 1 - 1/c of the network's c >= 1, whose reciprocal scales the error that it expects (nested variants
    give skies c = 1).
    Intrinsics: one lens per video, the median over frames, in the video's own pixels.
    Gaussians: from the network's head where it has one, else on the surfaces of the depth maps; in both cases of
    `splat_frames` evenly spread frames, which keep a scene's memory bounded whatever the length of the video.
    The same video gives the same answer: where upstream draws random numbers (`use_ray_pose`, nested variants) they
    are seeded, and the caller's random state is left alone. One video goes through the network at a time, because
    nested variants fit one scale to all that they are given together.

    Args:
        network: `depth_anything_3.model.da3.DepthAnything3Net` or `NestedDepthAnything3Net`, or what is called alike.
        dtype: of the network's arithmetic, by autocast as upstream does it; None for bfloat16 on CUDA, float32 on CPU.
        process_res: longest side of the frames that the network sees, in pixels.
        ref_view_strategy: how upstream picks the frame that the others refer to; its documents say "middle" for video.
        use_ray_pose: cameras from the ray head, slower and by upstream's figures slightly better.
        splat_frames: number of frames that give Gaussians.
        max_splats: Gaussians per frame at most (about), where they come from depth; larger frames are thinned out.
        seed: of what upstream leaves to chance.

    Raises:
        ValueError: for a setting out of its range.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        dtype: torch.dtype | None = None,
        process_res: int = 504,
        ref_view_strategy: str = "middle",
        use_ray_pose: bool = False,
        splat_frames: int = 8,
        max_splats: int = 100_000,
        seed: int = 0,
    ) -> None:
        if ref_view_strategy not in REFERENCE_STRATEGIES:
            known = ", ".join(REFERENCE_STRATEGIES)
            raise ValueError(f"ref_view_strategy is {ref_view_strategy!r}; it must be one of {known}.")
        self.patch = int(getattr(network, "PATCH_SIZE", PATCH))
        if process_res < self.patch or splat_frames < 1 or max_splats < 1:
            raise ValueError(
                f"DepthAnythingReconstructor needs process_res >= {self.patch}, splat_frames >= 1 and max_splats >= 1, "
                f"got {process_res}, {splat_frames} and {max_splats}."
            )
        self.network = network.eval()
        self.device = next((p.device for p in network.parameters()), torch.device("cpu"))
        default = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        self.dtype = default if dtype is None else dtype
        self.process_res = process_res
        self.ref_view_strategy = ref_view_strategy
        self.use_ray_pose = use_ray_pose
        self.splat_frames = splat_frames
        self.max_splats = max_splats
        self.seed = seed

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        *,
        revision: str | None = None,
        process_res: int = 504,
        ref_view_strategy: str = "middle",
        use_ray_pose: bool = False,
        splat_frames: int = 8,
        max_splats: int = 100_000,
        seed: int = 0,
    ) -> DepthAnythingReconstructor:
        """With published weights: a name, a hub address or a directory; see `da3_loading.load_network`, also for what
        is raised and warned of, and the class for the rest."""
        network, _ = load_network(name_or_path, revision)
        return cls(
            network.to(device),
            dtype=dtype,
            process_res=process_res,
            ref_view_strategy=ref_view_strategy,
            use_ray_pose=use_ray_pose,
            splat_frames=splat_frames,
            max_splats=max_splats,
            seed=seed,
        )

    def __call__(self, videos: Tensor, trajectories: Sequence[Trajectory] | None = None) -> list[Reconstruction]:
        """Reconstruct videos [B,T,3,H,W] in [0,1]; results lie on the videos' device.

        trajectories: not used, see the class. A video for which the network gives values that are not finite, or
        nothing but sky, has nan cameras, so that its scores are missing; it spoils no other.
        Raises ValueError for another shape, or values that are not finite.
        """
        if videos.ndim != 5 or videos.shape[1] < 1 or videos.shape[2] != 3 or min(videos.shape[3:]) < 1:
            raise ValueError(
                f"DepthAnythingReconstructor needs videos [B,T,3,H,W] of at least one frame, got {list(videos.shape)}."
            )
        if not all_finite(videos):
            raise ValueError("DepthAnythingReconstructor got a video with values that are not finite; leave it out.")
        return [self._one(video) for video in videos.detach()]

    def predict(self, video: Tensor) -> Prediction | None:
        """What the network sees in one video [T,3,H,W] in [0,1], on the network's device, in its own unit.

        None when the answer is not finite, not in front of the camera, or there is nothing but sky.
        """
        images = resize_frames(video.to(self.device, torch.float32), self.process_res, self.patch).clamp(0.0, 1.0)
        quiet_upstream()
        output = self._forward(normalize(images)[None])
        if output is None:
            return None
        depth, confidence = output["depth"][0].float(), output["depth_conf"][0].float()
        extrinsics, intrinsics = output["extrinsics"][0], output["intrinsics"][0].float()
        values = (depth, confidence, extrinsics, intrinsics)
        if not all(bool(torch.isfinite(value).all()) for value in values) or not _in_front(depth, intrinsics):
            return None
        w2c = se3.compose(extrinsics[:, :3, :3].double(), extrinsics[:, :3, 3].double())
        c2w = se3.relative_to_first(se3.invert(w2c))
        sure = 1.0 - 1.0 / confidence.clamp(min=1.0)
        frames = len(video)
        chosen = torch.linspace(0, frames - 1, min(self.splat_frames, frames)).round().long()
        if "gaussians" in output:
            # nested variants scale depth and cameras to metres after the head, and not the head's Gaussians
            scale = float(output["scale_factor"]) if "scale_factor" in output else 1.0
            splats = transform(from_head(output["gaussians"], frames, chosen), w2c[0, :3, :3], w2c[0, :3, 3], scale)
        else:
            splats = from_maps(images, depth, sure, c2w.float(), _one_lens(intrinsics), chosen, self.max_splats)
        return Prediction(c2w, intrinsics, depth, sure, splats, metric=bool(output.get("is_metric", 0)))

    def _forward(self, frames: Tensor) -> Mapping[str, Any] | None:
        devices = [frames.device] if frames.device.type == "cuda" else []
        precision = torch.autocast(frames.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)
        with torch.random.fork_rng(devices=devices), torch.no_grad(), precision:
            torch.manual_seed(self.seed)
            try:
                output: Mapping[str, Any] = self.network(
                    frames,
                    export_feat_layers=[],
                    infer_gs=True,
                    use_ray_pose=self.use_ray_pose,
                    ref_view_strategy=self.ref_view_strategy,
                )
            except AssertionError as error:
                if "non-sky" not in str(error):
                    raise
                log.warning("Depth Anything 3 sees nothing but sky in a video; its scores will be missing.")
                return None
        return output

    def _one(self, video: Tensor) -> Reconstruction:
        prediction = self.predict(video)
        if prediction is None:
            return missing(video)
        unit = scene_unit(prediction.depth[0])
        height, width = video.shape[-2:]
        c2w = prediction.c2w.clone()
        c2w[:, :3, 3] /= unit
        splats = prediction.splats
        device = video.device
        return Reconstruction(
            c2w=c2w.float().to(device),
            intrinsics=rescale_intrinsics(
                _one_lens(prediction.intrinsics), prediction.depth.shape[-2:], (height, width)
            ).to(device),
            depth=_to_size(prediction.depth / unit, (height, width)).to(device),
            confidence=_to_size(prediction.confidence, (height, width)).to(device),
            splats=replace(splats, means=splats.means / unit, scales=splats.scales / unit).to(device),
            metres=unit if prediction.metric else None,
        )


def scene_unit(depth: Tensor) -> float:
    """Harmonic mean of a depth map [h,w] in its lower half, a tenth of the width left out on either side."""
    height, width = depth.shape
    rows = slice(int(GAUGE_ROWS[0] * height), int(GAUGE_ROWS[1] * height))
    columns = slice(int(GAUGE_COLUMNS[0] * width), int(GAUGE_COLUMNS[1] * width))
    return float(1.0 / depth[rows, columns].double().reciprocal().mean())


def rescale_intrinsics(intrinsics: Tensor, before: Sequence[int], after: Sequence[int]) -> Tensor:
    """Intrinsics [...,3,3] for the same picture at another size; sizes (height, width)."""
    factors = intrinsics.new_tensor([after[1] / before[1], after[0] / before[0], 1.0])
    return intrinsics * factors[:, None]


def _one_lens(intrinsics: Tensor) -> Tensor:
    """The median [3,3] over frames of intrinsics [T,3,3]; of an even number, the mean of the middle two."""
    return intrinsics.quantile(0.5, dim=0)


def _in_front(depth: Tensor, intrinsics: Tensor) -> bool:
    return bool((depth > 0).all()) and bool((intrinsics[:, [0, 1], [0, 1]] > 0).all())


def _to_size(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps [T,h,w] as [T,H,W]."""
    if maps.shape[-2:] == size:
        return maps
    return functional.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
