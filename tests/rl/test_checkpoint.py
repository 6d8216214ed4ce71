"""Checkpoints: exact, whole or absent, and without anything that runs code when it is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from worldr1.rl import checkpoint as module
from worldr1.rl.checkpoint import (
    Checkpoint,
    list_checkpoints,
    load_checkpoint,
    optimiser_tensors,
    restore_optimiser,
    save_checkpoint,
)


def _checkpoint(step: int) -> Checkpoint:
    tensors = {"a": torch.randn(3, 4), "b": torch.randn(5).bfloat16(), "c.1": torch.tensor(7, dtype=torch.int64)}
    return Checkpoint(step, tensors, {"minutes": 0.1 + 0.2, "name": "x"})


def test_what_is_read_is_what_was_saved_bit_for_bit(tmp_path: Path) -> None:
    saved = _checkpoint(4)
    loaded = load_checkpoint(save_checkpoint(tmp_path, saved))
    assert (loaded.step, loaded.values) == (4, saved.values)
    assert loaded.tensors.keys() == saved.tensors.keys()
    for name, tensor in saved.tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor)


def test_only_the_newest_are_kept_in_order_of_steps(tmp_path: Path) -> None:
    for step in (2, 9, 10, 100):
        save_checkpoint(tmp_path, _checkpoint(step), keep=2)
    assert [load_checkpoint(path).step for path in list_checkpoints(tmp_path)] == [10, 100]


def test_views_of_one_storage_are_saved_as_what_they_show(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    loaded = load_checkpoint(save_checkpoint(tmp_path, Checkpoint(0, {"t": whole.T, "w": whole}, {})))
    assert torch.equal(loaded.tensors["t"], whole.T)
    assert torch.equal(loaded.tensors["w"], whole)


def test_a_write_that_is_cut_off_leaves_the_older_one_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, _checkpoint(1))

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", cut_off)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(tmp_path, _checkpoint(2))
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000001"]
    save_checkpoint(tmp_path, _checkpoint(2))
    assert [load_checkpoint(path).step for path in list_checkpoints(tmp_path)] == [1, 2]
    assert not list(tmp_path.glob(".*.new"))


def test_a_missing_or_damaged_checkpoint_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"state\.json is missing"):
        load_checkpoint(tmp_path)
    path = save_checkpoint(tmp_path, _checkpoint(1))
    (path / "state.json").write_text("{")
    with pytest.raises(ValueError, match=r"state\.json is damaged"):
        load_checkpoint(path)


def test_an_optimiser_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    torch.manual_seed(0)
    gradients = torch.randn(6, 5)

    def train(parameter: torch.nn.Parameter, optimiser: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            parameter.grad = gradients[step].clone()
            optimiser.step()

    def fresh() -> tuple[torch.nn.Parameter, torch.optim.Optimizer]:
        parameter = torch.nn.Parameter(torch.ones(5))
        return parameter, torch.optim.AdamW([parameter], lr=0.1)

    whole, optimiser = fresh()
    train(whole, optimiser, range(6))

    first, optimiser = fresh()
    train(first, optimiser, range(3))
    path = save_checkpoint(tmp_path, Checkpoint(3, {"p": first, **optimiser_tensors(optimiser)}, {}))

    second, optimiser = fresh()
    tensors = load_checkpoint(path).tensors
    second.data.copy_(tensors.pop("p"))
    restore_optimiser(optimiser, tensors)
    train(second, optimiser, range(3, 6))
    assert torch.equal(whole, second)
    assert not torch.equal(first, second)


def test_state_of_another_model_is_refused() -> None:
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))])
    with pytest.raises(ValueError, match="parameter 3, the model has 1"):
        restore_optimiser(optimiser, {"3.exp_avg": torch.zeros(2)})


def test_nothing_that_unpickles_is_imported() -> None:
    text = Path(module.__file__).read_text()
    assert "torch.load" not in text
    assert "import pickle" not in text
