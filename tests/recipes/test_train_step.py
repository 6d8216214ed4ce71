"""A full training step of every recipe of real models, on the CPU, in tiny configurations of the same classes."""

from __future__ import annotations

import importlib.util
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tiny_pipeline_parts import build_tiny_pipeline
from worldr1.recipes import Recipe, load_recipe
from worldr1.rl.assemble import assemble
from worldr1.rl.metrics import read_metrics
from worldr1.rl.run import RunDirectory
from worldr1.rl.trainer import Parts, Trainer

_TESTS = Path(__file__).parent.parent
PROMPTS = ["camera orbit left. a red box", "camera push in. a blue sphere"]
NAMES = ["world-r1-small", "world-r1-large", "world-r1-paper"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with tiny random weights in the published formats: pipeline/, judge/ and hpsv3/."""
    pytest.importorskip("worldr1.rewards.hpsv3")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(_TESTS / "rewards"))
        from tiny_qwen import save_hpsv3, save_qwen3_vl

    from worldr1.rewards.hpsv3 import hpsv3_prompt

    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    build_tiny_pipeline().save_pretrained(root / "pipeline")
    (root / "judge").mkdir()
    save_qwen3_vl(root / "judge")
    save_hpsv3(root / "hpsv3", hpsv3_prompt(" ".join(PROMPTS)))
    for path in (root / "hpsv3" / "base").iterdir():
        shutil.copy(path, root / "hpsv3")
    (root / "prompts.txt").write_text("\n".join(PROMPTS))
    (root / "da3").mkdir()
    (root / "da3" / "model.safetensors").touch()
    return root


def _tiny(name: str, models: Path, cache: Path) -> Recipe:
    """A shipped recipe with its structure kept and its sizes reduced."""
    content: dict[str, Any] = load_recipe(name).model_dump()
    content["model"] |= {"path": str(models / "pipeline"), "max_tokens": 24, "rank": 4, "alpha": 8, "revision": None}
    content["model"]["embeds_cache"] = str(cache)
    content["clip"] = {"frames": 9, "height": 64, "width": 64}
    content["sampling"] |= {"steps": 4, "window_range": (1, 3), "micro_batch": 1}
    content["schedule"] |= {"groups": 1, "group_size": 2, "total_steps": 1}
    content["prompts"] |= {"main": str(models / "prompts.txt"), "dynamic": str(models / "prompts.txt")}
    content["evaluation"] |= {"prompts": 0}
    reward = content["reward"]
    reward["general_frames"] = 1
    reward["da3"] |= {"weights": str(models / "da3"), "process_res": 56}
    reward["judge"] |= {"weights": str(models / "judge")}
    reward["preference"] |= {"weights": str(models / "hpsv3")}
    if importlib.util.find_spec("depth_anything_3") is None:
        reward["reconstructor"] = "stereo"
    return Recipe.model_validate(content)


def _with_tiny_depth_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Published files name published sizes, so the tiny network takes the place of the loading alone."""
    if importlib.util.find_spec("depth_anything_3") is None:
        return
    from benchmarks.random_models.depth import tiny_network

    from worldr1.reconstruction.depth_anything import DepthAnythingReconstructor

    def load(_: str, *, device: torch.device, dtype: torch.dtype, **settings: Any) -> DepthAnythingReconstructor:
        assert dtype == torch.float32
        return DepthAnythingReconstructor(tiny_network().to(device), dtype=dtype, **settings)

    monkeypatch.setattr(DepthAnythingReconstructor, "from_pretrained", load)


def _modules(parts: Parts) -> list[nn.Module]:
    pipeline, composer = parts.policy.pipeline, parts.composer  # type: ignore[attr-defined]
    rewards = composer.rewards  # type: ignore[attr-defined]
    networks = [pipeline.transformer, pipeline.vae, rewards["meta"].judge.model, rewards["general"].scorer.network]
    depth = getattr(composer.reconstructor, "network", None)  # type: ignore[attr-defined]
    return [*networks, *([] if depth is None else [depth]), *_networks_in(rewards["recon"].lpips)]


def _networks_in(owner: object) -> list[nn.Module]:
    return [owner] if isinstance(owner, nn.Module) else [v for v in vars(owner).values() if isinstance(v, nn.Module)]


def _state(parts: Parts) -> dict[str, torch.Tensor]:
    return {
        f"{place} {name}": parameter.detach().clone()
        for place, module in enumerate(_modules(parts))
        for name, parameter in module.named_parameters()
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_component_scores_and_only_the_adapter_moves(
    name: str, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_tiny_depth_anything(monkeypatch)
    recipe = _tiny(name, models, tmp_path / "embeds")
    parts = assemble(recipe)
    before = _state(parts)
    run = RunDirectory(tmp_path / "run")
    run.root.mkdir()
    Trainer(recipe, parts, run).fit()

    (record,) = read_metrics(run.metrics, "train")
    for component in ("meta", "recon", "traj", "general", "total"):
        assert math.isfinite(record[f"reward/{component}"]), component
    assert record["missing"] == 0
    assert record["groups/used"] == 1
    assert record["gradient_norm"] > 0
    moved = {key for key, value in _state(parts).items() if not torch.equal(value, before[key])}
    adapters = {key for key in before if "lora_" in key}
    assert moved
    assert moved <= adapters
    assert any("lora_B" in key for key in moved)
    assert (run.lora / "pytorch_lora_weights.safetensors").is_file()
    assert len(list((tmp_path / "embeds").glob("*.safetensors"))) == len(PROMPTS) + 1
    assert "depth_anything_3" in sys.modules or recipe.reward.reconstructor == "stereo"


def test_a_second_run_never_loads_the_text_encoder(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import UMT5EncoderModel

    from worldr1.rl.assemble_policy import load_policy

    recipe = _tiny("world-r1-small", models, tmp_path)
    first = load_policy(recipe, PROMPTS).encode(PROMPTS).embeds

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the text encoder was loaded")

    monkeypatch.setattr(UMT5EncoderModel, "from_pretrained", refuse)
    second = load_policy(recipe, PROMPTS)
    assert torch.equal(second.encode(PROMPTS).embeds, first)
    plain = recipe.model_copy(update={"model": recipe.model.model_copy(update={"embeds_cache": None})})
    monkeypatch.undo()
    assert torch.equal(load_policy(plain).encode(PROMPTS).embeds, first)
