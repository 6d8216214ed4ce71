"""Flow against explicit projection, and measurements against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from worldr1.camera import ALL_MOVES, Trajectory
from worldr1.noise import (
    flow_correlation,
    ideal_flow_correlation,
    injection_survival,
    latent_maps,
    latent_poses,
    mix_noise,
    optical_flow,
)
from worldr1.noise.flow import plane_homographies, plane_returns

SIZE = (6, 10)


def project(trajectory: Trajectory, frame: int, points: Tensor) -> Tensor:
    """Pixels ``[N, 2]`` of world points ``[N, 3]`` in a frame."""
    pose = trajectory.c2w[frame].double()
    camera = (points - pose[:3, 3]) @ pose[:3, :3]
    pixel = camera @ trajectory.intrinsics(*SIZE).double().T
    return pixel[:, :2] / pixel[:, 2:]


def surface(trajectory: Trajectory, frame: int, depth: float | None) -> tuple[Tensor, Tensor]:
    """World points seen by a frame's pixels, and their z-depth: on the plane z = 1, or at a depth of the frame."""
    height, width = SIZE
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    homogeneous = torch.stack([x, y, torch.ones_like(x)], -1).double().flatten(0, 1)
    pose = trajectory.c2w[frame].double()
    rays = homogeneous @ torch.linalg.inv(trajectory.intrinsics(*SIZE).double()).T @ pose[:3, :3].T
    scale = (1.0 - pose[2, 3]) / rays[:, 2] if depth is None else torch.full((len(rays),), depth).double()
    return pose[:3, 3] + rays * scale[:, None], scale


@pytest.mark.parametrize("move", ALL_MOVES)
@pytest.mark.parametrize("depth", [None, 0.8])
def test_flow_is_where_points_go(move: str, depth: float | None) -> None:
    trajectory = Trajectory.from_moves([move], 4)
    given = None if depth is None else torch.full((4, *SIZE), depth)
    flow = optical_flow(trajectory, *SIZE, given)
    assert flow.shape == (3, 2, *SIZE)
    for frame in range(3):
        points, _ = surface(trajectory, frame, depth)
        expected = project(trajectory, frame + 1, points) - project(trajectory, frame, points)
        torch.testing.assert_close(flow[frame].flatten(1).T.double(), expected, atol=1e-4, rtol=0)


def test_the_planes_own_depth_gives_the_planes_flow() -> None:
    trajectory = Trajectory.from_moves(["orbit left", "pull right"], 5)
    depth = torch.stack([surface(trajectory, frame, None)[1].view(SIZE) for frame in range(5)])
    torch.testing.assert_close(
        optical_flow(trajectory, *SIZE), optical_flow(trajectory, *SIZE, depth), atol=1e-4, rtol=0
    )


def test_latent_maps_go_there_and_back_at_latent_frames() -> None:
    trajectory = Trajectory.from_moves(["pan left", "push in"], 9)
    maps = latent_maps(trajectory, (3, *SIZE))
    for step, (source, target) in enumerate([(0, 4), (4, 8)]):
        there, _ = surface(trajectory, source, None)
        torch.testing.assert_close(
            maps.forward[step].flatten(1).T.double(), project(trajectory, target, there), atol=1e-4, rtol=0
        )
        back, _ = surface(trajectory, target, None)
        torch.testing.assert_close(
            maps.backward[step].flatten(1).T.double(), project(trajectory, source, back), atol=1e-4, rtol=0
        )


def test_homographies_and_their_inverses() -> None:
    c2w = Trajectory.from_moves(["orbit right", "pull left", "pan right"], 7).c2w
    product = plane_homographies(c2w) @ plane_returns(c2w)
    torch.testing.assert_close(product, torch.eye(3).double().expand(7, 3, 3), atol=1e-6, rtol=0)
    inside = torch.eye(4)[None].clone()
    inside[0, 2, 3] = 1.0
    assert torch.isfinite(plane_returns(inside)).all()


def test_flow_behind_the_camera_is_missing() -> None:
    c2w = torch.eye(4).repeat(2, 1, 1)
    c2w[1, 2, 3] = 2.0
    assert torch.isnan(optical_flow(Trajectory(c2w), *SIZE)).all()


