"""Noise that moves with the camera: optical flow, Gaussian-preserving transport, injection, measurements."""

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
