"""Scores of the upstream package for `hpsv3_recipe`: writes `hpsv3_upstream.json`, which the tests compare with.

HPSv3 pins transformers 4.45.2, so it runs in an environment of its own:

    python -m venv hpsv3-env
    hpsv3-env/bin/pip install torch==2.13.0 transformers==4.45.2 accelerate==1.0.1 omegaconf==2.3.0 "numpy<2.3" pillow
    hpsv3-env/bin/pip install --no-deps hpsv3==1.0.0
    hpsv3-env/bin/python tests/rewards/hpsv3_upstream.py

`HPSv3RewardInferencer` is called as its README says, with its own YAML file except for the keys in `CHANGED`. Packages
that it imports for training only (`UNUSED`) are empty stand-ins.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import tempfile
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import hpsv3_recipe as recipe

CHANGED: dict[str, Any] = {
    "bf16": False,
    "torch_dtype": "float32",
    "disable_flash_attn2": True,
    "use_cpu": True,
    "report_to": "none",
}
UNUSED = (
    "datasets",
    "fire",
    "matplotlib",
    "matplotlib.patches",
    "matplotlib.pyplot",
    "pandas",
    "peft",
    "torch.utils.tensorboard",
    "torchvision",
    "torchvision.transforms",
    "torchvision.transforms.functional",
    "trl",
)


class _StandIn(ModuleType):
    """Every name that is imported from it is an empty class; it quantises nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__, self.__path__ = ModuleSpec(name, None), []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if f"{self.__name__}.{name}" in UNUSED:
            return sys.modules[f"{self.__name__}.{name}"]
        return (lambda settings: None) if name == "get_quantization_config" else type(name, (), {})


def main() -> None:
    """Score every picture with every prompt, in one padded batch."""
    import torch
    from omegaconf import OmegaConf
    from PIL import Image
    from transformers import AutoProcessor, Qwen2VLConfig, Qwen2VLForConditionalGeneration, trainer  # noqa: F401

    sys.modules.update({name: _StandIn(name) for name in UNUSED})
    from hpsv3 import HPSv3RewardInferencer
    from hpsv3.inference import _MODEL_CONFIG_PATH
    from hpsv3.model.qwen2vl_trainer import Qwen2VLRewardModelBT

    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        base = Path(place) / "base"
        recipe.save_base(base)
        config = Qwen2VLConfig.from_pretrained(base)
        Qwen2VLForConditionalGeneration(config).save_pretrained(base)
        settings = OmegaConf.load(Path(_MODEL_CONFIG_PATH) / "HPSv3_7B.yaml")
        OmegaConf.save({**settings, **CHANGED, "model_name_or_path": str(base)}, "HPSv3_tiny.yaml")
        tokens = len(AutoProcessor.from_pretrained(base).tokenizer) + 1
        config.vocab_size = tokens
        like = Qwen2VLRewardModelBT(config, output_dim=2, special_token_ids=[tokens - 1], rm_head_type="ranknet")
        shapes = {name: list(tensor.shape) for name, tensor in like.state_dict().items()}
        recipe.save_checkpoint(Path("HPSv3.safetensors"), shapes)
        scorer = HPSv3RewardInferencer(f"{place}/HPSv3_tiny.yaml", "HPSv3.safetensors", device="cpu")
        pairs = [(index, prompt) for index in range(len(recipe.SIZES)) for prompt in range(len(recipe.PROMPTS))]
        images = [Image.fromarray(recipe.picture(index)) for index, _ in pairs]
        prompts = [recipe.PROMPTS[prompt] for _, prompt in pairs]
        batch = scorer.prepare_batch(images, prompts)
        with torch.no_grad():
            outputs = scorer.reward(images, prompts)
    packages = ("hpsv3", "transformers", "tokenizers", "torch", "numpy", "pillow")
    document = {
        "made_by": "tests/rewards/hpsv3_upstream.py",
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "lengths": batch["attention_mask"].sum(1).tolist(),
        "grids": batch["image_grid_thw"].tolist(),
        "pairs": pairs,
        "mu_and_log_sigma": outputs.tolist(),
        "tensors": shapes,
    }
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in document.items()]
    (here / "hpsv3_upstream.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
