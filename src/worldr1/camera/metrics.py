"""How far estimated cameras are from those that were asked for.

RotErr and TransErr are those of CameraCtrl (arXiv 2404.02101), CamMC that of MotionCtrl (arXiv 2312.03641), on
camera-to-world poses after alignment. Estimates know neither the world's frame nor its unit, hence the alignment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from worldr1.camera import se3

_STILL = 1e-9


@dataclass(frozen=True)
class Similarity:
    """``x -> scale * rotation @ x + translation``.

    Attributes:
        scale: positive, or 0 where the estimate moves against the reference.
        rotation: ``[3, 3]`` float64.
        translation: ``[3]`` float64.
    """

    scale: float
    rotation: Tensor
    translation: Tensor

    def apply(self, c2w: Tensor) -> Tensor:
        """Poses ``[T, 4, 4]`` in the other world: centres are scaled, orientations stay rotations."""
        c2w = c2w.double()
        centres = self.scale * c2w[:, :3, 3] @ self.rotation.T + self.translation
        return se3.compose(self.rotation @ c2w[:, :3, :3], centres)


@dataclass(frozen=True)
class CameraErrors:
    """Errors of a whole trajectory after alignment.

    Attributes:
        rot_err: RotErr in radians.
        trans_err: TransErr in the reference's unit.
        cam_mc: CamMC, mixing both.
        scale: by how much the estimate was enlarged; a nearly still video shows itself by a large one.
        frames: number of poses.
    """

    rot_err: float
    trans_err: float
    cam_mc: float
    scale: float
    frames: int


def rotation_geodesic(a: Tensor, b: Tensor) -> Tensor:
    """Angle in radians between rotations ``[..., 3, 3]``: ``arccos((tr(A^T B) - 1) / 2)``.

    It is taken as ``2 arcsin(|A - B|_F / (2 sqrt 2))``, which is the same and exact for small angles too.

    Returns:
        ``[...]`` float64 in [0, pi].
    """
    chord = (a.double() - b.double()).flatten(-2).norm(dim=-1)
    return 2.0 * torch.asin((chord / 8**0.5).clamp(max=1.0))


def align_similarity(estimated: Tensor, reference: Tensor, orientation_weight: float = 1.0) -> Similarity:
    """The similarity that brings estimated poses onto the reference (Umeyama 1991, with orientations).

    Centres alone leave the rotation about a straight path free, and a push in is a straight path. So the rotation is
    Procrustes' answer to the centres (of unit variance) and to the cameras' axes together; then follow scale and
    translation by least squares as in Umeyama. Deterministic.

    Args:
        estimated: ``[T, 4, 4]`` camera-to-world.
        reference: ``[T, 4, 4]`` camera-to-world.
        orientation_weight: weight of the axes beside the centres; 0 is Umeyama's alignment of centres.

    Raises:
        ValueError: when the shapes differ or are not ``[T, 4, 4]``.
    """
    estimated, reference = _poses(estimated, reference)
    source, target = estimated[:, :3, 3], reference[:, :3, 3]
    source_mean, target_mean = source.mean(dim=0), target.mean(dim=0)
    covariance = (target - target_mean).T @ (source - source_mean) / len(source)
    source_variance = float((source - source_mean).square().sum(dim=1).mean())
    target_variance = float((target - target_mean).square().sum(dim=1).mean())
    moving = min(source_variance, target_variance) > _STILL**2
    axes = (reference[:, :3, :3] @ estimated[:, :3, :3].mT).mean(dim=0)
    votes = orientation_weight * axes
    if moving:
        votes = votes + covariance / (source_variance * target_variance) ** 0.5
    left, _, right = torch.linalg.svd(votes)
    sign = torch.ones(3, dtype=votes.dtype)
    sign[2] = torch.sign(torch.linalg.det(left) * torch.linalg.det(right))
    rotation = left @ torch.diag(sign) @ right
    scale = max(float((rotation * covariance).sum()) / source_variance, 0.0) if moving else 1.0
    return Similarity(scale, rotation, target_mean - scale * rotation @ source_mean)


def align_first(estimated: Tensor, reference: Tensor) -> Similarity:
    """The similarity that brings the first estimated pose onto the first of the reference, with the best scale.

    CameraCtrl's convention: both trajectories relative to their first frames, the estimate's unit free.

    Raises:
        ValueError: when the shapes differ or are not ``[T, 4, 4]``.
    """
    estimated, reference = _poses(estimated, reference)
    rotation = reference[0, :3, :3] @ estimated[0, :3, :3].T
    source = (estimated[:, :3, 3] - estimated[0, :3, 3]) @ rotation.T
    target = reference[:, :3, 3] - reference[0, :3, 3]
    length, other = float(source.square().sum()), float(target.square().sum())
    moving = min(length, other) > _STILL**2
    scale = max(float((source * target).sum()) / length, 0.0) if moving else 1.0
    return Similarity(scale, rotation, reference[0, :3, 3] - scale * rotation @ estimated[0, :3, 3])


def camera_errors(
    estimated: Tensor,
    reference: Tensor,
    align: Literal["similarity", "first"] = "similarity",
    reduction: Literal["sum", "mean"] = "sum",
) -> CameraErrors:
    """RotErr, TransErr and CamMC over the frames j of a trajectory, after alignment.

    * ``RotErr = sum_j arccos((tr(R_j^T R*_j) - 1) / 2)``
    * ``TransErr = sum_j |T_j - T*_j|_2``
    * ``CamMC = sum_j |[R_j | T_j] - [R*_j | T*_j]|_F``

    Args:
        estimated: ``[T, 4, 4]`` camera-to-world.
        reference: ``[T, 4, 4]`` camera-to-world, what was asked for.
        align: ``"similarity"`` over all poses, or ``"first"`` for the first pose and scale.
        reduction: ``"sum"`` over frames as in the papers, or ``"mean"``.

    Raises:
        ValueError: when the shapes differ or are not ``[T, 4, 4]``, or on another alignment or reduction.
    """
    if align not in ("similarity", "first"):
        raise ValueError(f'align is {align!r}; it must be "similarity" or "first".')
    if reduction not in ("sum", "mean"):
        raise ValueError(f'reduction is {reduction!r}; it must be "sum" or "mean".')
    similarity = (align_similarity if align == "similarity" else align_first)(estimated, reference)
    moved, reference = _poses(similarity.apply(estimated), reference)
    difference = moved[:, :3] - reference[:, :3]
    frames = len(reference)
    share = 1.0 if reduction == "sum" else 1.0 / frames
    return CameraErrors(
        rot_err=float(rotation_geodesic(moved[:, :3, :3], reference[:, :3, :3]).sum()) * share,
        trans_err=float(difference[:, :, 3].norm(dim=-1).sum()) * share,
        cam_mc=float(difference.flatten(1).norm(dim=-1).sum()) * share,
        scale=similarity.scale,
        frames=frames,
    )


def _poses(estimated: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    if estimated.shape != reference.shape or estimated.ndim != 3 or estimated.shape[1:] != (4, 4):
        raise ValueError(
            f"The poses have shapes {tuple(estimated.shape)} and {tuple(reference.shape)}; both must be [T, 4, 4]."
        )
    return estimated.detach().double().cpu(), reference.detach().double().cpu()
