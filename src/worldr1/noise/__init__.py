"""Noise that moves with the camera: optical flow, Gaussian-preserving transport, injection, measurements.

Transport follows one of two laws, `canonical` or `sequential`. Both start from white noise on a grid that is
``upscale`` times finer than the latents. A latent cell is the sum of the fine cells in it divided by the root of their
number, hence N(0, 1), and cells of one frame share no fine cell, hence are independent. The laws differ in how frames
depend on one another.
"""

from worldr1.noise.flow import FlowMaps, latent_maps, latent_poses, optical_flow
from worldr1.noise.inject import mix_noise, wrap_noise
from worldr1.noise.measure import flow_correlation, ideal_flow_correlation, injection_survival

__all__ = [
    "FlowMaps",
    "flow_correlation",
    "ideal_flow_correlation",
    "injection_survival",
    "latent_maps",
    "latent_poses",
    "mix_noise",
    "optical_flow",
    "wrap_noise",
]
