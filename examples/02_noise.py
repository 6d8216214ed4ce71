"""Noise that moves with the camera: every frame stays N(0, 1), while neighbouring frames show the camera's motion."""

from rich import print

from worldr1 import Trajectory, wrap_noise
from worldr1.noise import flow_correlation

trajectory = Trajectory.from_prompt("camera move left", frames=17)
shape = (16, 5, 32, 32)  # latents of 17 frames of 256 x 256: channels, (17 - 1) / 4 + 1 frames, height / 8, width / 8

for strength in (0.0, 0.5, 1.0):
    noise = wrap_noise(trajectory, shape=shape, seed=0, strength=strength)
    along = flow_correlation(noise, trajectory)[1:].mean()
    print(
        f"strength {strength}: mean {noise.mean():+.3f}, std {noise.std():.3f}, correlation along the path {along:.2f}"
    )