def test_latent_frames_are_every_fourth() -> None:
    trajectory = Trajectory.from_moves(["push in"], 81)
    torch.testing.assert_close(latent_poses(trajectory, 21).float(), trajectory.c2w[::4])
    assert len(latent_poses(trajectory, 1)) == 1
    assert len(latent_poses(trajectory, 81)) == 81
    for frames in (20, 82, 161):
        with pytest.raises(ValueError, match="do not fall evenly"):
            latent_poses(trajectory, frames)
    with pytest.raises(ValueError, match="at least 1"):
        latent_poses(trajectory, 0)
    with pytest.raises(ValueError, match="depth has shape"):
        optical_flow(trajectory, 4, 4, torch.ones(4, 4))


def moved(shift: float) -> Trajectory:
    c2w = torch.eye(4).repeat(2, 1, 1)
    c2w[1, 0, 3] = shift / float(Trajectory(c2w).intrinsics(*SIZE)[0, 0])
    return Trajectory(c2w)


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0, 3.4565])
def test_the_ideal_of_a_translation_is_the_overlap(shift: float) -> None:
    fraction = shift % 1.0
    ideal = ideal_flow_correlation(moved(shift), (2, *SIZE))
    assert float(ideal[0]) == pytest.approx(1.0, abs=1e-6)
    assert float(ideal[1]) == pytest.approx(max(fraction, 1 - fraction), abs=0.01)


def test_the_ideal_of_a_zoom_is_the_root_of_the_area() -> None:
    """At half the distance a cell covers a quarter of the first frame's cell, all of it inside: sqrt(1/4)."""
    c2w = torch.eye(4).repeat(2, 1, 1)
    c2w[1, 2, 3] = 0.5
    assert float(ideal_flow_correlation(Trajectory(c2w), (2, 6, 10))[1]) == pytest.approx(0.5, abs=1e-3)


def test_flow_correlation_finds_what_was_put_there() -> None:
    generator = torch.Generator().manual_seed(0)
    base, other = torch.randn(2, 400, *SIZE, generator=generator)
    second = 0.6 * torch.roll(base, -2, dims=-1) + 0.8 * other
    measured = flow_correlation(torch.stack([base, second], 1), moved(2.0))
    pairs = 400 * 6 * 8
    assert float(measured[0]) == pytest.approx(1.0)
    assert float(measured[1]) == pytest.approx(0.6, abs=3.3 * (1 - 0.36) / math.sqrt(pairs))
    assert torch.isnan(flow_correlation(torch.randn(4, 2, *SIZE), moved(50.0))[1])
    with pytest.raises(ValueError, match=r"\[C, T, H, W\]"):
        flow_correlation(base, moved(1.0))


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.8, 1.0])
def test_mixing_keeps_the_variance_and_sets_the_correlation(strength: float) -> None:
    warped, fresh = torch.randn(2, 200_000, generator=torch.Generator().manual_seed(1))
    mixed = mix_noise(warped, fresh, strength)
    assert float(mixed.square().mean()) == pytest.approx(1.0, abs=3.3 * math.sqrt(2 / 200_000))
    measured = float(torch.corrcoef(torch.stack([mixed, warped]))[0, 1])
    assert measured == pytest.approx(strength, abs=3.3 * (1 - strength**2) / math.sqrt(200_000) + 1e-5)
    if strength in (0.0, 1.0):
        assert torch.equal(mixed, warped if strength else fresh)


def test_survival_along_a_straight_path_and_after_a_redraw() -> None:
    """With independent data of variance 4: corr(x_sigma, eps) = sigma / sqrt(4 (1 - sigma)^2 + sigma^2)."""
    generator = torch.Generator().manual_seed(2)
    noise, data, redrawn = torch.randn(3, 2, 8, 5, 16, 16, generator=generator)
    sigmas = [1.0, 0.8, 0.5, 0.1]
    survival = injection_survival([(1 - s) * 2 * data + s * noise for s in sigmas] + [redrawn], noise)
    expected = [s / math.sqrt(4 * (1 - s) ** 2 + s**2) for s in sigmas] + [0.0]
    assert survival.shape == (5, 2)
    error = 4.0 / math.sqrt(noise[0].numel())
    torch.testing.assert_close(survival, torch.tensor(expected).double()[:, None].expand(5, 2), atol=error, rtol=0)
    assert injection_survival([], noise).shape == (0, 2)
    with pytest.raises(ValueError, match="State 0 has shape"):
        injection_survival([noise[:1]], noise)


def test_bad_mixing_is_named() -> None:
    with pytest.raises(ValueError, match="strength is"):
        mix_noise(torch.ones(2), torch.ones(2), -0.1)
    with pytest.raises(ValueError, match="must be equal"):
        mix_noise(torch.ones(2), torch.ones(3), 0.5)
