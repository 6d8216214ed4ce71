"""What the reward models take: parameters that are counted, work and activations by rule of thumb."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import torch

from worldr1.planning.meter import Reading, measure
from worldr1.recipes.reward import RewardSettings
from worldr1.recipes.settings import ClipSettings
from worldr1.recipes.weights import examine
from worldr1.rewards.lpips import Lpips
from worldr1.rewards.rerender import FRAMES_AT_ONCE, SPLATS_AT_ONCE

_BYTES = 2
"""Of a bfloat16 number."""
_BUFFERS = 16
"""Token-wide buffers that a transformer's forward holds at once: residual, norm, q, k, v, and the hidden layer of four
widths before and after its activation."""
_DA3_PATCH = 14
_DA3_NETWORKS = {"small": (384, 12), "base": (768, 12), "large": (1024, 24), "giant": (1536, 40)}
"""Width and layers; every second layer looks at all frames together."""
_QWEN3_VL = {
    "2B": (2_127_532_032, 2048),
    "4B": (4_437_815_808, 2560),
    "8B": (8_767_123_696, 4096),
    "32B": (33_357_390_064, 5120),
}
"""Parameters and width of the dense Qwen3-VL models, by the size in their names."""
_JUDGED_TOKENS = 600
"""Of one view of 480x832 and its question."""
_HPSV3 = (8_295_000_000, 3584, 700)
"""HPSv3 (Qwen2-VL-7B and a head): parameters, width, tokens of one frame and its question."""
_SPLAT_FLOATS, _PROJECTED_FLOATS = 38, 32
"""Of a Gaussian with colours of degree 2; and beside it in each view: colours, their basis, the projection, sorting."""
_STEREO_SPLATS = 3 * 16384
"""Gaussians of a scene by stereo: of so many key frames, each of so many at most."""
_KEYS, _SPLATS, _SPLAT_BYTES = 5, 800_000, 64
"""Key frames that S_recon redraws; Gaussians of a scene at most and bytes of one, where they are built from depth."""
_REDRAW, _LPIPS, _POINTS, _STEREO = 0.2e-6, 1.2e-6, 0.6e-6, 0.1
"""Seconds of one core of a server's processor, as measured at 81 frames of 480x832: redrawing, LPIPS on the CPU and
reprojecting points, each of a pixel of a key frame; plane-sweep stereo, of a video, which it first makes small."""
_MOVING = 2.6e-9
"""Likewise finding what moves, of a pixel of a key frame and of its window, an eighth of the short side squared."""


@dataclass(frozen=True)
class RewardCost:
    """One model of the reward.

    Attributes:
        name: the component or "reconstructor".
        model: its name.
        parameters: that stay in the GPU's memory, 0 where nothing runs there; None where its size is not known.
        activations: bytes on the GPU while it scores.
        flops: per video, on the GPU.
        cpu_seconds: per video, of one core.
        kept: bytes per video that stay on the GPU until the batch is scored.
    """

    name: str
    model: str
    parameters: int | None = 0
    activations: float = 0.0
    flops: float = 0.0
    cpu_seconds: float = 0.0
    kept: float = 0.0

    @property
    def weights(self) -> float:
        """Bytes of its parameters in bfloat16; 0 where they are not known."""
        return float(_BYTES * (self.parameters or 0))


def reward_costs(
    settings: RewardSettings, clip: ClipSettings, at_once: int = 1, on_gpu: bool = True
) -> list[RewardCost]:
    """The models that a recipe's reward runs in this process.

    Args:
        settings: which components, of which models.
        clip: the videos' size.
        at_once: videos that are scored together.
        on_gpu: whether there is a GPU for those that can use one.
    """
    active, costs = settings.weights, []
    if active.keys() & {"meta", "recon", "traj"}:
        costs.append(_reconstructor(settings, clip))
    if "meta" in active:
        costs.append(_judge(settings))
    if "recon" in active:
        costs.append(_recon(settings, clip, at_once, on_gpu))
    if "general" in active:
        costs.append(_preference(settings))
    return costs


def _reconstructor(settings: RewardSettings, clip: ClipSettings) -> RewardCost:
    if settings.reconstructor == "stereo":
        return RewardCost("reconstructor", "stereo on the CPU", cpu_seconds=_STEREO)
    from worldr1.reconstruction.da3_loading import variant_of_weights

    name = settings.da3.weights
    try:
        variant = variant_of_weights(name, examine("", name, settings.da3.revision).place)
    except (ValueError, OSError):  # told as a reason not to start
        variant = None
    pixels = clip.frames * clip.height * clip.width
    headed = variant is not None and variant.gaussians
    splats = 4.0 * _SPLAT_FLOATS * _splats(settings, clip) if headed else min(_SPLATS, pixels) * _SPLAT_BYTES
    kept = 4.0 * (3 + 2) * pixels + splats
    if variant is None:
        return RewardCost("reconstructor", name, None, kept=kept)
    width, layers = next(size for part, size in _DA3_NETWORKS.items() if part in variant.preset)
    rows, columns = _patches(settings, clip)
    tokens = clip.frames * rows * columns
    linear = 2.0 * variant.parameters * tokens
    attention = 4.0 * width * layers / 2 * (tokens**2 + tokens * rows * columns)
    activations = float(_BUFFERS * tokens * width * _BYTES)
    return RewardCost("reconstructor", name, variant.parameters, activations, linear + attention, kept=kept)


def _recon(settings: RewardSettings, clip: ClipSettings, at_once: int, on_gpu: bool) -> RewardCost:
    if settings.recon_from == "gaussians":
        return _rerender(settings, clip, on_gpu)
    pixels = _KEYS * clip.height * clip.width
    window = (min(clip.height, clip.width) // 8 + 1) ** 2
    seconds = (
        _REDRAW * pixels
        + (_POINTS * pixels if settings.points else 0.0)
        + (_MOVING * window * pixels if settings.moving == "left-out" else 0.0)
    )
    if not on_gpu:
        return RewardCost("recon", "LPIPS on the CPU", cpu_seconds=seconds + _LPIPS * pixels)
    compared = _compared(at_once * _KEYS, clip)
    return RewardCost("recon", "LPIPS", 0, compared.peak, compared.flops / at_once, seconds)


def _compared(pairs: int, clip: ClipSettings) -> Reading:
    """LPIPS of so many pairs of frames."""
    network = Lpips().to("meta")

    def compute() -> None:
        pictures, mask = torch.empty(pairs, 3, clip.height, clip.width), torch.empty(pairs, clip.height, clip.width)
        network(pictures, torch.empty_like(pictures), mask)

    with torch.no_grad():  # inference mode hides convolutions from the meter
        return measure(compute)


def _patches(settings: RewardSettings, clip: ClipSettings) -> tuple[int, int]:
    """Rows and columns of a frame's patches as Depth Anything 3 sees it."""
    scale = settings.da3.process_res / max(clip.height, clip.width)
    return round(clip.height * scale / _DA3_PATCH), round(clip.width * scale / _DA3_PATCH)


