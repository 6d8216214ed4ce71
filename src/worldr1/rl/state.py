"""All that training remembers from step to step, to and from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from worldr1.policy.base import Policy
from worldr1.policy.sharding import is_sharded, whole
from worldr1.rl.checkpoint import Checkpoint, optimiser_tensors, restore_optimiser
from worldr1.rl.ema import Ema
from worldr1.rl.objectives import Objective


@dataclass(frozen=True)
class TrainingState:
    """The parts of training that change, and how far from the base its result lies, in distances of the average."""

    policy: Policy
    objective: Objective
    ema: Ema
    optimiser: torch.optim.Optimizer
    extrapolate: float = 1.0

    @contextmanager
    def result(self) -> Iterator[None]:
        """Inside it the policy is what training has come to: the averaged weights, extrapolated."""
        with self.ema.applied(self.policy), self.policy.extrapolated(self.extrapolate):
            yield

    def checkpoint(self, step: int, minutes: float, main: bool = True) -> Checkpoint:
        """What a run needs to go on with `step`, `minutes` of training behind it.

        Tensors that are spread over processes are gathered, one after another, into the memory of the CPU; all of the
        processes must ask together, and those that are not `main` only give their parts.
        """
        tensors: dict[str, Tensor] = {}
        values: dict[str, float] = {"minutes": minutes}
        for part, state in self._parts().items():
            for name, value in state.items():
                if isinstance(value, Tensor):
                    gathered = whole(value)
                    if main:
                        tensors[f"{part}/{name}"] = gathered.cpu() if is_sharded(value) else gathered
                else:
                    values[f"{part}/{name}"] = value
        return Checkpoint(step, tensors, values)

    def restore(self, checkpoint: Checkpoint) -> float:
        """Put a checkpoint back in place.

        Returns:
            Minutes of training behind it.

        Raises:
            ValueError: it belongs to another model or objective.
        """
        stored = {**checkpoint.tensors, **checkpoint.values}
        self.policy.load_state_dict({n: v for n, v in _of("policy", stored).items() if isinstance(v, Tensor)})
        self.objective.load_state_dict(_of("objective", stored))
        self.ema.load_state_dict(_of("ema", stored))
        restore_optimiser(self.optimiser, _of("optimiser", checkpoint.tensors))
        return float(checkpoint.values["minutes"])

    def _parts(self) -> dict[str, Mapping[str, Tensor | int]]:
        return {
            "policy": self.policy.state_dict(),
            "objective": self.objective.state_dict(),
            "ema": self.ema.state_dict(),
            "optimiser": optimiser_tensors(self.optimiser),
        }


def _of(part: str, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}/"): value for name, value in stored.items() if name.startswith(f"{part}/")}
