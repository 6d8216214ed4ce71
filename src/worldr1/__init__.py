"""worldr1: make text-to-video models 3D-consistent by reinforcement learning."""

__version__ = "0.1.0"
