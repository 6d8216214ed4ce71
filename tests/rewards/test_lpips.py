"""LPIPS against stored values of the upstream package and an independent evaluation in float64."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, max_pool2d

from worldr1.rewards.lpips import WEIGHTS, Lpips

# Made with lpips 0.1.4 in float64, LPIPS(net="alex", pnet_rand=True) with the float32 weights put into its trunk (its
# own heads are those weights' heads), called with normalize=True on pictures(height, width).
UPSTREAM = {
    (64, 64): [0.009751395465001676, 0.23238370728859908, 0.0027818493075448345, 0.0],
    (48, 80): [0.01429298297845322, 0.2501103912741585, 0.0030986698086357513, 0.0],
}
# The same with the shipped float16 weights put into trunk and heads.
UPSTREAM_SHIPPED = {
    (64, 64): [0.009751534857095708, 0.23238370673697512, 0.002781747889038258, 0.0],
    (48, 80): [0.014293735316813987, 0.2500954947317245, 0.0030988454838536015, 0.0],
}


def pictures(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Four pairs [4,3,H,W] in closed form: shifted, unrelated, fainter, equal."""
    y = torch.arange(height, dtype=torch.float64)[:, None]
    x = torch.arange(width, dtype=torch.float64)[None]

    def picture(f: float, p: float) -> Tensor:
        return torch.stack(
            [
                0.5 + 0.5 * torch.sin(f * (x * (c + 1) / 9 + y / 7) + p + c) * torch.cos(f * x * y / (50 + 10 * c))
                for c in range(3)
            ]
        )

    a = torch.stack([picture(1.0, 0.0), picture(0.6, 1.0), picture(2.0, 0.3), picture(1.0, 0.0)])
    b = torch.stack([picture(1.0, 0.4), picture(1.1, 2.0), picture(2.0, 0.3) * 0.8 + 0.1, picture(1.0, 0.0)])
    return a, b


def plain(a: Tensor, b: Tensor) -> list[Tensor]:
    """Maps of the five layers, [B,H_l,W_l] float64, written out layer by layer from the shipped file."""
    with safe_open(WEIGHTS, "pt") as file:
        w = {name: file.get_tensor(name).double() for name in file.keys()}  # noqa: SIM118
    mean, std = torch.tensor([-0.030, -0.088, -0.188]).double(), torch.tensor([0.458, 0.448, 0.450]).double()

    def layers(image: Tensor) -> list[Tensor]:
        x0 = (2 * image - 1 - mean[:, None, None]) / std[:, None, None]
        x1 = conv2d(x0, w["features.0.weight"], w["features.0.bias"], stride=4, padding=2).relu()
        x2 = conv2d(max_pool2d(x1, 3, 2), w["features.1.weight"], w["features.1.bias"], padding=2).relu()
        x3 = conv2d(max_pool2d(x2, 3, 2), w["features.2.weight"], w["features.2.bias"], padding=1).relu()
        x4 = conv2d(x3, w["features.3.weight"], w["features.3.bias"], padding=1).relu()
        x5 = conv2d(x4, w["features.4.weight"], w["features.4.bias"], padding=1).relu()
        return [x / (x.norm(dim=1, keepdim=True) + 1e-10) for x in (x1, x2, x3, x4, x5)]

    return [
        torch.einsum("bchw,c->bhw", (one - other) ** 2, w[f"lin{i}.weight"].flatten())
        for i, (one, other) in enumerate(zip(layers(a), layers(b), strict=True))
    ]


