"""A camera move of your own: poses, no new word. The noise follows it, and the score asks whether the video did."""

import math

import torch
from rich import print

import worldr1
from worldr1.camera import se3

frames = 17
share = torch.linspace(0, 1, frames, dtype=torch.float64)
centre = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)  # lengths are in scene depths, z points into the scene
rotation = se3.yaw(share * math.radians(20))  # a spiral: 20 degrees about the centre, to the left ...
radius = (1 - 0.25 * share)[:, None]  # ... while a quarter of the way is gone towards it
camera = worldr1.Trajectory(
    se3.compose(rotation, centre - radius * (rotation @ centre)).float(), moves=("spiral left",)
)

pipe = worldr1.load_pipeline("tiny")
prompt = "camera orbit left. a red box and a blue sphere in a tiled room"  # the nearest words that the model knows
video = worldr1.generate(pipe, prompt, camera=camera)
scores = worldr1.score(video, camera=camera)
print(f"S_traj {scores.traj:.2f}; the camera turned by {scores.camera_turn:.0f} degrees of 20")
