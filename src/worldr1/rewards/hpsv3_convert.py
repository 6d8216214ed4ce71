"""`python -m worldr1.rewards.hpsv3_convert IN.pth OUT.safetensors`: a pickled HPSv3 checkpoint to safetensors.

Nothing in the file is executed: torch reads it with `weights_only=True`, which refuses all but tensors and containers.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

_log = logging.getLogger(__name__)


def convert(source: Path, target: Path) -> int:
    """Write the tensors of `source`, under the same names, to `target`; returns how many.

    Raises FileNotFoundError when there is no `source`, ValueError when it holds anything but weights or is damaged.
    """
    from safetensors.torch import save_file

    if not source.is_file():
        raise FileNotFoundError(f"{source} does not exist; give the checkpoint to convert.")
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch's reader has no error class of its own, and damaged bytes raise nearly any
        raise ValueError(f"{source} is no checkpoint of plain weights; nothing in it was executed.") from error
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]
    if not isinstance(state, dict) or not state or not all(isinstance(weight, Tensor) for weight in state.values()):
        raise ValueError(f"{source} must hold weights by name, at the top or under 'model'.")
    save_file({name: weight.clone(memory_format=torch.contiguous_format) for name, weight in state.items()}, target)
    return len(state)


def main(arguments: Sequence[str] | None = None) -> None:
    """Convert as the command line says."""
    parser = argparse.ArgumentParser(description="Convert a pickled HPSv3 checkpoint to safetensors.")
    parser.add_argument("source", type=Path, help="the .pth file")
    parser.add_argument("target", type=Path, help="the .safetensors file to write")
    parsed = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        count = convert(parsed.source, parsed.target)
    except (FileNotFoundError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    _log.info("%d tensors written to %s", count, parsed.target)


if __name__ == "__main__":
    main()
