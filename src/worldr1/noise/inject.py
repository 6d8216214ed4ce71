"""Initial noise that moves with the camera: the paper's noise wrapping."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from worldr1.camera.trajectory import Trajectory
from worldr1.noise.canonical import transport_canonical
from worldr1.noise.flow import latent_poses, next_positions, pixel_centres, plane_homographies
from worldr1.noise.sequential import transport_sequential
from worldr1.noise.streams import Array, noise_stream

Law = Literal["canonical", "sequential"]


def wrap_noise(
    trajectory: Trajectory,
    shape: tuple[int, int, int, int],
    seed: int,
    strength: float = 1.0,
    law: Law = "canonical",
    depth: Tensor | None = None,
    upscale: int = 8,
) -> Tensor:
    """Noise for the sampler's start that is correlated along the optical flow of the asked camera.

    Every frame on its own is white N(0, 1), whatever the camera, strength and law; only frames together show the
    motion. At strength 1 a fixed camera gives the same noise in every frame, so choose a lower one where the scene
    itself should move.

    Args:
        trajectory: the camera, whose frames the latent frames divide evenly (81 and 21, 17 and 5).
        shape: ``(C, T, H, W)`` of the latents.
        seed: any integer; the result is a function of the arguments alone. Frame 0 depends on the seed, the shape and
            the strength only, so that cameras can be compared from the same first frame.
        strength: share s in [0, 1] of the moving noise, see ``mix_noise``; two frames correlate s^2 times as much as
            at strength 1.
        law: ``"canonical"`` for views of one white plane at depth 1; ``"sequential"`` to move on from frame to frame.
        depth: ``[T, H, W]`` z-depth at the latent frames, if known; for the sequential law only.
        upscale: fine cells per latent cell and side; 8 keeps the canonical law's correlations within about 0.01 of the
            ideal.

    Returns:
        ``[C, T, H, W]`` float32 on the CPU.

    Raises:
        ValueError: on a bad shape, strength, law or depth, or latent frames that do not fall on video frames.
    """
    if len(shape) != 4 or min(shape) < 1:
        raise ValueError(f"shape is {tuple(shape)}; it must be (C, T, H, W), all positive.")
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"strength is {strength}; it must lie in [0, 1].")
    if upscale < 1:
        raise ValueError(f"upscale is {upscale}; it must be at least 1.")
    channels, frames, height, width = shape
    if law == "canonical":
        if depth is not None:
            raise ValueError('A depth needs law="sequential"; the canonical law knows only the plane at depth 1.')
        warped = transport_canonical(_latent_homographies(trajectory, frames, height, width), shape, seed, upscale)
    elif law == "sequential":
        warped = transport_sequential(_fine_flows(trajectory, shape, depth, upscale), shape, seed, upscale)
    else:
        raise ValueError(f'law is {law!r}; it must be "canonical" or "sequential".')
    if strength == 1.0:
        return torch.from_numpy(warped)
    fresh = noise_stream(seed, 3).standard_normal((frames, channels, height, width), dtype=np.float32)
    return mix_noise(torch.from_numpy(warped), torch.from_numpy(fresh).transpose(0, 1), strength)


def mix_noise(warped: Tensor, fresh: Tensor, strength: float) -> Tensor:
    """``s warped + sqrt(1 - s^2) fresh``: N(0, 1) again for independent N(0, 1) inputs, and correlated s with warped.

    Args:
        warped: noise that follows the flow, any shape.
        fresh: independent noise of the same shape.
        strength: s in [0, 1]; 1 returns the warped noise exactly, 0 the fresh noise.

    Raises:
        ValueError: when the strength lies outside [0, 1] or the shapes differ.
    """
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"strength is {strength}; it must lie in [0, 1].")
    if warped.shape != fresh.shape:
        raise ValueError(f"The noises have shapes {tuple(warped.shape)} and {tuple(fresh.shape)}; they must be equal.")
    return (strength * warped + (1.0 - strength**2) ** 0.5 * fresh).contiguous()


def _latent_homographies(trajectory: Trajectory, frames: int, height: int, width: int) -> np.ndarray:
    """``[T, 3, 3]`` from latent pixels of the first frame to those of each frame."""
    intrinsics = trajectory.intrinsics(height, width).double()
    planes = plane_homographies(latent_poses(trajectory, frames))
    return (intrinsics @ planes @ torch.linalg.inv(intrinsics)).numpy()


def _fine_flows(
    trajectory: Trajectory, shape: tuple[int, int, int, int], depth: Tensor | None, upscale: int
) -> Iterator[Array]:
    """Flows ``[2, H*upscale, W*upscale]`` in fine cells between successive latent frames."""
    _, frames, height, width = shape
    if depth is not None:
        if tuple(depth.shape) != (frames, height, width):
            raise ValueError(f"depth has shape {tuple(depth.shape)}; it must be [T, H, W] = {[frames, height, width]}.")
        depth = functional.interpolate(depth[:, None].double(), scale_factor=upscale, mode="bilinear")[:, 0]
    poses = latent_poses(trajectory, frames)
    size = (height * upscale, width * upscale)
    intrinsics, centres = trajectory.intrinsics(*size), pixel_centres(*size)
    for frame in range(frames - 1):
        pair = slice(frame, frame + 2)
        positions = next_positions(poses[pair], intrinsics, size, None if depth is None else depth[pair])
        yield (positions[0] - centres).float().numpy()