@pytest.fixture(scope="module")
def lpips() -> Lpips:
    return Lpips()


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_upstream_values(lpips: Lpips, size: tuple[int, int]) -> None:
    got = lpips(*pictures(*size)).double()
    torch.testing.assert_close(got, torch.tensor(UPSTREAM_SHIPPED[size]).double(), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(got, torch.tensor(UPSTREAM[size]).double(), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("size", [(64, 64), (31, 45), (100, 70)])
def test_plain_evaluation_in_float64(lpips: Lpips, size: tuple[int, int]) -> None:
    a, b = pictures(*size)
    maps = plain(a, b)
    exact = sum(m.mean((1, 2)) for m in maps)
    torch.testing.assert_close(lpips(a, b), exact, atol=1e-6, rtol=1e-5, check_dtype=False)
    enlarged = sum(interpolate(m[:, None], size, mode="bilinear", align_corners=False)[:, 0] for m in maps)
    torch.testing.assert_close(lpips(a, b, spatial=True), enlarged, atol=1e-5, rtol=1e-4, check_dtype=False)


def test_half_precision_stays_near(lpips: Lpips) -> None:
    a, b = pictures(64, 64)
    rough = Lpips(torch.bfloat16)(a, b)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, lpips(a, b), atol=1e-3, rtol=2e-2)


def test_masked_out_pixels_do_not_matter(lpips: Lpips) -> None:
    a, b = pictures(64, 64)
    mask = torch.ones(4, 64, 64)
    torch.testing.assert_close(lpips(a, b, mask), lpips(a, b), atol=1e-7, rtol=1e-5)
    mask[:, 20:50, 10:60] = 0
    ruined = a.clone()
    ruined[:, :, 20:50, 10:60] = 0.0
    torch.testing.assert_close(lpips(ruined, b, mask), lpips(a, b, mask), atol=0, rtol=0)
    assert (lpips(ruined, b) - lpips(a, b)).abs().max() > 0.05
    assert (lpips(a, b, mask)[:3] > 0).all()


def test_a_mask_weighs_each_layer_by_its_share(lpips: Lpips) -> None:
    """Where the hidden pixels are equal anyway, the masked distance is the mask-weighted mean of the layers' maps."""
    a, b = pictures(64, 64)
    mask = torch.zeros(4, 64, 64)
    mask[:, :, :40] = 1
    a = torch.where(mask[:, None] > 0, a, b)
    exact = torch.zeros(4, dtype=torch.float64)
    for m in plain(a, b):
        share = torch.nn.functional.adaptive_avg_pool2d(mask.double(), m.shape[1:])
        exact += (m * share).sum((1, 2)) / share.sum((1, 2))
    torch.testing.assert_close(lpips(a, b, mask), exact, atol=1e-6, rtol=1e-5, check_dtype=False)


def test_an_empty_mask_is_missing_not_zero(lpips: Lpips) -> None:
    a, b = pictures(64, 64)
    mask = torch.ones(4, 64, 64)
    mask[1] = 0
    assert torch.isnan(lpips(a, b, mask)).tolist() == [False, True, False, False]
    assert torch.isnan(lpips(a, b, mask, spatial=True)).all(2).all(1).tolist() == [False, True, False, False]


def test_gradients_reach_the_pictures_and_stay_finite(lpips: Lpips) -> None:
    a, b = pictures(64, 64)
    a = torch.cat([a, torch.zeros(1, 3, 64, 64)]).float().requires_grad_()
    b = torch.cat([b, torch.ones(1, 3, 64, 64)]).float()
    lpips(a, b).sum().backward()
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()
    assert a.grad[0].abs().max() > 0
    assert all(not parameter.requires_grad for parameter in lpips.parameters())


def test_refusals(lpips: Lpips, tmp_path: Path) -> None:
    a, b = pictures(64, 64)
    with pytest.raises(ValueError, match=r"must both be \[B,3,H,W\]"):
        lpips(a, b[:, :2])
    with pytest.raises(ValueError, match="at least 31"):
        lpips(a[..., :30], b[..., :30])
    with pytest.raises(ValueError, match="mask must be"):
        lpips(a, b, torch.ones(64, 64))
    with pytest.raises(ValueError, match="floating point"):
        Lpips(torch.int32)
    with pytest.raises(FileNotFoundError, match="reinstall"):
        Lpips(weights=tmp_path / "none.safetensors")


def test_weights_say_where_they_come_from() -> None:
    with safe_open(WEIGHTS, "pt") as file:
        assert "BSD-2-Clause" in file.metadata()["source"]
        assert {str(file.get_tensor(name).dtype) for name in file.keys()} == {"torch.float16"}  # noqa: SIM118
    assert WEIGHTS.stat().st_size < 5_000_000
