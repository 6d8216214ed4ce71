"""What keeps a run from starting is told at once, by the dry run and by training alike, before anything is loaded."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worldr1.cli import examination
from worldr1.planning.readiness import Obstacle, obstacles, refuse
from worldr1.recipes import Recipe, load_recipe
from worldr1.rl import assemble


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes optional modules look installed, and those that are named absent, beside transformers 5."""
    own, optional = importlib.util.find_spec, {"depth_anything_3", "einops", "addict", "omegaconf", "evo", "e3nn"}
    optional |= {"gsplat", "ray"}
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "5.0.0")

    def hidden(*names: str) -> None:
        def find(name: str, package: str | None = None) -> Any:
            if name in names:
                return None
            return importlib.machinery.ModuleSpec(name, None) if name in optional else own(name, package)

        monkeypatch.setattr(importlib.util, "find_spec", find)

    return hidden


def _recipe(name: str = "tiny", **reward: Any) -> Recipe:
    content = load_recipe(name).model_dump()
    content["reward"] |= reward
    return Recipe.model_validate(content)


def _told(recipe: Recipe, kind: str, on_gpu: bool = False) -> list[str]:
    return [one.sentence for one in obstacles(recipe, on_gpu) if one.kind == kind]


def test_nothing_is_in_the_way_of_the_tiny_recipe() -> None:
    assert obstacles(load_recipe("tiny"), on_gpu=False) == []


def test_packages_are_told_with_the_command_that_installs_them(hide: Callable[..., None]) -> None:
    small, paper = load_recipe("world-r1-small"), load_recipe("world-r1-paper")
    hide()
    assert _told(small, "packages", on_gpu=True) == []
    hide("einops", "addict", "evo", "e3nn", "gsplat", "ftfy")
    policy, depth, gsplat = _told(small, "packages", on_gpu=True)
    assert policy == "the policy needs ftfy; install with: pip install ftfy"
    assert depth.startswith("Depth Anything 3 needs einops, addict; install with: pip install 'worldr1[da3]' && pip")
    assert "gsplat; install with: pip install 'worldr1[cuda]'" in gsplat
    assert len(_told(small, "packages", on_gpu=False)) == 2
    assert any("einops, addict, evo, e3nn;" in told for told in _told(paper, "packages"))
    for recon_from, told in (("frames", 0), ("gaussians", 1)):
        assert len(_told(_recipe(recon_from=recon_from, pixels=0.0), "packages", on_gpu=True)) == told + 1


def test_old_transformers_and_a_missing_ray_are_told(
    hide: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = load_recipe("world-r1-small")
    hide("ray")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "4.57.1")
    (told,) = _told(small, "packages")
    assert told.startswith("Qwen3-VL and HPSv3 needs transformers 5, not 4.57.1; install with: pip install -U")
    pooled = Recipe.model_validate(small.model_dump() | {"pool": {"kind": "ray", "batch": 4}})
    assert _told(pooled, "packages") == ["pool.kind ray needs ray; install with: pip install 'worldr1[ray]'"]


def _judge_of_another_kind(folder: Path) -> dict[str, Any]:
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2_vl"}))
    (folder / "model.safetensors").touch()
    return {"judge": {"name": "qwen3-vl", "weights": str(folder)}}


def _frames_without_cameras(folder: Path) -> dict[str, Any]:
    (folder / "config.json").write_text('{"model_name": "da3mono-large"}')
    (folder / "model.safetensors").touch()
    return {"reconstructor": "da3", "da3": {"weights": str(folder)}}


def _relative_network(folder: Path) -> dict[str, Any]:
    (folder / "config.json").write_text('{"model_name": "da3-base"}')
    (folder / "model.safetensors").touch()
    return {"reconstructor": "da3", "da3": {"weights": str(folder)}, "traj_metres": 2.0}


def _two_checkpoints(folder: Path) -> dict[str, Any]:
    (folder / "a.safetensors").touch()
    (folder / "b.safetensors").touch()
    (folder / "HPSv3.pth").touch()
    return {"preference": {"name": "hpsv3", "weights": str(folder)}}


WRONG: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "token file": (lambda folder: {"judge": {"name": "server", "token_file": str(folder / "token")}}, "no token file"),
    "url": (lambda _: {"judge": {"name": "server", "url": "localhost:8000"}}, "no server's address; it must look like"),
    "variant": (
        lambda _: {"reconstructor": "da3", "da3": {"weights": "depth-anything/DA3METRIC-LARGE"}},
        "DA3METRIC-LARGE estimates depth frame by frame and no cameras",
    ),
    "directory's variant": (_frames_without_cameras, "DA3MONO-LARGE estimates depth frame by frame and no cameras"),
    "metres by name": (
        lambda _: {"reconstructor": "da3", "da3": {"weights": "depth-anything/DA3-BASE"}, "traj_metres": 2.0},
        "metres, which DA3-BASE does not see; use DA3NESTED-GIANT-LARGE-1.1",
    ),
    "metres": (_relative_network, "metres, which DA3-BASE does not see"),
    "judge": (_judge_of_another_kind, "is a qwen2_vl model; QwenJudge needs a dense Qwen3-VL"),
    "pickle": (_two_checkpoints, "is a pickled checkpoint, which is not loaded here"),
    "critics": (lambda folder: {"critics": str(folder)}, "There is no critic at"),
}


@pytest.mark.parametrize("name", WRONG)
def test_training_and_dry_run_tell_a_reward_that_cannot_be_built_before_anything_is_loaded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hide: Callable[..., None]
) -> None:
    make, sentence = WRONG[name]
    folder = tmp_path / "named"
    folder.mkdir()
    recipe = _recipe(**make(folder))
    hide()
    (told, *_) = _told(recipe, "reward")
    assert sentence in told

    def load(*_: Any) -> None:
        raise AssertionError("the policy is loaded before the reward is known to be right")

    monkeypatch.setattr(assemble, "load_policy", load)
    monkeypatch.setattr(assemble, "training_prompts", load)
    with pytest.raises((ValueError, OSError)) as caught:
        assemble.assemble(recipe)
    assert sentence in str(caught.value)


def test_metres_are_seen_by_a_nested_variant_and_need_no_cheaper_one() -> None:
    nested = {"reconstructor": "da3", "da3": {"weights": "depth-anything/DA3NESTED-GIANT-LARGE-1.1"}}
    assert _told(_recipe(traj_metres=2.0, **nested), "reward") == []


def test_everything_in_the_way_is_told_together() -> None:
    refuse([])
    with pytest.raises(FileNotFoundError, match=r"^a is missing; b is$"):
        refuse([Obstacle("weights", "a is missing"), Obstacle("packages", "b is")])
    with pytest.raises(ImportError):
        refuse([Obstacle("packages", "b is missing"), Obstacle("reward", "c is wrong")])


def test_doctor_tells_what_depth_anything_lacks(hide: Callable[..., None]) -> None:
    hide("einops", "omegaconf", "e3nn")
    found = examination._depth_anything()
    assert found.state == "missing"
    assert "lacks einops, omegaconf;" in found.detail
    assert "worldr1[da3]" in found.remedy
    hide("e3nn")
    assert "lacks e3nn for variants with Gaussians" in examination._depth_anything().detail
