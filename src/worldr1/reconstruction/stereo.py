"""Video to cameras, depth and Gaussians without weights: direct alignment and plane-sweep stereo."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numba
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from worldr1.camera.language import MOVES
from worldr1.camera.trajectory import Trajectory
from worldr1.reconstruction.geometry import Array
from worldr1.reconstruction.planesweep import refine, sweep
from worldr1.reconstruction.redraw import fill_holes, splat_depth
from worldr1.reconstruction.search import SMOOTH, Cameras, Levels, halve, solve_cameras, spread
from worldr1.reconstruction.types import Reconstruction
from worldr1.splats.gaussians import Gaussians, from_depth

PLANES = np.linspace(0.02, 2.6, 24)
GAUGE_ROWS = (0.5, 1.0)
GAUGE_COLUMNS = (0.1, 0.9)
MIN_SIDE = 16
HOLE_ROUNDS = 4


class StereoReconstructor:
    """Rebuilds scenes from videos by photometric agreement alone.

    Cameras: bundle adjustment from the trajectory asked for, from each single move of the language at its full
    amplitude, and from standing still; the start that ends in the least colour error wins, so the answer may
    contradict what was asked. A video that a still camera explains as well as any motion counts as still.
    Depth: plane sweep with semi-global smoothing in the key frames, carried to the other frames.
    Unit of length: the harmonic mean depth in the lower half of frame 0 is 1, which is about where a subject stands.
    Nothing is random: the same video gives the same answer.

    Args:
        short_side: the geometry is estimated on a copy with at most this many pixels on the short side.
        keys: number of key frames that carry depth.
        splat_keys: number of key frames that give Gaussians.
        max_splats: Gaussians per key frame at most; larger videos are thinned out.
    """

    def __init__(self, short_side: int = 64, keys: int = 5, splat_keys: int = 3, max_splats: int = 16384) -> None:
        if short_side < MIN_SIDE or keys < 2 or splat_keys < 1 or max_splats < 1:
            raise ValueError(
                f"StereoReconstructor needs short_side >= {MIN_SIDE}, keys >= 2, splat_keys >= 1 and max_splats >= 1, "
                f"got {short_side}, {keys}, {splat_keys} and {max_splats}."
            )
        self.short_side = short_side
        self.keys = keys
        self.splat_keys = splat_keys
        self.max_splats = max_splats

    def __call__(self, videos: Tensor, trajectories: Sequence[Trajectory] | None = None) -> list[Reconstruction]:
        """Reconstruct videos [B,T,3,H,W] in [0,1], one thread per video.

        trajectories: what was asked for, one per video: one start among the others, and the field of view (64 degrees
        without). Raises ValueError for another shape, values that are not finite, or trajectories that do not fit.
        """
        if videos.ndim != 5 or videos.shape[2] != 3 or min(videos.shape[3:]) < MIN_SIDE:
            raise ValueError(
                f"StereoReconstructor needs videos [B,T,3,H,W] of at least {MIN_SIDE} pixels a side, "
                f"got {list(videos.shape)}."
            )
        if not bool(torch.isfinite(videos).all()):
            raise ValueError("StereoReconstructor got a video with values that are not finite; leave it out.")
        frames = videos.shape[1]
        if trajectories is not None and (
            len(trajectories) != len(videos) or any(t.frames != frames for t in trajectories)
        ):
            raise ValueError(
                f"StereoReconstructor needs one trajectory of {frames} frames for each of {len(videos)} videos."
            )
        asked: Sequence[Trajectory | None] = [None] * len(videos) if trajectories is None else trajectories
        with ThreadPoolExecutor(max(1, min(len(videos), numba.get_num_threads()))) as pool:
            return list(pool.map(self._one, videos.detach().float().cpu(), asked))

    def along(self, video: Tensor, w2c: Array, focal: float) -> Reconstruction:
        """Depth and Gaussians of a video [T,3,H,W] in [0,1] along cameras that are known.

        w2c: [T,4,4] world to camera, the first the identity, in a unit in which the scene's depth is about 1; focal: in
        pixels of the video, whose centre the optical axis meets.
        """
        height, width = video.shape[2:]
        intrinsics = torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
        working, scale = _working_copy(video, self.short_side)
        cameras = Cameras(np.ascontiguousarray(w2c, np.float64), cost=0.0, still_cost=float("inf"))
        return self._surfaces(video, intrinsics, working, scale, _levels(working, focal * scale), cameras)

    def _one(self, video: Tensor, asked: Trajectory | None) -> Reconstruction:
        frames, _, height, width = video.shape
        lens = asked if asked is not None else Trajectory.from_moves((), frames)
        intrinsics = lens.intrinsics(height, width)
        working, scale = _working_copy(video, self.short_side)
        levels = _levels(working, float(intrinsics[0, 0]) * scale)
        cameras = solve_cameras(levels, _starts(frames, asked), PLANES)
        return self._surfaces(video, intrinsics, working, scale, levels, cameras)

    def _surfaces(
        self, video: Tensor, intrinsics: Tensor, working: Array, scale: float, levels: Levels, cameras: Cameras
    ) -> Reconstruction:
        keys = spread(len(video), self.keys)
        rho, confidence = _key_depths(levels, cameras, keys)
        unit = 1.0 if cameras.still else _unit(rho[0])
        c2w = torch.from_numpy(np.linalg.inv(cameras.w2c)).float()
        c2w[:, :3, 3] /= unit
        c2w[0] = torch.eye(4)
        all_rho, all_confidence = _all_depths(cameras, keys, rho, confidence, levels.focal)
        depth = 1.0 / (unit * _to_size(all_rho, video, working, scale))
        return Reconstruction(
            c2w=c2w,
            intrinsics=intrinsics,
            depth=depth,
            confidence=_to_size(all_confidence, video, working, scale).clamp(0.0, 1.0),
            splats=self._splats(video, depth, c2w, intrinsics),
        )

    def _splats(self, video: Tensor, depth: Tensor, c2w: Tensor, intrinsics: Tensor) -> Gaussians:
        frames, _, height, width = video.shape
        chosen = torch.from_numpy(spread(frames, self.splat_keys))
        stride = max(1, int(np.ceil(np.sqrt(height * width / self.max_splats))))
        return from_depth(
            video[chosen], depth[chosen], c2w[chosen], intrinsics, source=chosen, footprint=0.3, stride=stride
        )


@lru_cache(maxsize=32)
def _canonical_starts(frames: int) -> Array:
    moves = [(move,) for move in MOVES if move != "fixed"]
    return np.stack([_w2c(Trajectory.from_moves(m, frames)) for m in [*moves, ()]])


def _starts(frames: int, asked: Trajectory | None) -> Array:
    canonical = _canonical_starts(frames)
    return canonical if asked is None else np.concatenate([_w2c(asked)[None], canonical])


def _w2c(trajectory: Trajectory) -> Array:
    return np.linalg.inv(trajectory.c2w.detach().cpu().double().numpy())


def _levels(working: Array, focal: float) -> Levels:
    half = halve(working)
    return Levels(working, half, halve(half), focal)


def _working_copy(video: Tensor, short_side: int) -> tuple[Array, float]:
    """Frames [T,h,w,3] on which the geometry is estimated, sides divisible by 4, and their scale against the video."""
    height, width = video.shape[2:]
    scale = min(1.0, short_side / min(height, width))
    if scale < 1.0:
        size = (round(height * scale), round(width * scale))
        video = functional.interpolate(video, size=size, mode="bilinear", antialias=True, align_corners=False)
    top, left = (video.shape[2] % 4) // 2, (video.shape[3] % 4) // 2
    rows, columns = video.shape[2] // 4 * 4, video.shape[3] // 4 * 4
    cropped = video[:, :, top : top + rows, left : left + columns].permute(0, 2, 3, 1)
    return np.ascontiguousarray(cropped.numpy().clip(0.0, 1.0), np.float32), scale


def _to_size(maps: Array, video: Tensor, working: Array, scale: float) -> Tensor:
    """Maps [T,h,w] on the working copy as [T,H,W] on the video: borders repeated, then enlarged."""
    height, width = video.shape[2:]
    rows, columns = round(height * scale), round(width * scale)
    top, left = (rows - working.shape[1]) // 2, (columns - working.shape[2]) // 2
    pad = (left, columns - working.shape[2] - left, top, rows - working.shape[1] - top)
    padded = functional.pad(torch.from_numpy(maps).float()[:, None], pad, mode="replicate")
    if (rows, columns) != (height, width):
        padded = functional.interpolate(padded, size=(height, width), mode="bilinear", align_corners=False)
    return padded[:, 0]


def _key_depths(levels: Levels, cameras: Cameras, keys: Array) -> tuple[Array, Array]:
    """Inverse depth and confidence [K,H,W] of the key frames; 1 and 0 for a still camera, which shows no depth."""
    shape = (len(keys), *levels.full.shape[1:3])
    if cameras.still:
        return np.ones(shape), np.zeros(shape)
    rho, confidence = np.empty(shape), np.empty(shape)
    coarse, sure = np.empty(levels.half.shape[1:3]), np.empty(levels.half.shape[1:3])
    step = PLANES[1] - PLANES[0]
    for k, key in enumerate(keys):
        others = keys[keys != key]
        sweep(levels.half, cameras.w2c, key, others, levels.focal / 2, PLANES, SMOOTH, coarse, sure)
        refine(levels.full, cameras.w2c, key, others, levels.focal, coarse, step, rho[k])
        confidence[k] = sure.repeat(2, 0).repeat(2, 1)
    return rho, confidence


def _unit(rho: Array) -> float:
    """Harmonic mean depth in the lower half of frame 0, in the cameras' unit; rho [H,W] is its inverse depth."""
    height, width = rho.shape
    rows = slice(int(GAUGE_ROWS[0] * height), int(GAUGE_ROWS[1] * height))
    columns = slice(int(GAUGE_COLUMNS[0] * width), int(GAUGE_COLUMNS[1] * width))
    return float(1.0 / max(rho[rows, columns].mean(), 1e-3))


def _all_depths(cameras: Cameras, keys: Array, rho: Array, confidence: Array, focal: float) -> tuple[Array, Array]:
    """Inverse depth and confidence [T,H,W]: the key frames' own, and theirs carried over to the frames between."""
    frames = len(cameras.w2c)
    all_rho, all_confidence = np.empty((frames, *rho.shape[1:])), np.zeros((frames, *rho.shape[1:]))
    height, width = rho.shape[1:]
    intrinsics = np.array([[focal, 0.0, width * 0.5], [0.0, focal, height * 0.5], [0.0, 0.0, 1.0]])
    for t in range(frames):
        k = int(np.abs(keys - t).argmin())
        if cameras.still or keys[k] == t:
            all_rho[t], all_confidence[t] = rho[k], confidence[k]
            continue
        splat_depth(cameras.w2c, t, keys, rho, intrinsics, all_rho[t])
        all_confidence[t] = np.where(all_rho[t] > 0.0, confidence[k], 0.0)
        fill_holes(all_rho[t], HOLE_ROUNDS)
        all_rho[t][all_rho[t] <= 0.0] = np.median(rho[k])
    return all_rho, all_confidence
