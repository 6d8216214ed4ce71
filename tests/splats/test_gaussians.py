"""Gaussians: what they refuse, how they are chosen and joined, and where `from_depth` puts them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from splat_scenes import INTRINSICS, camera, random_gaussians
from torch import Tensor

from worldr1.splats.gaussians import Gaussians, concat, from_depth


def frame(seed: int, height: int = 12, width: int = 16) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """image, depth, c2w, confidence."""
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.rand(3, height, width, generator=generator),
        torch.rand(height, width, generator=generator) * 2 + 0.5,
        camera(seed).float(),
        torch.rand(height, width, generator=generator),
    )


def test_from_depth_projects_back_to_pixel_centres() -> None:
    image, depth, c2w, confidence = frame(0)
    made = from_depth(image, depth, c2w, INTRINSICS, confidence, 3, footprint=0.4)
    world = torch.cat([made.means, torch.ones(len(made), 1)], 1).double()
    seen = (torch.linalg.inv(c2w.double()) @ world.T).T[:, :3]
    pixel = (INTRINSICS.double() @ seen.T).T
    v, u = torch.meshgrid(torch.arange(12) + 0.5, torch.arange(16) + 0.5, indexing="ij")
    close = {"atol": 1e-4, "rtol": 0, "check_dtype": False}
    torch.testing.assert_close(pixel[:, 0] / pixel[:, 2], u.flatten(), **close)
    torch.testing.assert_close(pixel[:, 1] / pixel[:, 2], v.flatten(), **close)
    torch.testing.assert_close(seen[:, 2], depth.flatten(), **close)
    torch.testing.assert_close(made.colors, image.permute(1, 2, 0).reshape(-1, 3))
    torch.testing.assert_close(made.opacities, confidence.flatten())
    # A standard deviation of 0.4 pixels, by the mean of the two focal lengths.
    torch.testing.assert_close(made.scales[:, 0] * 51.5 / depth.flatten(), torch.full((192,), 0.4))
    assert made.source is not None
    assert made.source.unique().tolist() == [3]


def test_from_depth_of_a_video_is_that_of_its_frames() -> None:
    parts = [frame(i) for i in range(3)]
    image, depth, c2w, confidence = (torch.stack(column) for column in zip(*parts, strict=True))
    together = from_depth(image, depth, c2w, INTRINSICS, confidence, stride=2)
    apart = concat([from_depth(i, d, c, INTRINSICS, k, n, stride=2) for n, (i, d, c, k) in enumerate(parts)])
    assert len(together) == 3 * 6 * 8
    assert together.source is not None
    for name in ("means", "scales", "quats", "opacities", "colors", "source"):
        torch.testing.assert_close(getattr(together, name), getattr(apart, name), msg=name)


def test_from_depth_leaves_out_what_is_not_known() -> None:
    image, depth, c2w, confidence = frame(1)
    depth[0, 0], depth[1, 1], depth[2, 2], depth[3, 3] = torch.nan, torch.inf, 0.0, -1.0
    confidence.fill_(0.5)[4, 4] = 0.05
    assert len(from_depth(image, depth, c2w, INTRINSICS, confidence, min_confidence=0.1)) == 12 * 16 - 5


def test_from_depth_refuses_what_does_not_fit() -> None:
    image, depth, c2w, confidence = frame(0)
    with pytest.raises(ValueError, match=r"image must be \[3, 12, 16\]"):
        from_depth(image[:, :5], depth, c2w, INTRINSICS)
    with pytest.raises(ValueError, match="c2w must be"):
        from_depth(image, depth, c2w[:3], INTRINSICS)
    with pytest.raises(ValueError, match="confidence must be"):
        from_depth(image, depth, c2w, INTRINSICS, confidence[None])
    with pytest.raises(ValueError, match="intrinsics must be"):
        from_depth(image, depth, c2w, torch.eye(4))
    with pytest.raises(ValueError, match="stride"):
        from_depth(image, depth, c2w, INTRINSICS, stride=0)
    with pytest.raises(ValueError, match="depth must be"):
        from_depth(image, depth[0], c2w, INTRINSICS)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"means": torch.zeros(4, 2)}, r"means must be \[N,3\]"),
        ({"scales": torch.zeros(3, 3)}, r"scales must be \[4, 3\]"),
        ({"quats": torch.zeros(4, 3)}, r"quats must be \[4, 4\]"),
        ({"colors": torch.zeros(4, 5, 3)}, r"K in \(1, 4, 9, 16\)"),
        ({"opacities": torch.full((4,), 1.5)}, "not the logit"),
        ({"scales": torch.full((4, 3), -2.0)}, "not the logarithm"),
        ({"means": torch.full((4, 3), torch.nan)}, "means holds a value that is not finite"),
        ({"means": torch.zeros(4, 3, dtype=torch.int64)}, "floating point"),
        ({"source": torch.zeros(4)}, r"\[4\] integers"),
    ],
)
def test_bad_gaussians_are_refused(change: dict[str, Tensor], sentence: str) -> None:
    fields: dict[str, Any] = {
        "means": torch.zeros(4, 3),
        "scales": torch.ones(4, 3),
        "quats": torch.ones(4, 4),
        "opacities": torch.ones(4),
        "colors": torch.ones(4, 3),
    }
    assert len(Gaussians(**fields)) == 4
    with pytest.raises(ValueError, match=sentence):
        Gaussians(**(fields | change))


def test_choosing_and_joining() -> None:
    one, other = random_gaussians(0, 30), random_gaussians(1, 20)
    both = concat([one, other])
    assert both.source is not None
    torch.testing.assert_close(both[30:].means, other.means)
    torch.testing.assert_close(both[both.source == 2].colors, both.colors[both.source == 2])
    bare = Gaussians(one.means, one.scales, one.quats, one.opacities, one.colors)
    assert concat([bare, other]).source is None
    assert bare.with_source(7).source is not None
    harmonic = Gaussians(one.means, one.scales, one.quats, one.opacities, one.colors[:, None])
    assert harmonic.sh_degree == 0
    with pytest.raises(ValueError, match="one kind"):
        concat([one, harmonic])
    with pytest.raises(ValueError, match="at least one"):
        concat([])
