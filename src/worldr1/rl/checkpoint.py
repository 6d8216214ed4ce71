"""Checkpoints: tensors as safetensors, the rest as JSON, and the SHA-256 of both.

Written beside and renamed, so half of one never exists; read back before an older one is removed.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from worldr1.data.atomic import whole_directory
from worldr1.data.checksums import verify_sums, write_sums
from worldr1.policy.sharding import part_of

logger = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d{8})")
_TENSORS, _VALUES = "state.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """The state of training before `step` is run.

    Attributes:
        step: the next step to run; steps 0 to step - 1 are done.
        tensors: named tensors of any shape and dtype.
        values: what is not a tensor, as JSON can hold it.
    """

    step: int
    tensors: dict[str, Tensor]
    values: dict[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int = 2) -> Path:
    """Write `folder/step-XXXXXXXX` in one piece, read it back, and leave only the newest `keep` up to this step.

    Those of later steps are removed too: a run that saves this one has gone back behind them, as they were damaged.

    Returns:
        The checkpoint's directory.

    Raises:
        OSError: it cannot be written, or is read back otherwise than written; all older ones are still there.
    """
    final = folder / f"step-{checkpoint.step:08d}"
    with whole_directory(final) as beside:
        _write(beside, checkpoint)
        _prove(beside, checkpoint)
    before = [path for path in list_checkpoints(folder) if path.name <= final.name]
    for other in set(list_checkpoints(folder)) - set(before[-keep:]):
        shutil.rmtree(other)
    return final


def newest_intact(folder: Path) -> Path | None:
    """The newest checkpoint that is not damaged; None where there is none at all.

    Damaged ones that are newer are told in one warning, with the steps that must be run again.

    Raises:
        ValueError: all are damaged.
    """
    damage: list[str] = []
    checkpoints = list_checkpoints(folder)
    for path in reversed(checkpoints):
        try:
            verify_checkpoint(path)
        except (ValueError, OSError) as error:
            damage.append(str(error))
            continue
        if damage:
            lost = _step_of(checkpoints[-1]) - _step_of(path)
            logger.warning("%s; going on from %s, so %d steps are run again", "; ".join(damage), path.name, lost)
        return path
    if damage:
        raise ValueError(
            f"no checkpoint is intact: {'; '.join(damage)}; put one back from a copy, or remove {folder} to begin "
            "again at step 0"
        )
    return None


def verify_checkpoint(path: Path) -> None:
    """Read a checkpoint whole and compare it with its checksums; one without (of an older version) by its form only.

    Raises:
        FileNotFoundError: the directory or a file of it is missing.
        ValueError: a file of it is damaged.
    """
    checkpoint_header(path)
    verify_sums(path, (_TENSORS, _VALUES))


def list_checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints in a folder, oldest first; empty when the folder does not exist."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read the directory of one checkpoint; tensors come on the CPU. Raises as `checkpoint_header`."""
    step, values = checkpoint_header(path)
    return Checkpoint(step, load_file(path / _TENSORS), values)


def checkpoint_header(path: Path) -> tuple[int, dict[str, Any]]:
    """Step and values of a checkpoint, whose tensors are seen to be of full length but not read.

    Raises:
        FileNotFoundError: the directory or a file of it is missing.
        ValueError: a file of it is damaged.
    """
    state, tensors = path / _VALUES, path / _TENSORS
    for file in (state, tensors):
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing; {path} is not a checkpoint of this package")
    try:
        content = json.loads(state.read_text(encoding="utf-8"))
        step, values = int(content["step"]), dict(content["values"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{state} is damaged: {error}") from error
    try:
        with safe_open(tensors, framework="pt"):
            return step, values
    except SafetensorError as error:
        raise ValueError(f"{tensors} is damaged: {error}") from error


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser as named tensors "{parameter index}.{state name}"."""
    state = optimiser.state_dict()["state"]
    return {
        f"{index}.{key}": value if isinstance(value, Tensor) else torch.as_tensor(value)
        for index, entry in state.items()
        for key, value in entry.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors of `optimiser_tensors` back into an optimiser over the same parameters.

    Raises:
        ValueError: an index belongs to no parameter.
    """
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    count = len(parameters)
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        if int(index) >= count:
            raise ValueError(f"the checkpoint holds optimiser state of parameter {index}, the model has {count}")
        like = parameters[int(index)]
        state.setdefault(int(index), {})[key] = part_of(tensor, like) if tensor.shape == like.shape else tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    try:
        save_file({name: _plain(tensor) for name, tensor in checkpoint.tensors.items()}, folder / _TENSORS)
    except SafetensorError as error:
        raise OSError(f"{folder / _TENSORS} cannot be written: {error}") from error
    text = json.dumps({"step": checkpoint.step, "values": checkpoint.values}, indent=1)
    (folder / _VALUES).write_text(text, encoding="utf-8")
    write_sums(folder, (_TENSORS, _VALUES))


def _prove(folder: Path, checkpoint: Checkpoint) -> None:
    verify_checkpoint(folder)
    with safe_open(folder / _TENSORS, framework="pt") as stored:
        for name, tensor in checkpoint.tensors.items():
            if not torch.equal(_bytes(stored.get_tensor(name)), _bytes(tensor)):
                raise OSError(f"{folder / _TENSORS} is read back otherwise than written, in {name}; look at the disk")


def _bytes(tensor: Tensor) -> Tensor:
    return _plain(tensor).flatten().view(torch.uint8)


def _step_of(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()
