"""Checkpoints of the tiny world's trainings: weights, averaged weights and optimiser in one safetensors file."""

from __future__ import annotations

import json
import os
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from worldr1.tinyworld.optim import MuonAdamW


def save_checkpoint(directory: Path, step: int, model: nn.Module, average: nn.Module, optimizer: MuonAdamW) -> None:
    """Write everything that resuming needs, beside and renamed."""
    directory.mkdir(parents=True, exist_ok=True)
    content = {f"model.{k}": v for k, v in model.state_dict().items()}
    content |= {f"ema.{k}": v for k, v in average.state_dict().items()}
    content |= {f"optimizer.{k}": v for k, v in optimizer.tensors().items()}
    beside = directory / "state.new"
    save_file({k: v.contiguous().clone() for k, v in content.items()}, beside, metadata={"step": json.dumps(step)})
    os.replace(beside, directory / "state.safetensors")


def load_checkpoint(directory: Path, model: nn.Module, average: nn.Module, optimizer: MuonAdamW) -> int:
    """Restore what `save_checkpoint` wrote and return its step, or 0 when there is nothing yet."""
    file = directory / "state.safetensors"
    if not file.exists():
        return 0
    content = load_file(file)
    model.load_state_dict({k.removeprefix("model."): v for k, v in content.items() if k.startswith("model.")})
    average.load_state_dict({k.removeprefix("ema."): v for k, v in content.items() if k.startswith("ema.")})
    optimizer.restore({k.removeprefix("optimizer."): v for k, v in content.items() if k.startswith("optimizer.")})
    with safe_open(file, "pt") as header:
        return int(json.loads(header.metadata()["step"]))
