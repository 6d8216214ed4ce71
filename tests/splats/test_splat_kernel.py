"""The numba kernel against the float64 reference, the reference against closed forms and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from splat_scenes import INTRINSICS, camera, random_gaussians, reference_picture
from torch import Tensor

from worldr1.camera import se3
from worldr1.splats import kernel, reference
from worldr1.splats.gaussians import Gaussians
from worldr1.splats.kernel_layout import D_COUNT
from worldr1.splats.rasterize import Jobs
from worldr1.splats.render import render

NAMES = ("means", "scales", "quats", "opacities", "colors")


def one_gaussian(depth: float, std: float, opacity: float, color: tuple[float, float, float]) -> Gaussians:
    return Gaussians(
        torch.tensor([[0.0, 0.0, depth]]),
        torch.full((1, 3), std),
        torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        torch.tensor([opacity]),
        torch.tensor([color]),
    )


def channels(gaussians: Gaussians, c2w: Tensor, height: int, width: int, antialiased: bool = False) -> Tensor:
    drawn = render(gaussians, c2w, INTRINSICS, height, width, antialiased=antialiased)
    return torch.cat([drawn.image, (drawn.depth * drawn.alpha)[None], drawn.alpha[None]])


@pytest.mark.parametrize(("height", "width"), [(48, 64), (45, 61), (7, 5)])
def test_pictures_match_the_float64_reference(height: int, width: int) -> None:
    worst = []
    for seed in range(3):
        gaussians, c2w = random_gaussians(seed, big=(0.02, 0.06, 0.3)[seed]), camera(seed)
        difference = (channels(gaussians, c2w, height, width) - reference_picture(gaussians, c2w, height, width)).abs()
        assert difference.mean() < 1e-6
        worst.append(difference.amax(0).flatten())
    assert (torch.cat(worst) > 1e-4).double().mean() <= 1e-4


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gradients_match_autograd_through_the_float64_reference(seed: int, antialiased: bool) -> None:
    base, c2w = random_gaussians(seed, count=250, big=(0.02, 0.06, 0.3)[seed]), camera(seed)
    single = [getattr(base, name).clone().requires_grad_() for name in NAMES]
    double = [value.detach().double().requires_grad_() for value in single]
    weight = torch.randn(5, 45, 61, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    drawn = channels(Gaussians(*single), c2w, 45, 61, antialiased)
    picture = reference.rasterize(*double, torch.linalg.inv(c2w), INTRINSICS.double(), 45, 61, antialiased)
    torch.testing.assert_close(drawn.double(), picture, atol=1e-4, rtol=0)
    (drawn * weight.float()).sum().backward()
    (picture * weight).sum().backward()
    for name, ours, exact in zip(NAMES, single, double, strict=True):
        assert ours.grad is not None
        assert exact.grad is not None
        assert exact.grad.norm() > 0, name
        assert (ours.grad - exact.grad).norm() / exact.grad.norm() < 1e-4, name


def test_antialiased_keeps_what_a_far_gaussian_covers() -> None:
    """Far away the classic mode draws a Gaussian as wide as the blur; antialiased its light falls with the square."""
    covered = {}
    for depth in (20.0, 40.0):
        small = one_gaussian(depth, 0.1, 0.9, (1.0, 1.0, 1.0))
        for mode in (False, True):
            covered[depth, mode] = float(render(small, torch.eye(4), INTRINSICS, 48, 64, antialiased=mode).alpha.sum())
    assert covered[40.0, False] > 0.8 * covered[20.0, False]
    assert covered[40.0, True] == pytest.approx(covered[20.0, True] / 4, rel=0.1)


def test_gradient_at_the_clamped_edge_of_the_picture() -> None:
    """Wide Gaussians whose centres lie beyond the 15% margin, where the Jacobian's ratio is clamped."""
    means = torch.tensor([[1.4, 0.1, 1.0], [-1.3, 0.2, 1.0], [0.1, 1.2, 1.0], [0.0, -1.1, 1.0], [2.0, 1.7, 1.1]])
    base = [
        means,
        torch.tensor([[0.4, 0.2, 0.5]]).repeat(5, 1),
        torch.randn(5, 4, generator=torch.Generator().manual_seed(0)),
    ]
    base += [torch.full((5,), 0.7), torch.rand(5, 3, generator=torch.Generator().manual_seed(1))]
    single = [value.clone().requires_grad_() for value in base]
    double = [value.double().requires_grad_() for value in base]
    drawn, exact = (
        channels(Gaussians(*single), torch.eye(4), 45, 61),
        reference.rasterize(*double, torch.eye(4, dtype=torch.float64), INTRINSICS.double(), 45, 61),
    )
    assert exact[4].max() > 0.1
    torch.testing.assert_close(drawn.double(), exact, atol=2e-6, rtol=0)
    drawn.square().sum().backward()
    exact.square().sum().backward()
    for name, ours, true in zip(NAMES, single, double, strict=True):
        assert ours.grad is not None
        assert true.grad is not None
        assert (ours.grad - true.grad).norm() <= 1e-4 * true.grad.norm(), name


