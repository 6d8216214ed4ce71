"""The reconstructors by the names that the command line knows them by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from worldr1.reconstruction.types import Reconstructor

BackendName = Literal["stereo", "da3", "colmap"]


@dataclass(frozen=True)
class Backend:
    """A reconstructor, and how many pixels on the short side of a video are worth showing to it."""

    reconstructor: Reconstructor
    short_side: int


def load_backend(name: BackendName, weights: str | None = None) -> Backend:
    """A backend, ready to use; Depth Anything 3 goes to the GPU where there is one.

    Args:
        name: "stereo" needs nothing, "colmap" needs pycolmap, "da3" the network and weights.
        weights: of "da3" alone: a directory with config.json and model.safetensors, a published name such as
            "DA3-BASE", or a hub address.

    Raises:
        ValueError: when weights are missing, or given to a backend that has none, or do not fit.
        ImportError: when what the backend needs is not installed; the message names the command that mends it.
        FileNotFoundError: when there are no weights there.
    """
    if (weights is None) == (name == "da3"):
        if weights is not None:
            raise ValueError(f"the {name} backend has no weights; leave --weights out, or name --backend da3")
        raise ValueError(
            "the da3 backend needs --weights: a directory with config.json and model.safetensors, or a published name "
            "such as DA3-BASE"
        )
    if name == "da3" and weights is not None:
        import torch

        from worldr1.reconstruction.depth_anything import DepthAnythingReconstructor

        device = "cuda" if torch.cuda.is_available() else "cpu"
        return Backend(DepthAnythingReconstructor.from_pretrained(weights, device), short_side=504)
    if name == "colmap":
        from worldr1.reconstruction.colmap import ColmapReconstructor

        return Backend(ColmapReconstructor(), short_side=480)
    from worldr1.reconstruction.stereo import StereoReconstructor

    return Backend(StereoReconstructor(), short_side=240)
