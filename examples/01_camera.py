"""What a prompt asks of the camera: moves, one pose for each frame, a picture, a file for other programs."""

from rich import print

from worldr1 import Trajectory
from worldr1.camera.io import write_trajectory
from worldr1.camera.plot import plot_trajectories

trajectory = Trajectory.from_prompt("The camera orbits left, then pushes in on a red box.", frames=17)
print(f"moves: {trajectory.moves}")
print(f"the last camera stands at {trajectory.c2w[-1, :3, 3].tolist()} in scene depths, OpenCV axes")

plot_trajectories({"asked": trajectory.c2w}, "01_path.png")
write_trajectory(trajectory, "01_path.json")
