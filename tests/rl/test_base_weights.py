"""The weights that a run began with: told apart, stored when it begins, and required afterwards."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from worldr1.cli.main import main
from worldr1.recipes import Recipe, load_recipe, save_recipe
from worldr1.rl import assemble, assemble_policy, launch, trainer
from worldr1.rl.base_weights import require_same_base, weights_of
from worldr1.rl.distributed import World
from worldr1.rl.run import RunDirectory


def model(folder: Path, seed: int = 0) -> Path:
    generator = torch.Generator().manual_seed(seed)
    parts = ("transformer", "vae", "text_encoder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps({part: ["toy", "Network"] for part in parts}))
    for part in parts:
        (folder / part).mkdir(exist_ok=True)
        (folder / part / "config.json").write_text("{}")
        tensors = {"a": torch.randn(300, 40, generator=generator), "b": torch.randn(3, generator=generator)}
        save_file(tensors, folder / part / "model.safetensors")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A finished run from the model beside it."""
    run, recipe = RunDirectory(tmp_path / "run"), recipe_of(model(tmp_path / "base"))
    run.lora.mkdir(parents=True)
    launch_train(recipe, run, resume=False)
    return run


def recipe_of(base: Path) -> Recipe:
    recipe = load_recipe("tiny")
    return recipe.model_copy(update={"model": recipe.model.model_copy(update={"path": str(base)})})


def launch_train(recipe: Recipe, run: RunDirectory, resume: bool) -> None:
    import worldr1.evaluation.report as report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assemble, "assemble", lambda recipe, world: None)
        patch.setattr(trainer, "Trainer", lambda *parts: SimpleNamespace(fit=lambda resume: None))
        patch.setattr(report, "write_report", lambda root: root)
        launch._train(recipe, run, World(), resume)


def test_a_copy_is_the_same_and_every_tensor_counts(tmp_path: Path) -> None:
    one, copy = weights_of(str(model(tmp_path / "a"))), weights_of(str(model(tmp_path / "b")))
    assert one.fingerprint == copy.fingerprint
    assert len(one.fingerprint) == 16
    assert weights_of(str(model(tmp_path / "b", seed=1))).fingerprint != one.fingerprint
    model(tmp_path / "b")
    vae = tmp_path / "b" / "vae" / "model.safetensors"
    content = bytearray(vae.read_bytes())
    content[-1] ^= 1  # in the last, small tensor
    vae.write_bytes(bytes(content))
    assert weights_of(str(tmp_path / "b")).fingerprint != one.fingerprint


def test_a_run_as_base_counts_its_adapter_and_what_lies_below(run: RunDirectory, tmp_path: Path) -> None:
    save_file({"lora_A": torch.ones(4)}, run.lora / "adapter.safetensors")
    first = weights_of(str(run.root)).fingerprint
    save_file({"lora_A": torch.zeros(4)}, run.lora / "adapter.safetensors")
    second = weights_of(str(run.root)).fingerprint
    model(tmp_path / "base", seed=1)
    assert len({first, second, weights_of(str(run.root)).fingerprint}) == 3


def test_resuming_from_other_weights_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path / "base")
    launch_train(recipe, run, resume=True)
    then = json.loads(run.base.read_text())["fingerprint"]
    now = weights_of(str(model(tmp_path / "base", seed=1))).fingerprint
    with pytest.raises(ValueError, match=f"began with the weights {then} .* now holds {now}; put the former"):
        launch_train(recipe, run, resume=True)
    run.base.write_text("{")
    with pytest.raises(ValueError, match=r"base\.json is damaged"):
        launch_train(recipe, run, resume=True)


def test_a_run_that_stored_none_is_accepted_with_a_warning(
    run: RunDirectory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run.base.unlink()
    with caplog.at_level(logging.WARNING):
        require_same_base(run, recipe_of(tmp_path / "base"))
    assert "does not tell the weights it began with" in caplog.text


def test_evaluation_names_its_base_and_refuses_another(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import worldr1.evaluation.model as evaluation
    import worldr1.evaluation.report as report

    told: list[object] = []
    monkeypatch.setattr(assemble_policy, "load_sampler", lambda name, recipe: name)
    monkeypatch.setattr(evaluation, "evaluate_models", lambda base, *rest: told.append((base, rest[-1])) or {})
    monkeypatch.setattr(report, "write_report", lambda root: root)
    monkeypatch.setattr(assemble, "build_composer", lambda recipe: None)
    base, other = tmp_path / "base", model(tmp_path / "other", seed=1)
    save_recipe(recipe_of(base), run.recipe)
    assert main(["evaluate", str(run.root), "--json"]) == 0
    assert main(["evaluate", str(run.root), "--against", str(other), "--json"]) == 0
    assert told == [(str(path), weights_of(str(path))) for path in (base, other)]
    model(base, seed=2)
    capsys.readouterr()
    for words in ([], ["--against", str(other)]):
        assert main(["evaluate", str(run.root), *words]) == 1
        assert "began with the weights" in capsys.readouterr().err
    assert len(told) == 2
