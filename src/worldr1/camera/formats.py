"""Text of camera files, to and from trajectories: JSON, RealEstate10K, COLMAP.

Reading makes all poses relative to the first and keeps the file's unit of length. A ``Trajectory`` has one horizontal
field of view and square pixels about the image's centre, so of a file's intrinsics only the horizontal focal length is
kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from worldr1.camera import se3
from worldr1.camera.trajectory import Trajectory

_JSON_KEYS = {"moves", "frames", "fov", "c2w"}
_COLMAP_MODELS = {"SIMPLE_PINHOLE": 3, "PINHOLE": 4, "SIMPLE_RADIAL": 4, "RADIAL": 5, "OPENCV": 8}


def to_json(trajectory: Trajectory, prompt: str | None = None) -> str:
    """One JSON object: ``moves``, ``frames``, ``fov`` (degrees), ``c2w`` (T x 4 x 4), and ``prompt`` where given."""
    poses = [[[_number(value) for value in row] for row in pose] for pose in trajectory.c2w.tolist()]
    document: dict[str, object] = {} if prompt is None else {"prompt": prompt}
    document |= {"moves": list(trajectory.moves), "frames": trajectory.frames, "fov": trajectory.fov, "c2w": poses}
    return json.dumps(document)


def from_json(text: str) -> Trajectory:
    """Read what ``to_json`` writes; ``moves``, ``frames`` and ``fov`` may be missing.

    Raises:
        ValueError: when it is no such object.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"The camera file is not JSON: {error}.") from error
    if not isinstance(document, dict) or "c2w" not in document:
        raise ValueError('The camera file has no "c2w"; it must be an object with "c2w", T matrices of 4 x 4 numbers.')
    unknown = set(document) - _JSON_KEYS - {"prompt"}
    if unknown:
        raise ValueError(f'The camera file has an unknown key "{min(unknown)}"; known are {sorted(_JSON_KEYS)}.')
    try:
        c2w = torch.tensor(document["c2w"], dtype=torch.float64)
        moves = tuple(str(move) for move in document.get("moves", ()))
        fov = float(document.get("fov", Trajectory.fov))
    except (TypeError, ValueError) as error:
        raise ValueError(f"The camera file holds something else than numbers and names: {error}.") from error
    if document.get("frames", len(c2w)) != len(c2w):
        raise ValueError(f'The camera file says "frames": {document["frames"]} and has {len(c2w)} poses.')
    return _trajectory(c2w, fov, moves)


def to_realestate(
    trajectory: Trajectory, height: int, width: int, fps: float = 16.0, intrinsics: Tensor | None = None
) -> str:
    """RealEstate10K text: an empty line for the address, then a line per frame.

    A line holds a time in microseconds, ``fx fy cx cy`` as shares of the image's sides, two zeros, and the 3x4
    world-to-camera matrix by rows. ``intrinsics`` ``[3, 3]`` in pixels are the trajectory's own where not given.
    """
    intrinsics = trajectory.intrinsics(height, width) if intrinsics is None else intrinsics
    shares = [intrinsics[0, 0] / width, intrinsics[1, 1] / height, intrinsics[0, 2] / width, intrinsics[1, 2] / height]
    head = _join(float(share) for share in shares)
    poses = se3.invert(trajectory.c2w.double())[:, :3].flatten(1).tolist()
    lines = [f"{round(frame * 1e6 / fps)} {head} 0 0 {_join(pose)}" for frame, pose in enumerate(poses)]
    return "\n".join(["", *lines, ""])


def from_realestate(text: str) -> Trajectory:
    """Read RealEstate10K text.

    Raises:
        ValueError: when a line has not 19 numbers, there is no pose, or the focal length changes.
    """
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if (number == 1 and len(line.split()) < 2) or not line.strip():
            continue
        rows.append(_floats(line.split(), 19, f"Line {number} of the RealEstate10K file"))
    if not rows:
        raise ValueError("The RealEstate10K file has no pose; each line after the first must hold 19 numbers.")
    table = torch.tensor(rows, dtype=torch.float64)
    focal = table[:, 1]
    w2c = se3.compose(table[:, 7:].unflatten(-1, (3, 4))[..., :3], table[:, 7:].unflatten(-1, (3, 4))[..., 3])
    return _trajectory(se3.invert(w2c), _field_of_view(focal))


