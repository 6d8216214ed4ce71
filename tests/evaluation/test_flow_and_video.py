"""Flow against known shifts, the camera's part against known motion, video files against what was written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from worldr1.data.video import read_sampled
from worldr1.evaluation.flow import Flow, camera_flow, dense_flow
from worldr1.evaluation.video import write_video


def texture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(1, 3, height // 4, width // 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False).clamp(0, 1)


def shift(image: torch.Tensor, dx: float, dy: float) -> torch.Tensor:
    """Move the content by (dx, dy) pixels through the Fourier shift theorem, which shares no code with the flow."""
    spectrum = torch.fft.fft2(image.double())
    fy = torch.fft.fftfreq(image.shape[-2], dtype=torch.float64)[:, None]
    fx = torch.fft.fftfreq(image.shape[-1], dtype=torch.float64)
    return torch.fft.ifft2(spectrum * torch.exp(-2j * torch.pi * (fx * dx + fy * dy))).real.float()


@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (0.4, -0.7), (2.3, 1.1), (-4.0, 3.0)])
def test_flow_recovers_a_shift(dx: float, dy: float) -> None:
    image = texture(64, 64)
    flow = dense_flow(image, shift(image, dx, dy))
    inner = flow.vectors[0, :, 12:-12, 12:-12]
    assert inner[0].mean() == pytest.approx(dx, abs=0.05)
    assert inner[1].mean() == pytest.approx(dy, abs=0.05)
    assert (inner - torch.tensor([dx, dy])[:, None, None]).abs().mean() < 0.15


def test_confidence_is_low_without_texture() -> None:
    flat = torch.full((1, 3, 64, 64), 0.5)
    assert dense_flow(flat, flat).confidence.max() < 1e-3
    assert dense_flow(texture(64, 64), texture(64, 64)).confidence.median() > 0.5


def test_camera_flow_ignores_a_moving_object() -> None:
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, 48), torch.linspace(-1, 1, 48), indexing="ij")
    camera = torch.stack([1 + 0.5 * xs + 0.3 * xs * ys, -0.4 + 0.5 * ys + 0.3 * ys * ys])[None]
    vectors = camera.clone()
    vectors[0, :, 20:30, 20:30] += torch.tensor([3.0, -2.0])[:, None, None]
    fitted = camera_flow(Flow(vectors, torch.ones(1, 48, 48)), torch.ones(1, 48, 48))
    assert (fitted - camera).abs().max() < 0.02


def test_flow_rejects_small_images() -> None:
    with pytest.raises(ValueError, match="too small"):
        dense_flow(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16))


def test_video_round_trip(tmp_path: Path) -> None:
    video = torch.stack([shift(texture(64, 64), t, 0)[0].clamp(0, 1) for t in range(6)])
    path = write_video(tmp_path / "clip.mp4", video, magnify=4)
    back = read_sampled(path)
    assert (back.total, back.size) == (6, (256, 256))
    assert (F.avg_pool2d(back.frames, back.frames.shape[-1] // 64) - video).abs().mean() < 0.03


def test_video_rejects_odd_sizes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="even"):
        write_video(tmp_path / "clip.mp4", torch.zeros(2, 3, 15, 16))
