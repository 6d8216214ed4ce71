"""What the reward models take: parameters that are counted, work and activations by rule of thumb."""

from __future__ import annotations

from dataclasses import dataclass

from worldr1.recipes.settings import ClipSettings, RewardSettings
from worldr1.reconstruction.da3_variants import find_variant
from worldr1.rewards.rerender import FRAMES_AT_ONCE, SPLATS_AT_ONCE

_BYTES = 2
"""Of a bfloat16 number."""
_BUFFERS = 16
"""Token-wide buffers that a transformer's forward holds at once: residual, norm, q, k, v, and the hidden layer of four
widths before and after its activation."""
_DA3_PATCH = 14
_DA3_NETWORKS = {"small": (384, 12), "base": (768, 12), "large": (1024, 24), "giant": (1536, 40)}
"""Width and layers; every second layer looks at all frames together."""
_JUDGE = (8_767_123_696, 4096, 600)
"""Qwen3-VL-8B: parameters, width, tokens of one view of 480x832 and its question."""
_HPSV3 = (8_295_000_000, 3584, 700)
"""HPSv3 (Qwen2-VL-7B and a head): parameters, width, tokens of one frame and its question."""
_SPLAT_FLOATS, _PROJECTED_FLOATS = 38, 32
"""Of a Gaussian with colours of degree 2; and beside it in each view: colours, their basis, the projection, sorting."""
_STEREO_SPLATS = 3 * 16384
"""Gaussians of a scene by stereo: of so many key frames, each of so many at most."""
_ALEXNET = (28_300.0, 256)
"""LPIPS: operations for each pixel of one picture (1.42e9 at 224x224), and bytes of its activations."""


@dataclass(frozen=True)
class RewardCost:
    """One model of the reward.

    Attributes:
        name: the component or "reconstructor".
        model: its name.
        parameters: that stay in the GPU's memory; 0 where nothing runs there.
        activations: bytes while it scores.
        flops: per video.
    """

    name: str
    model: str
    parameters: int
    activations: float
    flops: float

    @property
    def weights(self) -> float:
        """Bytes of its parameters in bfloat16."""
        return float(_BYTES * self.parameters)


def reward_costs(settings: RewardSettings, clip: ClipSettings) -> list[RewardCost]:
    """The models that a recipe's reward runs in this process, those that run on the CPU with 0."""
    active, costs = settings.weights, []
    if active.keys() & {"meta", "recon", "traj"}:
        costs.append(_reconstructor(settings, clip))
    if "meta" in active:
        costs.append(_judge(settings))
    if "recon" in active:
        costs.append(_recon(settings, clip))
    if "general" in active:
        costs.append(_preference(settings))
    return costs


def _reconstructor(settings: RewardSettings, clip: ClipSettings) -> RewardCost:
    if settings.reconstructor == "stereo":
        return RewardCost("reconstructor", "stereo on the CPU", 0, 0.0, 0.0)
    name, variant = settings.da3.weights, find_variant(settings.da3.weights)
    if variant is None:
        return RewardCost("reconstructor", name, 0, 0.0, 0.0)
    width, layers = next(size for part, size in _DA3_NETWORKS.items() if part in variant.preset)
    rows, columns = _patches(settings, clip)
    tokens = clip.frames * rows * columns
    linear = 2.0 * variant.parameters * tokens
    attention = 4.0 * width * layers / 2 * (tokens**2 + tokens * rows * columns)
    return RewardCost(
        "reconstructor", name, variant.parameters, float(_BUFFERS * tokens * width * _BYTES), linear + attention
    )


def _patches(settings: RewardSettings, clip: ClipSettings) -> tuple[int, int]:
    """Rows and columns of a frame's patches as Depth Anything 3 sees it."""
    scale = settings.da3.process_res / max(clip.height, clip.width)
    return round(clip.height * scale / _DA3_PATCH), round(clip.width * scale / _DA3_PATCH)


def _recon(settings: RewardSettings, clip: ClipSettings) -> RewardCost:
    """Gaussians are drawn and compared on the GPU. Drawing is no matrix work and not in the operations."""
    if settings.recon_from == "frames":
        return RewardCost("recon", "LPIPS on the CPU", 0, 0.0, 0.0)
    splats = _splats(settings, clip)
    views = max(1, min(FRAMES_AT_ONCE, SPLATS_AT_ONCE // splats))
    pixels, (operations, width) = clip.height * clip.width, _ALEXNET
    drawing = 4.0 * splats * (_SPLAT_FLOATS + views * _PROJECTED_FLOATS)
    return RewardCost(
        "recon",
        "splats and LPIPS",
        0,
        drawing + 2.0 * views * pixels * width,
        2.0 * clip.frames * pixels * operations,
    )


def _splats(settings: RewardSettings, clip: ClipSettings) -> int:
    """Gaussians of a scene at most: of Depth Anything 3 one for each pixel of the frames that give them."""
    if settings.reconstructor == "stereo":
        return _STEREO_SPLATS
    rows, columns = _patches(settings, clip)
    return min(settings.da3.splat_frames, clip.frames) * rows * columns * _DA3_PATCH**2


def _judge(settings: RewardSettings) -> RewardCost:
    name = settings.judge.name
    if name != "qwen3-vl":
        where = f"{settings.judge.weights} at {settings.judge.url}" if name == "server" else "tiny critic on the CPU"
        return RewardCost("meta", where, 0, 0.0, 0.0)
    parameters, width, tokens = _JUDGE
    return RewardCost("meta", settings.judge.weights, parameters, *_language_model(parameters, width, tokens, 1))


def _preference(settings: RewardSettings) -> RewardCost:
    if settings.preference.name == "tiny":
        return RewardCost("general", "tiny critic on the CPU", 0, 0.0, 0.0)
    parameters, width, tokens = _HPSV3
    frames = settings.general_frames
    return RewardCost(
        "general", settings.preference.weights, parameters, *_language_model(parameters, width, tokens, frames)
    )


def _language_model(parameters: int, width: int, tokens: int, pictures: int) -> tuple[float, float]:
    batch = 8
    """Pictures at once, as the scorers do by default."""
    return float(_BUFFERS * tokens * width * _BYTES * batch), 2.0 * parameters * tokens * pictures