def to_colmap(trajectory: Trajectory, height: int, width: int, intrinsics: Tensor | None = None) -> tuple[str, str]:
    """The texts of COLMAP's ``cameras.txt`` (one PINHOLE camera) and ``images.txt`` (world-to-camera, no points).

    ``intrinsics`` ``[3, 3]`` in pixels are the trajectory's own where not given.
    """
    intrinsics = trajectory.intrinsics(height, width) if intrinsics is None else intrinsics
    params = [intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]]
    cameras = f"# CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]\n1 PINHOLE {width} {height} {_join(map(float, params))}\n"
    w2c = se3.invert(trajectory.c2w.double())
    quaternions = se3.matrix_to_quaternion(w2c[:, :3, :3]).tolist()
    images = ["# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME", "# POINTS2D[] as (X, Y, POINT3D_ID)"]
    for frame, (quaternion, translation) in enumerate(zip(quaternions, w2c[:, :3, 3].tolist(), strict=True)):
        images += [f"{frame + 1} {_join(quaternion)} {_join(translation)} 1 {frame:06d}.png", ""]
    return cameras, "\n".join(images) + "\n"


def from_colmap(cameras: str, images: str) -> Trajectory:
    """Read COLMAP's ``cameras.txt`` and ``images.txt``; frames are in the order of the images' names.

    Lens distortion is left out of account.

    Raises:
        ValueError: on an unknown camera model, a malformed line, a camera that is not listed, or no image.
    """
    focals = {}
    for line in _content(cameras):
        words = line.split()
        if len(words) < 4 or words[1] not in _COLMAP_MODELS:
            raise ValueError(f"Camera {line!r} has no model that is known; known are {', '.join(_COLMAP_MODELS)}.")
        params = _floats(words[4:], _COLMAP_MODELS[words[1]], f"Camera {words[0]} of cameras.txt")
        focals[words[0]] = params[0] / float(words[2])
    posed = []
    lines = iter(line for line in images.splitlines() if not line.startswith("#"))
    for line in lines:
        if not line.strip():
            continue
        words = line.split(maxsplit=9)
        if len(words) < 10 or words[8] not in focals:
            raise ValueError(f"Image line {line!r} must be ID QW QX QY QZ TX TY TZ CAMERA NAME with a listed camera.")
        posed.append((words[9], _floats(words[1:8], 7, f"Image {words[0]} of images.txt"), focals[words[8]]))
        points = next(lines, "").split()
        if len(points) % 3:
            raise ValueError(f"The line after image {words[9]!r} must hold its points (x y id), or be empty.")
    if not posed:
        raise ValueError("images.txt has no image.")
    posed.sort(key=lambda image: image[0])
    table = torch.tensor([pose for _, pose, _ in posed], dtype=torch.float64)
    w2c = se3.compose(se3.quaternion_to_matrix(table[:, :4]), table[:, 4:])
    return _trajectory(se3.invert(w2c), _field_of_view(torch.tensor([focal for _, _, focal in posed])))


def _trajectory(c2w: Tensor, fov: float, moves: tuple[str, ...] = ()) -> Trajectory:
    if c2w.ndim != 3 or c2w.shape[1:] != (4, 4) or not len(c2w):
        raise ValueError(f"The camera file's poses have shape {tuple(c2w.shape)}; they must be T x 4 x 4.")
    rotation = c2w[:, :3, :3]
    error = (rotation @ rotation.mT - torch.eye(3, dtype=c2w.dtype)).abs().amax()
    if not bool(error < 1e-3):
        raise ValueError("The camera file's poses are not rigid: a rotation is not orthonormal.")
    return Trajectory(c2w=se3.relative_to_first(c2w).float(), moves=moves, fov=fov)


def _field_of_view(focal: Tensor) -> float:
    """Horizontal field of view in degrees of focal lengths ``[T]`` in image widths, which must agree."""
    if not bool((focal > 0).all()) or float(focal.max() / focal.min()) > 1.01:
        raise ValueError("The camera file's focal length must be positive and the same in all frames.")
    return 2 * math.degrees(math.atan(0.5 / float(focal[0])))


def _content(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _floats(words: Sequence[str], count: int, where: str) -> list[float]:
    if len(words) != count:
        raise ValueError(f"{where} has {len(words)} numbers; it must have {count}.")
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise ValueError(f"{where} holds something that is not a number: {error}.") from error


def _number(value: float) -> float:
    """The shortest decimal that gives the same float32 back, without a negative zero."""
    return float(f"{value:.9g}") + 0.0


def _join(values: Iterable[float]) -> str:
    return " ".join(f"{_number(value):.9g}" for value in values)