def _rerender(settings: RewardSettings, clip: ClipSettings, on_gpu: bool) -> RewardCost:
    """Gaussians are drawn and compared, frame by frame. Drawing is no matrix work and not in the operations."""
    pixels = clip.height * clip.width
    if not on_gpu:
        return RewardCost("recon", "splats and LPIPS on the CPU", cpu_seconds=_LPIPS * clip.frames * pixels)
    splats = _splats(settings, clip)
    views = max(1, min(FRAMES_AT_ONCE, SPLATS_AT_ONCE // splats))
    drawing = 4.0 * splats * (_SPLAT_FLOATS + views * _PROJECTED_FLOATS)
    compared = _compared(views, clip)
    return RewardCost("recon", "splats and LPIPS", 0, drawing + compared.peak, compared.flops * clip.frames / views)


def _splats(settings: RewardSettings, clip: ClipSettings) -> int:
    """Gaussians of a scene at most: of Depth Anything 3 one for each pixel of the frames that give them."""
    if settings.reconstructor == "stereo":
        return _STEREO_SPLATS
    rows, columns = _patches(settings, clip)
    return min(settings.da3.splat_frames, clip.frames) * rows * columns * _DA3_PATCH**2


def _judge(settings: RewardSettings) -> RewardCost:
    judge = settings.judge
    if judge.name != "qwen3-vl":
        where = f"{judge.weights} at {judge.url}" if judge.name == "server" else "tiny critic on the CPU"
        return RewardCost("meta", where)
    size = _qwen3_vl(judge.weights, judge.revision)
    if size is None:
        return RewardCost("meta", judge.weights, None)
    return RewardCost("meta", judge.weights, size[0], *_language_model(*size, _JUDGED_TOKENS, 1))


def _qwen3_vl(name: str, revision: str | None) -> tuple[int, int] | None:
    """Parameters and width of a judge, by its published name or by its files; None where neither tells."""
    published = re.fullmatch(r"Qwen/Qwen3-VL-(\d+B)-(Instruct|Thinking)", name)
    if published and published[1] in _QWEN3_VL:
        return _QWEN3_VL[published[1]]
    place = examine("", name, revision).place
    if place is None or not (place / "config.json").is_file():
        return None
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    width = config.get("text_config", {}).get("hidden_size")
    size = sum(file.stat().st_size for file in place.glob("*.safetensors"))
    return None if width is None else (size // (4 if _dtype(config) == "float32" else 2), width)


def _dtype(config: dict[str, object]) -> object:
    return config.get("dtype", config.get("torch_dtype"))


def _preference(settings: RewardSettings) -> RewardCost:
    if settings.preference.name == "tiny":
        return RewardCost("general", "tiny critic on the CPU")
    parameters, width, tokens = _HPSV3
    costs = _language_model(parameters, width, tokens, settings.general_frames)
    return RewardCost("general", settings.preference.weights, parameters, *costs)


def _language_model(parameters: int, width: int, tokens: int, pictures: int) -> tuple[float, float]:
    batch = 8
    """Pictures at once, as the scorers do by default."""
    return float(_BUFFERS * tokens * width * _BYTES * batch), 2.0 * parameters * tokens * pictures
