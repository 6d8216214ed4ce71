"""Checkpoints: exact, whole or absent, and without anything that runs code when it is read."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from worldr1.rl import checkpoint as module
from worldr1.rl.checkpoint import (
    Checkpoint,
    list_checkpoints,
    load_checkpoint,
    newest_intact,
    optimiser_tensors,
    restore_optimiser,
    save_checkpoint,
    verify_checkpoint,
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


def _flip(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_byte_that_flipped_is_found_in_any_file(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, _checkpoint(1))
    for file in sorted(path.iterdir()):
        for place in range(0, file.stat().st_size, 7):
            verify_checkpoint(path)
            _flip(file, place)
            with pytest.raises(ValueError, match="is damaged"):
                verify_checkpoint(path)
            _flip(file, place)


def test_the_checksums_are_those_of_sha256sum(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, _checkpoint(1))
    lines = (path / "SHA256SUMS").read_text().splitlines()
    expected = [f"{sha256((path / name).read_bytes()).hexdigest()}  {name}" for name in (line[66:] for line in lines)]
    assert lines == expected
    assert sorted(line[66:] for line in lines) == ["state.json", "state.safetensors"]


def test_without_checksums_as_older_versions_wrote_it_is_taken_by_its_form(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, _checkpoint(1))
    (path / "SHA256SUMS").unlink()
    assert newest_intact(tmp_path) == path
    (path / "state.safetensors").write_bytes((path / "state.safetensors").read_bytes()[:-1])
    with pytest.raises(ValueError, match="no checkpoint is intact"):
        newest_intact(tmp_path)


def test_going_on_from_an_older_one_is_told_in_one_sentence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert newest_intact(tmp_path / "none") is None
    older = save_checkpoint(tmp_path, _checkpoint(4))
    newer = save_checkpoint(tmp_path, _checkpoint(9))
    assert newest_intact(tmp_path) == newer
    assert not caplog.records
    _flip(newer / "state.safetensors")
    assert newest_intact(tmp_path) == older
    [record] = caplog.records
    assert "step-00000009/state.safetensors is damaged" in record.message
    assert "going on from step-00000004, so 5 steps are run again" in record.message
    (older / "state.json").unlink()
    with pytest.raises(ValueError, match=r"no checkpoint is intact: .*damaged.*missing.*; put one back.*remove"):
        newest_intact(tmp_path)


def test_what_is_read_back_otherwise_than_written_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, _checkpoint(1), keep=1)

    def other(tensors: dict[str, torch.Tensor], path: Path) -> None:
        save_file({**tensors, "a": tensors["a"] + 1}, path)

    monkeypatch.setattr(module, "save_file", other)
    with pytest.raises(OSError, match="read back otherwise than written, in a"):
        save_checkpoint(tmp_path, _checkpoint(2), keep=1)
    assert [load_checkpoint(path).step for path in list_checkpoints(tmp_path)] == [1]
    assert os.listdir(tmp_path) == ["step-00000001"]


def test_nan_is_read_back_as_written(tmp_path: Path) -> None:
    tensor = torch.tensor([torch.nan, -0.0])
    loaded = load_checkpoint(save_checkpoint(tmp_path, Checkpoint(0, {"t": tensor}, {}))).tensors["t"]
    assert loaded.view(torch.int32).tolist() == tensor.view(torch.int32).tolist()


def test_damaged_ones_of_later_steps_do_not_push_out_good_ones(tmp_path: Path) -> None:
    for step in (2, 4, 6):
        save_checkpoint(tmp_path, _checkpoint(step), keep=3)
    _flip(tmp_path / "step-00000006" / "state.safetensors")
    save_checkpoint(tmp_path, _checkpoint(5), keep=2)
    assert [load_checkpoint(path).step for path in list_checkpoints(tmp_path)] == [4, 5]


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
