"""The camera language: text to moves, moves to trajectories, pose files and pose metrics."""

from worldr1.camera.io import read_trajectory, write_trajectory
from worldr1.camera.language import ALL_MOVES, EXTENDED_MOVES, MAX_MOVES, MOVES, describe_moves, parse_moves
from worldr1.camera.metrics import CameraErrors, align_first, align_similarity, camera_errors, rotation_geodesic
from worldr1.camera.trajectory import Trajectory

__all__ = [
    "ALL_MOVES",
    "EXTENDED_MOVES",
    "MAX_MOVES",
    "MOVES",
    "CameraErrors",
    "Trajectory",
    "align_first",
    "align_similarity",
    "camera_errors",
    "describe_moves",
    "parse_moves",
    "read_trajectory",
    "rotation_geodesic",
    "write_trajectory",
]
