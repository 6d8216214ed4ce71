"""Weights: found, missing, cut short or of another revision, each told with the command that mends it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worldr1.recipes import load_recipe
from worldr1.recipes.settings import Recipe
from worldr1.recipes.weights import LICENCES, examine, incomplete, missing_sentence, place_of, required_weights

NAME = "owner/model"


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def _cached(hub: Path, name: str = NAME, revision: str = "main", commit: str = "a" * 40) -> Path:
    root = hub / f"models--{name.replace('/', '--')}"
    snapshot = root / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (root / "refs").mkdir(exist_ok=True)
    (root / "refs" / revision).write_text(commit)
    (snapshot / "model.safetensors").touch()
    return snapshot


def test_the_tiny_recipe_needs_nothing() -> None:
    assert required_weights(load_recipe("tiny")) == []


@pytest.mark.parametrize("name", ["world-r1-small", "world-r1-large", "world-r1-paper"])
def test_recipes_of_real_models_name_all_they_need(name: str) -> None:
    needed = required_weights(load_recipe(name))
    roles = ["policy", "reconstructor", "judge", "preference", "tokenizer of preference"]
    assert [weights.role for weights in needed] == roles
    assert all(weights.place is None and weights.name in LICENCES for weights in needed)
    assert needed[-1].command == "hf download Qwen/Qwen2-VL-7B-Instruct --include '*.json' '*.txt'"


def test_only_the_paper_s_recipe_takes_weights_that_forbid_commercial_use() -> None:
    forbidding = {
        name: [weights.name for weights in required_weights(load_recipe(name)) if not weights.commercial]
        for name in ("world-r1-small", "world-r1-large", "world-r1-paper")
    }
    assert forbidding == {
        "world-r1-small": [],
        "world-r1-large": [],
        "world-r1-paper": ["depth-anything/DA3-GIANT-1.1"],
    }


def test_components_without_weight_need_no_model() -> None:
    reward = {"recon": 0, "traj": 0, "meta": 0, "general": 1, "reconstructor": "da3", "judge": {"name": "qwen3-vl"}}
    assert required_weights(Recipe.model_validate({"reward": reward})) == []


def test_what_is_in_the_cache_is_found(hub: Path) -> None:
    snapshot = _cached(hub)
    assert place_of(NAME) == snapshot
    assert examine("policy", NAME).problem == ""


def test_what_is_missing_is_named_with_its_command() -> None:
    with pytest.raises(
        FileNotFoundError, match=r"owner/model is not on this machine; get it with: hf download owner/model \(if https"
    ):
        place_of(NAME)


def test_another_revision_is_told_with_those_that_are_here(hub: Path) -> None:
    _cached(hub)
    with pytest.raises(FileNotFoundError, match=r"not here in revision 'v9' \(here: main\); .*--revision v9 \("):
        place_of(NAME, "v9")
    newer = _cached(hub, revision="v9", commit="b" * 40)
    assert place_of(NAME, "v9") == newer


def test_a_download_that_was_cut_short_is_no_find(hub: Path) -> None:
    snapshot = _cached(hub)
    shards = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(shards))
    (snapshot / "model-1.safetensors").touch()
    assert "model-2.safetensors is missing" in examine("judge", NAME).problem
    (snapshot / "model-2.safetensors").touch()
    assert examine("judge", NAME).place == snapshot


def test_a_pipeline_needs_all_its_parts(tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").touch()
    (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").touch()
    (tmp_path / "model_index.json").write_text(
        json.dumps({"_class_name": "WanPipeline", "vae": ["diffusers", "X"], "transformer": ["diffusers", "Y"]})
    )
    assert incomplete(tmp_path).startswith("is not whole: transformer/ is missing")


def _pipeline(folder: Path) -> Path:
    """The files of a pipeline with two sharded parts and two without weights, all empty."""
    classes = {"transformer": "diffusers", "vae": "diffusers", "text_encoder": "transformers"}
    parts = {name: [library, "X"] for name, library in classes.items()}
    small = {"tokenizer": ["transformers", "X"], "scheduler": ["diffusers", "X"], "transformer_2": [None, None]}
    folder.mkdir()
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "WanPipeline", **parts, **small}))
    for name in ("tokenizer", "scheduler"):
        (folder / name).mkdir()
        (folder / name / f"{name}_config.json").touch()
    for name, library in classes.items():
        stem = "diffusion_pytorch_model" if library == "diffusers" else "model"
        (folder / name).mkdir()
        (folder / name / "config.json").touch()
        if name == "vae":
            (folder / name / f"{stem}.safetensors").touch()
            continue
        shards = [f"{stem}-{k}-of-00002.safetensors" for k in ("00001", "00002")]
        (folder / name / f"{stem}.safetensors.index.json").write_text(
            json.dumps({"weight_map": dict(zip("ab", shards, strict=True))})
        )
        for shard in shards:
            (folder / name / shard).touch()
    return folder


EVERY_FILE = [
    ("vae/diffusion_pytorch_model.safetensors", "holds no diffusion_pytorch_model.safetensors in"),
    ("vae/config.json", "is not whole: config.json is missing in"),
    ("transformer/diffusion_pytorch_model-00002-of-00002.safetensors", "00002-of-00002.safetensors is missing in"),
    ("transformer/diffusion_pytorch_model.safetensors.index.json", "the .safetensors.index.json of its shards is"),
    ("text_encoder/model-00001-of-00002.safetensors", "model-00001-of-00002.safetensors is missing in"),
    ("tokenizer/tokenizer_config.json", "is not whole: config.json is missing in"),
]


@pytest.mark.parametrize(("file", "told"), EVERY_FILE)
def test_each_part_of_a_pipeline_must_have_its_files(file: str, told: str, tmp_path: Path) -> None:
    folder = _pipeline(tmp_path / "pipeline")
    assert examine("policy", str(folder)).problem == ""
    (folder / file).unlink()
    problem = examine("policy", str(folder)).problem
    assert told in problem
    assert str((folder / file).parent) in problem


def test_another_file_of_weights_does_not_stand_for_the_one_that_is_read(tmp_path: Path) -> None:
    folder = _pipeline(tmp_path / "pipeline")
    (folder / "vae" / "diffusion_pytorch_model.safetensors").rename(folder / "vae" / "diffusion_pytorch_model.bin")
    (folder / "vae" / "diffusion_pytorch_model.fp16.safetensors").touch()
    assert "holds no diffusion_pytorch_model.safetensors" in examine("policy", str(folder)).problem


def test_a_link_into_the_cache_that_leads_nowhere_is_no_find(hub: Path) -> None:
    snapshot = _cached(hub)
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to(hub / "blobs" / "gone")
    assert "holds no .safetensors" in examine("judge", NAME).problem


def test_a_path_that_is_not_there_has_no_command(tmp_path: Path) -> None:
    missing = [examine("policy", str(tmp_path / "nowhere")), examine("judge", NAME)]
    sentence = missing_sentence(missing)
    page = f"https://huggingface.co/{NAME}"
    accept = f"(if {page} asks for it, accept its licence there and log in: hf auth login)"
    assert sentence.endswith(f"get it with: hf download {NAME} {accept}")
    assert "neither a directory nor a hub name" in sentence
    assert missing_sentence(missing[:1]).endswith("give another path")


@pytest.mark.parametrize("name", ["DA3-BASE", "da3-base", "depth-anything/DA3-BASE"])
def test_short_names_of_known_weights_are_understood(name: str, hub: Path) -> None:
    full = "depth-anything/DA3-BASE"
    assert examine("reconstructor", name).command == f"hf download {full}"
    snapshot = _cached(hub, full)
    assert place_of(name) == snapshot
    recipe = Recipe.model_validate({"reward": {"reconstructor": "da3", "da3": {"weights": name}}})
    assert [(one.name, one.licence, one.place) for one in required_weights(recipe)] == [(full, "Apache-2.0", snapshot)]


def test_a_name_that_is_nearly_known_is_answered_with_the_right_one() -> None:
    assert "(did you mean depth-anything/DA3-BASE?)" in examine("reconstructor", "DA3-BAES").problem
    assert "did you mean" not in examine("policy", "x").problem


def test_a_licence_under_which_commercial_users_register_is_not_free() -> None:
    free = {name for name in LICENCES if examine("", name).commercial}
    assert {"zai-org/CogVideoX-2b", "depth-anything/DA3-SMALL", "MizzenAI/HPSv3"} <= free
    assert not {"zai-org/CogVideoX1.5-5B", "depth-anything/DA3-GIANT-1.1"} & free


def test_weights_of_known_licences_ask_for_none() -> None:
    known = [examine("policy", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers")]
    assert missing_sentence(known).endswith("get it with: hf download Wan-AI/Wan2.1-T2V-1.3B-Diffusers")


@pytest.mark.parametrize("result", ["lora", "pipeline"])
def test_a_run_stands_for_what_it_trained(result: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(FileNotFoundError, match="is a run that holds no trained model yet"):
        place_of(str(tmp_path))
    (tmp_path / result).mkdir()
    assert place_of(str(tmp_path)) == tmp_path
