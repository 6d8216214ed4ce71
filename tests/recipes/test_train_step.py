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
from worldr1.camera.metrics import rotation_geodesic
from worldr1.camera.trajectory import Trajectory
from worldr1.recipes import Recipe, load_recipe
from worldr1.reconstruction.da3_variants import variant_of
from worldr1.rewards.lpips import Lpips
from worldr1.rewards.registry import build_composer
from worldr1.rewards.rerender import RerenderReward
from worldr1.rewards.traj import TrajReward
from worldr1.rewards.types import Sample
from worldr1.rl.assemble import assemble
from worldr1.rl.metrics import read_metrics
from worldr1.rl.run import RunDirectory
from worldr1.rl.trainer import Parts, Trainer
from worldr1.splats.render import render

_TESTS = Path(__file__).parent.parent
_DEPTH_ANYTHING = all(importlib.util.find_spec(name) for name in ("depth_anything_3", "evo", "e3nn"))
"""Whether its network and what its Gaussian head needs are installed."""
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
    (root / "da3" / "config.json").write_text('{"model_name": "da3-base"}')
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
    if not _DEPTH_ANYTHING:
        reward["reconstructor"] = "stereo"
    return Recipe.model_validate(content)


def _with_tiny_depth_anything(monkeypatch: pytest.MonkeyPatch, published: str) -> None:
    """Published files name published sizes, so the tiny network takes the place of the loading alone.

    It has a Gaussian head, with colours of degree 2 as published, where the recipe's own weights have one.
    """
    if not _DEPTH_ANYTHING:
        return
    from benchmarks.random_models.depth import tiny_network

    from worldr1.reconstruction.depth_anything import DepthAnythingReconstructor

    def load(_: str, *, device: torch.device, dtype: torch.dtype, **settings: Any) -> DepthAnythingReconstructor:
        assert dtype == torch.float32
        network = tiny_network(gaussian_degree=2 if variant_of(published).gaussians else None)
        return DepthAnythingReconstructor(network.to(device), dtype=dtype, **settings)

    monkeypatch.setattr(DepthAnythingReconstructor, "from_pretrained", load)


def _modules(parts: Parts) -> list[nn.Module]:
    pipeline, composer = parts.policy.pipeline, parts.composer.composer  # type: ignore[attr-defined]
    rewards = composer.rewards  # type: ignore[attr-defined]
    networks = [pipeline.transformer, pipeline.vae, rewards["meta"].judge.model, rewards["general"].scorer.network]
    depth = getattr(composer.reconstructor, "network", None)
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
    _with_tiny_depth_anything(monkeypatch, load_recipe(name).reward.da3.weights)
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


@pytest.mark.skipif(not _DEPTH_ANYTHING, reason="needs depth_anything_3, evo and e3nn")
def test_the_paper_s_recipe_renders_the_gaussians_of_the_network_s_own_head(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_tiny_depth_anything(monkeypatch, load_recipe("world-r1-paper").reward.da3.weights)
    composer = build_composer(_tiny("world-r1-paper", models, tmp_path).reward)
    recon, traj = composer.rewards["recon"], composer.rewards["traj"]
    assert isinstance(recon, RerenderReward)
    assert isinstance(traj, TrajReward)
    assert composer.reconstructor is not None
    asked = Trajectory.from_prompt(PROMPTS[0], 9)
    coarse = torch.rand(9, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    video = nn.functional.interpolate(0.2 * coarse, size=(64, 64), mode="bilinear")
    sample = Sample(video, PROMPTS[0], asked)
    (scene,) = composer.reconstructor(video[None], [asked])
    assert scene.splats.sh_degree == 2
    assert scene.splats.source is not None
    assert scene.splats.source.unique().tolist() == list(range(9))
    drawn = render(scene.splats, scene.c2w, scene.intrinsics, 64, 64).image.clamp(0, 1)
    expected = 1 - float(Lpips()(drawn, video).mean())
    assert expected > 0.01
    assert float(recon([sample], [scene])) == pytest.approx(expected, abs=1e-5)
    distance = (scene.c2w[:, :3, 3] - asked.c2w[:, :3, 3]).norm(dim=1).mean()
    angle = rotation_geodesic(scene.c2w[:, :3, :3], asked.c2w[:, :3, :3]).mean()
    assert float(traj([sample], [scene])) == pytest.approx(float((-distance).exp() + (-angle).exp()) / 2, abs=1e-5)


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
