"""What a vision-language model is asked about a view off the trajectory: fitted to the camera and to the prompt.

World-R1, S_meta: Qwen3-VL rates the rebuilt scene with a digit from 0 to 9; floaters, billboards and stretched texture
cost. The question says which motion was asked for, so that what this camera could not see is not held against it.
"""

from __future__ import annotations

import torch

from worldr1.camera.trajectory import Trajectory

MOTION: dict[str, str] = {
    "push in": "moves forward into the scene",
    "pull out": "moves backward, away from the scene",
    "move left": "slides to its left",
    "move right": "slides to its right",
    "orbit left": "travels to its left on an arc around the scene, looking at the centre",
    "orbit right": "travels to its right on an arc around the scene, looking at the centre",
    "pan left": "turns to its left on the spot",
    "pan right": "turns to its right on the spot",
    "pull left": "moves backward and to its left",
    "pull right": "moves backward and to its right",
    "tilt up": "turns upward on the spot",
    "tilt down": "turns downward on the spot",
    "crane up": "rises",
    "crane down": "sinks",
    "roll left": "rolls to its left about its line of sight",
    "roll right": "rolls to its right about its line of sight",
    "fixed": "stands still",
}
"""Each move as a predicate of "the camera"."""

_STILL = 1e-3


def motion_words(trajectory: Trajectory) -> str:
    """The motion as a predicate of "the camera": its moves in order, or that it follows a given path."""
    if trajectory.moves:
        return ", then ".join(MOTION[move] for move in trajectory.moves)
    still = bool((trajectory.c2w - trajectory.c2w[:1]).abs().max() < _STILL)
    return MOTION["fixed"] if still else "follows a given path"


def _evidence(trajectory: Trajectory) -> str:
    """What a camera on this trajectory could see, from its poses."""
    positions = trajectory.c2w[:, :3, 3]
    if bool((positions - positions[:1]).norm(dim=1).max() < _STILL):
        return "It stayed at one point, so the hidden sides of things may be black."
    forward = trajectory.c2w[:, :3, 2]
    if bool(torch.linalg.vecdot(forward, forward[:1]).min() < 0.99) and any("orbit" in m for m in trajectory.moves):
        return "It saw the scene from several sides, so things must have volume and stand in one place."
    return "It moved through space, so near things must stand clear of what lies behind them."


def meta_question(prompt: str, trajectory: Trajectory) -> str:
    """The question about one picture; the answer is one digit from 0 to 9."""
    return (
        "A video was generated for a description, and its scene was rebuilt in 3D. This picture shows the rebuilt "
        "scene from a viewpoint off the path of the video's camera.\n"
        f"Description: {prompt}\n"
        f"In the video the camera {motion_words(trajectory)}. {_evidence(trajectory)}\n"
        "Judge whether this is one solid, coherent 3D scene that fits the description. Floating fragments, things "
        "that are flat like cardboard or appear twice, surfaces that are torn, bent or stretched, and described "
        "things that are missing lower the score. Black areas that the camera never saw, the framing and a slight "
        "blur do not.\n"
        "Rate it with one digit from 0 (no coherent scene) to 9 (as solid as a real place). Answer with the digit only."
    )
