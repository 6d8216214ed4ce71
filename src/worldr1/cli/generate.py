"""`worldr1 generate`: a camera-controlled video from a prompt."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import tyro

logger = logging.getLogger(__name__)


def generate(
    prompt: str,
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))] = Path("video.mp4"),
    model: str = "tiny",
    lora: Path | None = None,
    seed: int = 0,
    best_of: int = 1,
    frames: int | None = None,
    height: int | None = None,
    width: int | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    strength: float | None = None,
    fps: int = 8,
) -> int:
    """Make a video whose camera moves as the prompt says.

    Args:
        prompt: such as "camera orbit left, then push in. a red box in a striped room".
        out: the .mp4 to write.
        model: 'tiny', a run directory, a diffusers directory or a hub name.
        lora: directory of an adapter to put on the model.
        seed: of the initial noise.
        best_of: make so many and keep the one with the best 3D score.
        frames: 4k + 1; like all below, what the model was trained for when not given.
        height: in pixels, a multiple of 16.
        width: in pixels, a multiple of 16.
        steps: of the sampler.
        guidance: classifier-free guidance scale, 1 for none.
        strength: share of the camera's motion in the noise, 0 to 1.
        fps: frames per second of the file.
    """
    import torch

    from worldr1.pipelines import load_pipeline

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    pipeline = load_pipeline(model, lora, dtype, device)
    from worldr1.evaluation.video import write_video
    from worldr1.generation import generate as make

    video = make(
        pipeline,
        prompt,
        seed,
        frames=frames,
        height=height,
        width=width,
        steps=steps,
        guidance=guidance,
        strength=strength,
        best_of=best_of,
    )
    logger.info("wrote %s", write_video(out, video, fps=fps))
    return 0
