"""The camera language: text to moves, moves to trajectories, pose files and pose metrics."""

from worldr1.camera.language import MAX_MOVES, MOVES, describe_moves, parse_moves
from worldr1.camera.trajectory import Trajectory

__all__ = ["MAX_MOVES", "MOVES", "Trajectory", "describe_moves", "parse_moves"]
