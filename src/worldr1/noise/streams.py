"""Reproducible white noise: one generator for every seed and purpose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def noise_stream(seed: int, stream: int) -> np.random.Generator:
    """Independent generators of one seed: the same seed and stream always give the same numbers."""
    return np.random.default_rng([seed & 0xFFFFFFFFFFFFFFFF, stream])


def normals(seed: int, stream: int, shape: tuple[int, ...]) -> Array:
    """N(0, 1) of a stream, ``shape`` float32."""
    return noise_stream(seed, stream).standard_normal(shape, dtype=np.float32)