def test_reference_gradient_is_the_finite_difference() -> None:
    gaussians = random_gaussians(3, count=4, big=0.4)
    inputs = [getattr(gaussians, name).double().requires_grad_() for name in NAMES]
    inputs[0] = torch.tensor([[0.0, 0.0, 1.0], [0.1, 0.05, 1.2], [-0.1, 0.0, 1.5], [0.05, -0.1, 2.0]]).double()
    inputs[0].requires_grad_()
    lens = torch.tensor([[6.0, 0, 3], [0, 6, 3], [0, 0, 1]], dtype=torch.float64)
    eye = torch.eye(4, dtype=torch.float64)
    weight = torch.randn(5, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def sums(*values: Tensor) -> Tensor:
        return (reference.rasterize(*values, eye, lens, 6, 6) * weight).sum((1, 2))

    assert torch.autograd.gradcheck(sums, inputs, atol=1e-6)


@pytest.mark.parametrize("std", [0.01, 0.05])
def test_one_gaussian_in_closed_form(std: float) -> None:
    """On the axis the screen covariance is diag(fx s / z, fy s / z)^2 + 0.3, alpha = opacity exp(-d^T C^-1 d / 2)."""
    depth, opacity, color = 1.25, 0.8, (0.9, 0.5, 0.2)
    drawn = render(one_gaussian(depth, std, opacity, color), torch.eye(4), INTRINSICS, 45, 61)
    for v, u in [(22, 30), (22, 31), (24, 33), (20, 30), (0, 0)]:
        du, dv = u + 0.5 - 31.0, v + 0.5 - 22.5
        power = du**2 / ((50 * std / depth) ** 2 + 0.3) + dv**2 / ((53 * std / depth) ** 2 + 0.3)
        alpha = opacity * math.exp(-power / 2)
        alpha = alpha if alpha >= 1 / 255 else 0.0
        assert float(drawn.alpha[v, u]) == pytest.approx(alpha, abs=1e-6)
        assert float(drawn.depth[v, u]) == pytest.approx(depth if alpha else 0.0, abs=1e-5)
        assert drawn.image[:, v, u].tolist() == pytest.approx([alpha * c for c in color], abs=1e-6)


def test_front_to_back_order_and_stop() -> None:
    """Broad layers act as flat panes: C = sum_i a_i c_i prod_(j<i) (1 - a_j), closed before 1e-4 is reached."""
    panes = [(2.0, 0.5, (0.0, 1.0, 0.0)), (1.0, 0.4, (1.0, 0.0, 0.0)), (3.0, 1.0, (0.0, 0.0, 1.0))]
    panes += [(4.0, 1.0, (1.0, 1.0, 1.0)), (5.0, 1.0, (1.0, 1.0, 1.0))]
    parts = [one_gaussian(depth, 50.0, opacity, color) for depth, opacity, color in panes]
    stack = Gaussians(*(torch.cat([getattr(part, name) for part in parts]) for name in NAMES))
    drawn = render(stack, torch.eye(4), INTRINSICS, 45, 61)
    third = 0.6 * 0.5 * 0.99
    # The fourth pane would leave 0.3 * 0.01 * 0.01 = 3e-5 < 1e-4: it and all behind it are left out.
    assert drawn.image[:, 22, 30].tolist() == pytest.approx([0.4, 0.6 * 0.5, third], abs=1e-5)
    assert float(drawn.alpha[22, 30]) == pytest.approx(1 - 0.3 * 0.01, abs=1e-6)


def test_bands_change_nothing() -> None:
    """Cutting one view into bands for several threads gives the same picture and, summed, the same gradient."""
    gaussians, pose = random_gaussians(7), camera(7)[None]
    none = np.zeros(1, np.int64)
    jobs = Jobs(none, none + len(gaussians), none, none - 1, se3.invert(pose), INTRINSICS[None], 70, 61)
    arrays = [getattr(gaussians, name).numpy() for name in NAMES]
    reach = np.full(len(gaussians), 4.0, np.float32)
    scene = (*arrays[:4], reach, arrays[4], np.zeros(len(gaussians), np.int64))
    d_image = torch.randn(1, 70, 61, 5, generator=torch.Generator().manual_seed(0)).numpy()
    images, gradients = [], []
    for bands in (1, 2, 5):
        image, last = np.empty((1, 70, 61, 5), np.float32), np.empty((1, 70, 61), np.int32)
        kernel.forward(scene, jobs.table(), jobs.views(), bands, image, last, 0, bands)
        parts = np.zeros((bands * len(gaussians), D_COUNT), np.float32)
        rows = np.arange(bands) * len(gaussians)
        span = (0, bands)
        kernel.backward(scene, jobs.table(), jobs.views(), bands, image, last, *span, d_image, rows, parts)
        images.append(image)
        gradients.append(parts.reshape(bands, len(gaussians), -1).astype(np.float64).sum(0))
    for image, gradient in zip(images[1:], gradients[1:], strict=True):
        np.testing.assert_array_equal(image, images[0])
        assert np.linalg.norm(gradient - gradients[0]) < 1e-5 * np.linalg.norm(gradients[0])


def test_threads_change_nothing() -> None:
    """Many views, and one large view, drawn and pulled back by one thread and by three."""
    gaussians = random_gaussians(9, count=100)
    poses = torch.stack([camera(i) for i in range(11)])
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            leaves = [getattr(gaussians, name).clone().requires_grad_() for name in NAMES]
            many = render(Gaussians(*leaves), poses, INTRINSICS, 33, 40).image
            large = render(Gaussians(*leaves), poses[0], INTRINSICS, 200, 300).image
            (many.square().sum() + large.square().sum()).backward()
            results.append((many.detach(), large.detach(), [leaf.grad for leaf in leaves]))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(results[1][0], results[0][0], atol=0, rtol=0)
    torch.testing.assert_close(results[1][1], results[0][1], atol=0, rtol=0)
    for one, three in zip(results[0][2], results[1][2], strict=True):
        assert (three - one).norm() <= 1e-5 * one.norm()


def test_degenerate_gaussians_leave_the_picture_finite() -> None:
    means = torch.tensor([[0.0, 0, 0], [0, 0, -1], [1e20, 0, 1], [0, 0, 0.0101], [0, 0, 1e8], [0, 0, 1]])
    scales = torch.tensor([[0.0] * 3, [1] * 3, [1e18] * 3, [1e3] * 3, [1e9] * 3, [0] * 3], dtype=torch.float32)
    values = [means, scales, torch.zeros(6, 4), torch.ones(6), torch.ones(6, 3)]
    values = [value.requires_grad_() for value in values]
    drawn = channels(Gaussians(*values), torch.eye(4), 20, 20)
    drawn.sum().backward()
    assert torch.isfinite(drawn).all()
    assert all(value.grad is not None and torch.isfinite(value.grad).all() for value in values)
