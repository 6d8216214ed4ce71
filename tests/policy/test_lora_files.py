"""Adapters keep the scale that they were trained at: the layer's output is compared with W x + (alpha / rank) B A x."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from worldr1.policy.lora_files import find_lora, load_lora

RANK, ALPHA, WIDTH = 4, 10.0, 48
LAYER = "blocks.0.attn1.to_q"


def _matrices() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(RANK, WIDTH, generator=generator), torch.randn(WIDTH, RANK, generator=generator)


def _state(layout: str) -> dict[str, Tensor]:
    down, up = _matrices()
    if layout == "diffusers":
        name, ends = f"transformer.{LAYER}", ("lora_A", "lora_B")
    elif layout == "down and up":
        name, ends = "diffusion_model.blocks.0.self_attn.q", ("lora_down", "lora_up")
    else:
        name, ends = "lora_unet_blocks_0_self_attn_q", ("lora_down", "lora_up")
    return {f"{name}.{ends[0]}.weight": down, f"{name}.{ends[1]}.weight": up, f"{name}.alpha": torch.tensor(ALPHA)}


def _change(pipeline: Any, file: Path, scale: float = 1.0) -> Tensor:
    """What the adapter adds to the layer's weight."""
    eye, layer = torch.eye(WIDTH), pipeline.transformer.get_submodule(LAYER)
    before = layer(eye)
    load_lora(pipeline, file, scale)
    after = pipeline.transformer.get_submodule(LAYER)(eye)
    return (after - before).detach().T


@pytest.mark.parametrize(("layout", "scale"), [("diffusers", 1.0), ("down and up", 1.0), ("diffusers", 1.5)])
def test_alphas_beside_the_matrices_are_kept(layout: str, scale: float, tiny_pipeline: Any, tmp_path: Path) -> None:
    save_file(_state(layout), str(tmp_path / "style.safetensors"))
    down, up = _matrices()
    change = _change(tiny_pipeline, find_lora(tmp_path), scale)
    torch.testing.assert_close(change, scale * ALPHA / RANK * up @ down, atol=1e-4, rtol=1e-4)


def test_alpha_in_diffusers_metadata_is_kept(tiny_pipeline: Any, tmp_path: Path) -> None:
    down, up = _matrices()
    layers = {f"{LAYER}.lora_A.weight": down, f"{LAYER}.lora_B.weight": up}
    settings = {"r": RANK, "lora_alpha": ALPHA, "target_modules": [LAYER]}
    tiny_pipeline.save_lora_weights(
        str(tmp_path), transformer_lora_layers=layers, transformer_lora_adapter_metadata=settings
    )
    change = _change(tiny_pipeline, find_lora(tmp_path))
    torch.testing.assert_close(change, ALPHA / RANK * up @ down, atol=1e-4, rtol=1e-4)


def test_without_alpha_the_scale_is_one(tiny_pipeline: Any, tmp_path: Path) -> None:
    state = {name: value for name, value in _state("diffusers").items() if "alpha" not in name}
    save_file(state, str(tmp_path / "style.safetensors"))
    down, up = _matrices()
    torch.testing.assert_close(_change(tiny_pipeline, find_lora(tmp_path)), up @ down, atol=1e-4, rtol=1e-4)


def test_what_is_no_adapter_is_told(tiny_pipeline: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no adapter in"):
        find_lora(tmp_path)
    save_file({"weight": torch.zeros(2)}, str(tmp_path / "a.safetensors"))
    with pytest.raises(ValueError, match="holds no adapter"):
        load_lora(tiny_pipeline, find_lora(tmp_path / "a.safetensors"))
    (tmp_path / "b.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="damaged"):
        load_lora(tiny_pipeline, tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match=r"several adapters; name one of a\.safetensors, b\.safetensors"):
        find_lora(tmp_path)
    wide = {name: torch.zeros(7, 7) if value.ndim else value for name, value in _state("diffusers").items()}
    save_file(wide, str(tmp_path / "wide.safetensors"))
    with pytest.raises(ValueError, match="does not fit this model"):
        load_lora(tiny_pipeline, tmp_path / "wide.safetensors")
