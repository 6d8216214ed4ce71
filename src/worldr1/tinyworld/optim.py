"""Optimisers of the tiny world's trainings: Muon for matrices and convolutions, AdamW for the rest."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class MuonAdamW:
    """Muon on every parameter with a matrix in it, AdamW on all others, behind one learning rate.

    A convolution's kernel [out, in, ...] counts as the matrix [out, in * ...]. Muon's rate is matched to AdamW's.

    Args:
        matrices: parameters with at least two dimensions.
        others: the remaining parameters.
        lr: initial learning rate of both.
    """

    def __init__(self, matrices: Iterable[nn.Parameter], others: Iterable[nn.Parameter], lr: float) -> None:
        self._kernels = list(matrices)
        self._views = [nn.Parameter(p.data.view(p.shape[0], -1)) for p in self._kernels]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(self._views, lr=lr, momentum=0.95, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.98), weight_decay=0.0),
        ]

    def step(self, lr: float) -> None:
        """One step with the gradients that lie in the parameters' `.grad`."""
        for kernel, view in zip(self._kernels, self._views, strict=True):
            view.grad = None if kernel.grad is None else kernel.grad.view(view.shape)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = lr
            part.step()

    def tensors(self) -> dict[str, Tensor]:
        """The state as flat named tensors, for safetensors."""
        found = {}
        for k, part in enumerate(self.parts):
            for index, state in part.state_dict()["state"].items():
                for name, value in state.items():
                    found[f"{k}.{index}.{name}"] = torch.as_tensor(value).clone()
        return found

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `tensors` returned."""
        for k, part in enumerate(self.parts):
            document = part.state_dict()
            state: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                which, index, name = key.split(".", 2)
                if int(which) == k:
                    state.setdefault(int(index), {})[name] = value
            document["state"] = state
            part.load_state_dict(document)


def split_parameters(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Parameters with a matrix in them (more than one output and more than one input), and the others."""
    matrices = [p for p in module.parameters() if p.ndim >= 2 and p.shape[0] > 1 and p[0].numel() > 1]
    chosen = {id(p) for p in matrices}
    return matrices, [p for p in module.parameters() if id(p) not in chosen]
