"""A video from the shipped model, the better of two, and what its geometry is worth. No GPU, no download."""

from pathlib import Path

from rich import print

import worldr1
from worldr1.evaluation.video import write_video

prompt = "camera orbit left. a red box and a blue sphere in a tiled room"
pipe = worldr1.load_pipeline("tiny")  # a diffusers WanPipeline of 6 million parameters
video = worldr1.generate(pipe, prompt, seed=0, best_of=2)  # [T,3,H,W] in [0,1]
write_video(Path("03_video.mp4"), video, magnify=4)

scores = worldr1.score(video, camera=worldr1.Trajectory.from_prompt(prompt, frames=len(video)))
print(f"S_recon {scores.recon:.2f}, PSNR {scores.psnr:.1f} dB, S_traj {scores.traj:.2f}")
for warning in scores.warnings:
    print("note:", warning)
