"""LPIPS (AlexNet) as torchmetrics evaluates it, with the weights that this package ships."""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import Tensor, nn

from worldr1.rewards.lpips import WEIGHTS

NEEDS = ("torchmetrics", "torchvision")
_PLACES = ("net.slice1.0", "net.slice2.3", "net.slice3.6", "net.slice4.8", "net.slice5.10")


def available() -> bool:
    """Whether the packages are installed; torchvision must be built for the installed torch."""
    return all(find_spec(name) is not None for name in NEEDS)


def load() -> nn.Module:
    """The network; called with pairs [B, 3, H, W] in [-1, 1] it gives distances [B, 1, 1, 1].

    Raises ImportError without torchmetrics or torchvision, KeyError when torchmetrics names its layers otherwise.
    """
    from safetensors.torch import load_file
    from torchmetrics.functional.image.lpips import _LPIPS

    network: nn.Module = _LPIPS(pretrained=False, net="alex", pnet_rand=True)
    shipped = {name: weight.float() for name, weight in load_file(WEIGHTS).items()}
    state = network.state_dict()
    for layer, place in enumerate(_PLACES):
        for part in ("weight", "bias"):
            state[f"{place}.{part}"].copy_(shipped[f"features.{layer}.{part}"])
        state[f"lin{layer}.model.1.weight"].copy_(shipped[f"lin{layer}.weight"])
    return network


def distances(network: nn.Module, a: Tensor, b: Tensor) -> Tensor:
    """Distances [B] of pairs [B, 3, H, W] in [0, 1]."""
    with torch.inference_mode():
        found: Tensor = network(2 * a - 1, 2 * b - 1)
    return found.flatten()
