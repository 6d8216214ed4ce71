"""A video rebuilt in 3D, drawn from a place where no camera was, and written for other programs."""

import numpy as np
from rich import print

import worldr1
from worldr1.reconstruction.export import export
from worldr1.tinyworld import render_clip, sample_scene

asked = worldr1.Trajectory.from_prompt("camera move right", frames=9)
clip = render_clip(sample_scene(np.random.default_rng(3)), asked)  # a rendered scene whose geometry is known
scene = worldr1.reconstruct(clip.video)  # from the pixels alone

travelled, truth = (float(path[-1, :3, 3].norm()) for path in (scene.c2w, clip.c2w))
print(f"the camera travelled {travelled:.2f} scene depths; in truth {truth:.2f}")

above = scene.c2w[len(scene.c2w) // 2].clone()
above[1, 3] -= 0.15  # y points down
image, depth, alpha = worldr1.render(scene.splats, above, scene.intrinsics, height=64, width=64)
print(f"from 0.15 above, {float((alpha > 0.5).float().mean()):.0%} of the picture is covered")
print("wrote", [str(path) for path in export(scene, "04_scene", video=clip.video)])
