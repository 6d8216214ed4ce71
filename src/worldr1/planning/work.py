"""What evaluating, training and decoding take, in full size and from shapes alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from worldr1.planning.meter import Reading, measure
from worldr1.planning.shapes import PipelineShape
from worldr1.policy.base import Conditioning
from worldr1.recipes.settings import ClipSettings, ModelSettings

_STEADY, _PAIR = 4, 2
"""Beyond so many latent frames every further pair costs the autoencoder the same; CogVideoX decodes in pairs."""


def measure_forward(shape: PipelineShape, model: ModelSettings, clip: ClipSettings) -> Reading:
    """One evaluation of the network for one video, without gradient; raises ValueError for a size it cannot make."""
    return _over_layers(shape, lambda layers: _evaluate(shape, model, clip, layers))


def measure_training(shape: PipelineShape, model: ModelSettings, clip: ClipSettings, checkpointing: bool) -> Reading:
    """One evaluation with gradient and its backward pass for one video."""
    return _over_layers(shape, lambda layers: _evaluate(shape, model, clip, layers, checkpointing, backward=True))


def measure_decode(shape: PipelineShape, model: ModelSettings, clip: ClipSettings) -> Reading:
    """The decoding of one video in float32."""
    policy = shape.build_policy(model, layers=1)
    vae, temporal = policy.pipeline.vae, policy.pipeline.vae_scale_factor_temporal
    spatial = policy.pipeline.vae_scale_factor_spatial
    channels, *_ = policy.latent_shape(clip.frames, clip.height, clip.width)
    frames = (clip.frames - 1) // temporal + 1

    def decode(height: int, width: int) -> Reading:
        return _decode(vae, frames, (channels, height // spatial, width // spatial))

    rows, columns = _tiles(vae, spatial, "height", clip.height), _tiles(vae, spatial, "width", clip.width)
    if not model.vae_tiling or len(rows) == len(columns) == 1:
        return decode(clip.height, clip.width)
    tile = decode(max(rows), max(columns))
    video = 4.0 * 3 * clip.frames * clip.height * clip.width
    return Reading(tile.flops * sum(rows) * sum(columns) / (max(rows) * max(columns)), tile.peak + 3 * video)


def _tiles(vae: Any, spatial: int, side: str, length: int) -> list[int]:
    """The lengths of the tiles along one side, in pixels."""
    tile: int = getattr(vae, f"tile_sample_min_{side}")
    stride = getattr(vae, f"tile_sample_stride_{side}", None)
    if stride is None:
        kept = 1 - getattr(vae, f"tile_overlap_factor_{side}")
        stride = spatial * int(getattr(vae, f"tile_latent_min_{side}") * kept)
    return [length] if length <= tile else [min(tile, length - start) for start in range(0, length, stride)]


def _decode(vae: Any, frames: int, latent: tuple[int, int, int]) -> Reading:
    def decode(count: int) -> Reading:
        def compute() -> None:
            vae.decode(torch.empty(1, latent[0], count, *latent[1:]), return_dict=False)

        with torch.no_grad():
            return measure(compute)

    few = _STEADY + frames % _PAIR
    if frames <= few + _PAIR:
        return decode(frames)
    return decode(few).extrapolated(decode(few + _PAIR), (frames - few) / _PAIR)


def _over_layers(shape: PipelineShape, evaluate: Callable[[int], Reading]) -> Reading:
    """All layers are alike: what two and three of them take tells what all of them take."""
    layers = int(shape.transformer["num_layers"])
    if layers <= 3:
        return evaluate(layers)
    return evaluate(2).extrapolated(evaluate(3), layers - 2)


def _evaluate(
    shape: PipelineShape,
    model: ModelSettings,
    clip: ClipSettings,
    layers: int,
    checkpointing: bool | None = None,
    backward: bool = False,
) -> Reading:
    """One evaluation by the policy; `checkpointing` None leaves gradients out."""
    policy = shape.build_policy(model, layers, bool(checkpointing))
    config = policy.pipeline.transformer.config
    width = config.text_dim if "text_dim" in config else config.text_embed_dim
    size = policy.latent_shape(clip.frames, clip.height, clip.width)
    dtype = policy.pipeline.transformer.dtype
    with torch.device("meta"):
        latents, sigma = torch.empty(1, *size), torch.empty(1)
        text = Conditioning(torch.empty(1, model.max_tokens, width, dtype=dtype))

    def compute() -> None:
        velocity = policy.velocity(latents, sigma, text)
        if backward:
            velocity.square().mean().backward()

    with torch.set_grad_enabled(checkpointing is not None):
        return measure(compute)
