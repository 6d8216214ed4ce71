"""Moved noise: each frame is white and Gaussian, frames correlate along the flow, and nowhere else.

Statistical tests are held at a family-wise error of 1% (Bonferroni), with fixed seeds.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
import torch
from gaussian_checks import FAMILY, frame_p_values, shifted, two_sided, worst
from torch.nn import functional

from worldr1.camera import ALL_MOVES, Trajectory, se3
from worldr1.noise import flow_correlation, wrap_noise
from worldr1.noise.sequential import transport_sequential

SHAPE = (16, 3, 16, 24)
LAWS = ("canonical", "sequential")


def sideways(shift: float, frames: int = 3, width: int = 24) -> Trajectory:
    """A camera that moves right by ``shift`` latent cells of the plane at depth 1 per frame."""
    c2w = torch.eye(4).repeat(frames, 1, 1)
    focal = float(Trajectory(c2w).intrinsics(16, width)[0, 0])
    c2w[:, 0, 3] = torch.arange(frames) * shift / focal
    return Trajectory(c2w)


@pytest.mark.parametrize("law", LAWS)
def test_every_frame_is_white_and_gaussian(law: str) -> None:
    p_values = {}
    for seed, move in enumerate(ALL_MOVES):
        noise = wrap_noise(Trajectory.from_moves([move], 9), SHAPE, seed, law=law)
        assert noise.shape == SHAPE
        assert noise.dtype == torch.float32
        for frame in range(1 if move == "fixed" else SHAPE[1]):
            p_values |= {f"{move} {frame} {k}": p for k, p in frame_p_values(noise[:, frame]).items()}
    name, p = worst(p_values)
    assert p > FAMILY, name


@pytest.mark.parametrize("law", LAWS)
def test_whiteness_over_many_seeds(law: str) -> None:
    """The same for one strong zoom over 12 seeds together, where a correlation of 0.016 would show."""
    trajectory = Trajectory.from_moves(["push in"], 3)
    frames = [wrap_noise(trajectory, (16, 3, 12, 20), seed, law=law)[:, 2] for seed in range(12)]
    name, p = worst(frame_p_values(torch.cat(frames)))
    assert p > FAMILY, name


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_the_checks_see_interpolated_noise(mode: str) -> None:
    noise = torch.randn(1, *SHAPE[:1], *SHAPE[2:], generator=torch.Generator().manual_seed(0))
    zoom = torch.tensor([[[0.7, 0.0, 0.0], [0.0, 0.7, 0.0]]])
    grid = functional.affine_grid(zoom, list(noise.shape), align_corners=False)
    assert worst(frame_p_values(functional.grid_sample(noise, grid, mode=mode, align_corners=False)[0]))[1] < 1e-6


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0, 2.29, 5.5])
def test_correlation_along_a_translation_is_the_overlap_of_cells(shift: float) -> None:
    """A shift by a fraction f correlates by max(f, 1 - f) with the nearest cell, but for 0.005 that the grid adds."""
    noise = torch.cat([wrap_noise(sideways(shift), SHAPE, seed) for seed in range(4)])
    fraction = shift % 1.0
    ideal = max(fraction, 1.0 - fraction)
    pairs = 4 * 16 * 16 * (24 - math.ceil(shift))
    measured = float(flow_correlation(noise, sideways(shift))[1])
    assert abs(measured - ideal) < 0.005 + 3.3 * (1 - ideal**2) / math.sqrt(pairs)


@pytest.mark.parametrize("shift", [0.25, 1.0, 2.375])
def test_the_sequential_law_is_exact_for_whole_fine_cells(shift: float) -> None:
    noise = torch.cat([wrap_noise(sideways(shift), SHAPE, seed, law="sequential") for seed in range(4)])
    for frame in (1, 2):
        fraction = frame * shift % 1.0
        ideal = max(fraction, 1.0 - fraction)
        error = 3.3 * (1 - ideal**2) / math.sqrt(4 * 16 * 16 * (24 - math.ceil(frame * shift)))
        assert float(flow_correlation(noise, sideways(shift))[frame]) == pytest.approx(ideal, abs=error + 1e-6)


def test_canonical_errors_do_not_add_up_as_sequential_ones_do() -> None:
    trajectory = sideways(0.04, frames=11, width=12)
    canonical, sequential = (wrap_noise(trajectory, (16, 11, 8, 12), 0, law=law) for law in LAWS)
    assert float(flow_correlation(canonical, trajectory)[10]) == pytest.approx(0.6, abs=0.06)
    assert torch.equal(sequential[:, 10], sequential[:, 0])


@pytest.mark.parametrize("law", LAWS)
def test_a_fixed_camera_repeats_its_frame(law: str) -> None:
    for moves in ([], ["fixed"]):
        noise = wrap_noise(Trajectory.from_moves(moves, 9), SHAPE, 3, law=law)
        assert torch.equal(noise, noise[:, :1].expand(SHAPE))


@pytest.mark.parametrize("law", LAWS)
def test_the_seed_decides_everything(law: str) -> None:
    trajectory = Trajectory.from_moves(["orbit left"], 9)
    torch.manual_seed(0)
    first = wrap_noise(trajectory, SHAPE, 7, 0.8, law)
    torch.randn(3)
    np.random.default_rng().random()
    assert torch.equal(first, wrap_noise(trajectory, SHAPE, 7, 0.8, law))
    other = wrap_noise(trajectory, SHAPE, 8, 0.8, law)
    product = (first * other).double().mean() * math.sqrt(first[:, 0].numel())
    assert two_sided(float(product)) > FAMILY
    assert torch.isfinite(wrap_noise(trajectory, SHAPE, -5, law=law)).all()
    zoom = Trajectory.from_moves(["push in"], 9)
    assert torch.equal(wrap_noise(zoom, SHAPE, 7, 0.8, law)[:, 0], first[:, 0])


def test_threads_change_nothing() -> None:
    threads = numba.get_num_threads()
    if threads < 2:
        pytest.skip("needs two threads")
    trajectory = Trajectory.from_moves(["pull left"], 9)
    many = wrap_noise(trajectory, SHAPE, 0)
    numba.set_num_threads(1)
    try:
        assert torch.equal(wrap_noise(trajectory, SHAPE, 0), many)
    finally:
        numba.set_num_threads(threads)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("kind", ["aside", "turned", "behind", "inside"])
def test_views_that_do_not_overlap_are_independent(kind: str, law: str) -> None:
    """A view beside the first, one turned by 130 degrees, one beyond the plane and one in it share nothing with it."""
    c2w = torch.eye(4).repeat(2, 1, 1)
    if kind == "turned":
        c2w[1, :3, :3] = se3.yaw(torch.tensor(math.radians(130.0)))
    else:
        c2w[1, :3, 3] = {"aside": torch.tensor([1.5, 0, 0]), "behind": torch.tensor([0, 0, 1.5])}.get(
            kind, torch.tensor([0, 0, 1.0])
        )
    noise = wrap_noise(Trajectory(c2w), (16, 2, 16, 24), 1, law=law)
    p_values = frame_p_values(noise[:, 1])
    for lag in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 0, 12), (1, 0, 0)]:
        near, _ = shifted(noise[:, 0].double(), lag)
        _, far = shifted(noise[:, 1].double(), lag)
        p_values[f"across {lag}"] = two_sided(float((near * far).mean()) * math.sqrt(near.numel()))
    name, p = worst(p_values)
    assert p > FAMILY, name


def test_merging_agrees_with_a_plain_reference() -> None:
    """Cells that land together, twice in a row: by hand, wherever no split or fresh cell took part."""
    rng = np.random.default_rng(0)
    rows, columns = 12, 16
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    squeeze = np.stack([-(x % 4 > 1).astype(float), np.zeros(x.shape)])
    flows = [(squeeze + rng.uniform(-0.4, 0.4, squeeze.shape)).astype(np.float32) for _ in range(2)]
    noise = transport_sequential(flows, (3, 3, rows, columns), 5, upscale=1)
    value, weight, known = noise[:, 0].reshape(3, -1).T.astype(float), np.ones(x.size), np.ones(x.size, bool)
    merges = 0
    for step, flow in enumerate(flows, start=1):
        total, mass, square = np.zeros_like(value), np.zeros(x.size), np.zeros(x.size)
        clean = np.ones(x.size, bool)
        split = np.zeros(x.size, bool)
        goals = np.floor(np.stack([x, y]) + 0.5 + flow).astype(int)
        sources = np.floor(np.stack([x, y]) + 0.5 - flow).astype(int)
        inside, from_inside = (
            (place[0] >= 0) & (place[0] < columns) & (place[1] >= 0) & (place[1] < rows) for place in (goals, sources)
        )
        landed = set((goals[1] * columns + goals[0])[inside].tolist())
        for cell in range(x.size):
            at = divmod(cell, columns)
            if cell not in landed and from_inside[at]:
                split[sources[1][at] * columns + sources[0][at]] = True
        for cell in range(x.size):
            at = divmod(cell, columns)
            if inside[at]:
                goal = goals[1][at] * columns + goals[0][at]
                total[goal] += weight[cell] * value[cell]
                mass[goal] += weight[cell]
                square[goal] += weight[cell] ** 2
                clean[goal] &= bool(known[cell]) and not split[cell]
        known = (mass > 0) & clean
        merges += int((known & (mass > weight.min() * 1.5)).sum())
        expected = total / np.sqrt(np.maximum(square, 1e-30))[:, None]
        np.testing.assert_allclose(noise[:, step].reshape(3, -1).T[known], expected[known], rtol=1e-3, atol=1e-3)
        value, weight = expected, mass
    assert known.sum() > 20
    assert merges > 20


def test_splitting_keeps_the_sum_and_makes_the_parts_independent() -> None:
    """Doubling the size gives each cell four parts whose sum over root 4 is the cell's noise."""
    rows, columns, channels = 8, 8, 2000
    place = np.stack(np.meshgrid(np.arange(columns), np.arange(rows))).astype(np.float32)
    flow = (place + 0.5) / 2.0 - 0.01
    noise = transport_sequential([flow], (channels, 2, rows, columns), 2, upscale=1)
    before, after = noise[:, 0].astype(float), noise[:, 1].astype(float)
    correlation = np.corrcoef(after.reshape(channels, -1).T)
    off = correlation[~np.eye(rows * columns, dtype=bool)]
    assert np.abs(off).max() * math.sqrt(channels) < 5.0
    assert np.abs(after.var(axis=0) - 1).max() / math.sqrt(2 / channels) < 5.0
    assert float(np.corrcoef(before[:, 0, 0], after[:, 0, 0])[0, 1]) > 0.4


