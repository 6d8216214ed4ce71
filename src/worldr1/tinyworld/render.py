"""Scenes and trajectories to clips with exact ground truth: colour, depth, poses, object masks and the caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldr1.camera.trajectory import Trajectory
from worldr1.tinyworld.raytrace import OBJECT_FIELDS, STAGE_FIELDS, trace_frames
from worldr1.tinyworld.scenes import FLOOR_Y, Scene, SceneObject, prompt_of
from worldr1.tinyworld.spoil import CLEAN, Spoil, sample_spoil
from worldr1.tinyworld.vocabulary import COLOR_TABLE, COLORS, SETTINGS, SHAPES

WALL_X = 0.95
RAYS = 2


@dataclass(frozen=True)
class Clip:
    """A rendered clip and its ground truth.

    Attributes:
        video: [T,3,H,W] in [0,1].
        depth: [T,H,W] along the optical axis, in scene depths (sky 12).
        c2w: [T,4,4]; intrinsics: [3,3] in pixels.
        prompt: camera sentence and caption.
        scene: what was rendered; spoil: with which defects.
        object_mask: [T,H,W] int8, 0 for the background, k for object k.
    """

    video: Tensor
    depth: Tensor
    c2w: Tensor
    intrinsics: Tensor
    prompt: str
    scene: Scene
    spoil: Spoil
    object_mask: Tensor


def _object_state(solid: SceneObject, index: int, spoil: Spoil, s: np.ndarray) -> np.ndarray:
    """State of one object at the clip fractions `s` [T] as [T, OBJECT_FIELDS]."""
    state = np.zeros((len(s), OBJECT_FIELDS), np.float32)
    swing = spoil.wave(s)
    x = solid.x + spoil.drift[index][0] * swing
    z = solid.z + spoil.drift[index][1] * swing
    half = solid.half * (1 + spoil.swell[index][0] * swing)
    tall = solid.half_height * (1 + spoil.swell[index][1] * swing)
    yaw = np.full_like(s, solid.yaw)
    lift = np.zeros_like(s)
    if solid.motion == "sliding":
        x = x - np.sign(solid.x + 1e-6) * 0.4 * s
        z = z - 0.15 * s
    elif solid.motion == "bouncing":
        lift = 0.30 * np.abs(np.sin(2 * np.pi * s + solid.motion_phase))
    elif solid.motion == "spinning":
        yaw = yaw + 2.2 * s
    elif solid.motion == "pulsing":
        wave = 0.30 * np.sin(2 * np.pi * s + solid.motion_phase)
        half, tall = half * (1 + wave), tall * (1 - wave)
    blend = (spoil.recolor[index] * s)[:, None]
    color = np.array(COLORS[solid.color], np.float32) * (1 - blend) + COLOR_TABLE[spoil.recolor_to[index]] * blend
    for column, value in enumerate(
        (1.0, SHAPES.index(solid.shape), x, FLOOR_Y - tall - lift, z, half, tall, half, yaw)
    ):
        state[:, column] = value
    state[:, 10:13] = color
    return state


def _stage_state(scene: Scene, spoil: Spoil, s: np.ndarray) -> np.ndarray:
    """State of the surroundings at the clip fractions `s` [T] as [T, STAGE_FIELDS]."""
    setting = SETTINGS[scene.setting]
    stage = np.zeros((len(s), STAGE_FIELDS), np.float32)
    stage[:, 0] = setting.pattern
    stage[:, 1] = setting.open_air
    swing = spoil.wave(s)
    stage[:, 2] = scene.wall_z + spoil.room[0] * swing
    stage[:, 3] = WALL_X + spoil.room[1] * swing
    stage[:, 4:16] = np.concatenate([np.ravel(setting.floor), np.ravel(setting.wall)])
    stage[:, 16] = scene.phase[0] + spoil.swim_floor[0] * swing
    stage[:, 17] = scene.phase[1] + spoil.swim_floor[1] * swing
    stage[:, 18] = scene.phase[0] + spoil.swim_wall * swing
    stage[:, 19] = (1.0 + 6.0 * s) if setting.flowing else 0.0
    stage[:, 20:23] = spoil.bend, spoil.bend_frequency, spoil.bend_phase
    stage[:, 23] = s
    return stage


def render_clips(
    scenes: Sequence[Scene],
    trajectories: Sequence[Trajectory],
    spoils: Sequence[Spoil] | None = None,
    height: int = 64,
    width: int = 64,
) -> list[Clip]:
    """Render many clips of equal length in one parallel call.

    Raises:
        ValueError: if the sequences differ in length, or the trajectories in frames or field of view.
    """
    spoils = [CLEAN] * len(scenes) if spoils is None else spoils
    if not len(scenes) == len(trajectories) == len(spoils):
        raise ValueError(
            f"{len(scenes)} scenes, {len(trajectories)} trajectories and {len(spoils)} spoils: give as many of each"
        )
    if not scenes:
        return []
    frames = trajectories[0].frames
    if any(t.frames != frames or t.fov != trajectories[0].fov for t in trajectories):
        raise ValueError("all trajectories of one call must have the same number of frames and the same field of view")
    s = np.linspace(0.0, 1.0, frames, dtype=np.float32)
    count, slots = len(scenes), 2
    stage = np.concatenate([_stage_state(scene, spoil, s) for scene, spoil in zip(scenes, spoils, strict=True)])
    objects = np.zeros((count, frames, slots, OBJECT_FIELDS), np.float32)
    for n, (scene, spoil) in enumerate(zip(scenes, spoils, strict=True)):
        for k, solid in enumerate(scene.solids):
            objects[n, :, k] = _object_state(solid, k, spoil, s)
    cameras = np.stack([t.c2w.numpy() for t in trajectories]).astype(np.float32)
    backgrounds = cameras.copy()
    for n, spoil in enumerate(spoils):
        if spoil.parallax:
            backgrounds[n] = np.linalg.inv(cameras[n])
    intrinsics = trajectories[0].intrinsics(height, width)
    total = count * frames
    image = np.empty((total, 3, height, width), np.float32)
    depth = np.empty((total, height, width), np.float32)
    mask = np.empty((total, height, width), np.int8)
    trace_frames(
        stage,
        objects.reshape(total, slots, OBJECT_FIELDS),
        np.float32(FLOOR_Y),
        cameras.reshape(total, 4, 4),
        backgrounds.reshape(total, 4, 4),
        intrinsics.numpy().astype(np.float32),
        RAYS,
        image,
        depth,
        mask,
    )
    video = torch.from_numpy(image).view(count, frames, 3, height, width)
    depths = torch.from_numpy(depth).view(count, frames, height, width)
    masks = torch.from_numpy(mask).view(count, frames, height, width)
    return [
        Clip(
            video=video[n],
            depth=depths[n],
            c2w=trajectories[n].c2w,
            intrinsics=intrinsics,
            prompt=prompt_of(scenes[n], trajectories[n].moves),
            scene=scenes[n],
            spoil=spoils[n],
            object_mask=masks[n],
        )
        for n in range(count)
    ]


def render_clip(
    scene: Scene,
    trajectory: Trajectory,
    height: int = 64,
    width: int = 64,
    spoil: str | None = None,
    rng: np.random.Generator | None = None,
) -> Clip:
    """Render one clip, consistent or spoilt in the named way (see `spoil.SPOIL_KINDS`).

    Raises:
        ValueError: if `spoil` is named without `rng`, or unknown.
    """
    if spoil is None:
        return render_clips([scene], [trajectory], None, height, width)[0]
    if rng is None:
        raise ValueError("a spoilt clip is random: pass rng")
    moving = any(move != "fixed" for move in trajectory.moves)
    return render_clips([scene], [trajectory], [sample_spoil(rng, spoil, moving)], height, width)[0]
