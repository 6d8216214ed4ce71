"""The tiny world: procedural scenes with exact ground truth, and a real, tiny Wan pipeline trained on them."""

from pathlib import Path

from worldr1.tinyworld.render import Clip, render_clip, render_clips
from worldr1.tinyworld.scenes import Scene, SceneObject, prompt_of, sample_scene
from worldr1.tinyworld.spoil import SPOIL_KINDS, Spoil, sample_spoil

__all__ = [
    "SPOIL_KINDS",
    "Clip",
    "Scene",
    "SceneObject",
    "Spoil",
    "pipeline_dir",
    "prompt_of",
    "render_clip",
    "render_clips",
    "sample_scene",
    "sample_spoil",
]


def pipeline_dir() -> Path:
    """Directory of the shipped diffusers pipeline (`WanPipeline.from_pretrained` reads it)."""
    return Path(__file__).parent / "weights" / "pipeline"