def test_bad_input_is_named() -> None:
    trajectory = Trajectory.from_moves(["push in"], 9)
    flow = np.zeros((2, 4, 4), np.float32)
    for message, arguments in {
        "must be (C, T, H, W)": {"shape": (1, 2, 3)},
        "strength is 1.5": {"strength": 1.5},
        "upscale is 0": {"upscale": 0},
        "law is 'other'": {"law": "other"},
        'law="sequential"': {"depth": torch.ones(3, 16, 24)},
        "do not fall evenly": {"shape": (16, 6, 16, 24)},
        "depth has shape (1, 1)": {"law": "sequential", "depth": torch.ones(1, 1)},
    }.items():
        with pytest.raises(ValueError) as raised:
            wrap_noise(trajectory, **{"shape": SHAPE, "seed": 0} | arguments)  # type: ignore[arg-type]
        assert message in str(raised.value)
    with pytest.raises(ValueError, match="1 are needed"):
        transport_sequential([], (1, 2, 4, 4), 0, 1)
    with pytest.raises(ValueError, match="More than 1 flows"):
        transport_sequential([flow, flow], (1, 2, 4, 4), 0, 1)
    with pytest.raises(ValueError, match="in fine cells"):
        transport_sequential([flow], (1, 2, 4, 4), 0, 2)


def test_several_steps_a_frame_give_the_frames_between_which_nothing_is_recorded() -> None:
    flows = [3 * np.random.default_rng(k).standard_normal((2, 24, 32)).astype(np.float32) for k in range(6)]
    every = transport_sequential(flows, (3, 7, 6, 8), 1, upscale=4)
    third = transport_sequential(flows, (3, 3, 6, 8), 1, upscale=4, steps=3)
    np.testing.assert_array_equal(third, every[:, ::3])
    with pytest.raises(ValueError, match="6 are needed"):
        transport_sequential(flows[:5], (3, 3, 6, 8), 1, upscale=4, steps=3)
