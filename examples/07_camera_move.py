"""A camera move of your own: poses, no new word. The noise follows it, and the score asks whether the video did."""

import math

import torch
from rich import print

import worldr1
from worldr1.camera import se3

frames = 17
share = torch.linspace(0, 1, frames, dtype=torch.float64)
rotation = se3.roll(share * math.radians(20))  # a corkscrew: roll to the right ...
forward = share[:, None] * torch.tensor([0.0, 0.0, 0.35], dtype=torch.float64)  # ... while pushing in, in scene depths
camera = worldr1.Trajectory(se3.compose(rotation, forward).float(), moves=("corkscrew",))

pipe = worldr1.load_pipeline("tiny")
video = worldr1.generate(pipe, "a red box and a blue sphere in a tiled room", camera=camera)
scores = worldr1.score(video, camera=camera)
print(f"S_traj {scores.traj:.2f}; the camera turned by {scores.camera_turn:.0f} degrees of 20")
