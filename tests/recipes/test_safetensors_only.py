"""Pickled weights are never read, whatever part of a pipeline they are of."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tiny_pipeline_parts import build_tiny_pipeline
from worldr1.pipelines import load_pipeline
from worldr1.recipes import Recipe
from worldr1.rl.assemble_policy import load_policy

STEMS = {"transformer": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}


def _pickled(folder: Path, part: str) -> Path:
    """A tiny pipeline of which one part lies there as a pickle alone."""
    pipeline = build_tiny_pipeline()
    pipeline.save_pretrained(folder)
    (folder / part / f"{STEMS[part]}.safetensors").unlink()
    name = "diffusion_pytorch_model.bin" if part != "text_encoder" else "pytorch_model.bin"
    torch.save(getattr(pipeline, part).state_dict(), folder / part / name)
    return folder


@pytest.mark.parametrize("part", STEMS)
def test_a_pickled_part_is_refused(part: str, tmp_path: Path) -> None:
    with pytest.raises((OSError, ValueError), match=STEMS[part]):
        load_pipeline(_pickled(tmp_path / "pipeline", part))


def test_a_pickled_text_encoder_is_refused_where_its_embeddings_are_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _pickled(tmp_path / "pipeline", "text_encoder")
    monkeypatch.setattr("worldr1.rl.assemble_policy._place", lambda *_: str(folder))
    model = {"path": str(folder), "max_tokens": 16, "embeds_cache": str(tmp_path / "cache")}
    with pytest.raises(OSError, match=r"model\.safetensors"):
        load_policy(Recipe.model_validate({"model": model}), ["a box"])
