"""Rows of the splat kernel: against a tiled PyTorch rasteriser, on pixel-aligned Gaussians of a smooth depth map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from benchmarks.measure import Row, Setting, paired, scaling_row, timed
from benchmarks.peers.tiled import render_tiled
from worldr1.camera import se3
from worldr1.splats import fit
from worldr1.splats.fit import fit_splats
from worldr1.splats.gaussians import Gaussians, from_depth
from worldr1.splats.render import render

PARTS = ("means", "scales", "quats", "opacities", "colors")
MEAN_BOUND, PIXEL_BOUND, SHARE_BOUND, GRADIENT_BOUND = 1e-6, 1e-4, 1e-4, 1e-4
MOST_WITH_GRADIENT = 100_000
PRECISIONS = (torch.float64, torch.float32, torch.float32)


@dataclass(frozen=True)
class Scene:
    """Gaussians, a camera beside the one that they were made from, and the picture's size."""

    gaussians: Gaussians
    c2w: Tensor
    intrinsics: Tensor
    height: int
    width: int


Draw = Callable[[Scene, Gaussians], Tensor]


def make_scene(count: int, height: int, width: int) -> Scene:
    """About `count` Gaussians, of any orientation, on a wavy surface, seen from a little to the side."""
    across = max(2, round((count * width / height) ** 0.5))
    down = max(2, round(count / across))
    v, u = torch.meshgrid(torch.linspace(0, 6, down), torch.linspace(0, 6, across), indexing="ij")
    depth = 1 + 0.2 * torch.sin(u) * torch.cos(v)
    image = torch.stack([0.5 + 0.5 * torch.sin(k * u + v) for k in (1, 2, 3)])
    lens = torch.tensor([[0.8 * across, 0, across / 2], [0, 0.8 * across, down / 2], [0, 0, 1.0]])
    confidence = 0.75 + 0.2 * torch.cos(u + v)
    gaussians = from_depth(image, depth, torch.eye(4), lens, confidence, footprint=0.5)
    generator = torch.Generator().manual_seed(0)
    gaussians = replace(
        gaussians,
        scales=gaussians.scales * torch.tensor([1.2, 1.0, 0.8]),
        quats=torch.randn(len(gaussians), 4, generator=generator),
    )
    c2w = torch.eye(4)
    c2w[0, 3], c2w[2, 3] = 0.03, 0.02
    intrinsics = torch.tensor([[0.8 * width, 0, width / 2], [0, 0.8 * width, height / 2], [0, 0, 1.0]])
    return Scene(gaussians, c2w, intrinsics, height, width)


def rows(setting: Setting) -> dict[str, Callable[[], Row]]:
    """All rows of this file by name, not yet run."""
    sizes = {"64_5k": (5_000, 64, 64), "256_70k": (70_000, 256, 256), "832x480_300k": (300_000, 480, 832)}
    if setting.quick:
        sizes = {"64_5k": (500, 32, 32)}
    found: dict[str, Callable[[], Row]] = {}
    for label, size in sizes.items():
        for both in (False, True):
            name = f"splat_{'forward_backward' if both else 'forward'}_{label}"
            found[name] = partial(_against_tiled, name, size, both, setting)
    found["splat_count"] = partial(_count, setting)
    found["splat_fit_clip"] = partial(_fit, setting)
    if torch.get_num_threads() > 1:
        found["splat_second_core"] = partial(_second_core, setting)
    return found


def _moved(scene: Scene, device: str) -> Scene:
    return replace(
        scene,
        gaussians=scene.gaussians.to(device),
        c2w=scene.c2w.to(device),
        intrinsics=scene.intrinsics.to(device),
    )


def _leaves(gaussians: Gaussians, dtype: torch.dtype, grad: bool) -> Gaussians:
    parts = [getattr(gaussians, part).detach().to(dtype).clone().requires_grad_(grad) for part in PARTS]
    return Gaussians(*parts)


def _ours(scene: Scene, gaussians: Gaussians) -> Tensor:
    drawn = render(gaussians, scene.c2w, scene.intrinsics, scene.height, scene.width)
    return torch.cat([drawn.image, (drawn.depth * drawn.alpha)[None], drawn.alpha[None]])


def _peer(scene: Scene, gaussians: Gaussians) -> Tensor:
    dtype = gaussians.means.dtype
    w2c = se3.invert(scene.c2w.double()).to(dtype)
    return render_tiled(gaussians, w2c, scene.intrinsics.to(dtype), scene.height, scene.width)


def _run(
    draw: Callable[[Scene, Gaussians], Tensor], scene: Scene, gaussians: Gaussians, weight: Tensor | None
) -> Tensor:
    """A picture; with a weight [5, H, W] also the gradient of its weighted sum, left in the Gaussians."""
    if weight is None:
        with torch.no_grad():
            return draw(scene, gaussians)
    for part in PARTS:
        getattr(gaussians, part).grad = None
    image = draw(scene, gaussians)
    (image * weight.to(image.dtype)).sum().backward()
    return image.detach()


def _against_tiled(name: str, size: tuple[int, int, int], both: bool, setting: Setting) -> Row:
    device = setting.place.device
    scene = _moved(make_scene(*size), device)
    weight = torch.randn(5, *size[1:], generator=torch.Generator().manual_seed(0)).to(device) if both else None
    ours, peer = (_leaves(scene.gaussians, torch.float32, both) for _ in range(2))
    pairs = paired(
        partial(_run, _ours, scene, ours, weight),
        partial(_run, _peer, scene, peer, weight),
        setting.runs,
        place=setting.place,
    )
    agreement, agrees = _agreement(scene, weight if size[0] <= MOST_WITH_GRADIENT else None)
    return Row(
        name,
        *(pairs.ours, pairs.peer, pairs.ratio, pairs.runs),
        f"{len(scene.gaussians)} splats, {size[2]}x{size[1]}; agreement with the peer in float64",
        *(pairs.peak_mb, pairs.peer_peak_mb),
        agreement=agreement,
        agrees=agrees,
    )


def _agreement(scene: Scene, weight: Tensor | None) -> tuple[dict[str, float], bool]:
    """Distance of ours and of the float32 peer from the peer in float64.

    A splat whose alpha lies at the threshold of 1/255 is drawn or not by the last bit, by ours and by the peer. That
    moves few pixels and the gradient of few splats, so a share of both is left out where ours is judged: `share over`
    is that of the pixels, `gradient of the rest` is without the splats that are furthest off.
    """
    exact, ours, peer = (_leaves(scene.gaussians, dtype, weight is not None) for dtype in PRECISIONS)
    goal = _run(_peer, scene, exact, weight)
    found: dict[str, float] = {}
    for whose, draw, leaves in (("", _ours, ours), ("peer's ", _peer, peer)):
        difference = (_run(draw, scene, leaves, weight) - goal).abs()
        found[f"{whose}mean"] = float(difference.mean())
        found[f"{whose}share over {PIXEL_BOUND:g}"] = float((difference.amax(0) > PIXEL_BOUND).double().mean())
        if weight is not None:
            found[f"{whose}gradient"] = _gradient_apart(leaves, exact, 0.0)
            found[f"{whose}gradient of the rest"] = _gradient_apart(leaves, exact, SHARE_BOUND)
    bounds = {"mean": MEAN_BOUND, f"share over {PIXEL_BOUND:g}": SHARE_BOUND, "gradient of the rest": GRADIENT_BOUND}
    return found, all(found.get(name, 0.0) <= bound for name, bound in bounds.items())


def _gradient_apart(found: Gaussians, exact: Gaussians, left_out: float) -> float:
    """Relative distance of the gradients, the worst part's, without a share of the splats that are furthest off."""
    worst = 0.0
    for part in PARTS:
        goal = getattr(exact, part).grad
        apart = (getattr(found, part).grad - goal).square().reshape(len(goal), -1).sum(1)
        kept = apart.sort().values[: len(apart) - int(left_out * len(apart))]
        worst = max(worst, float(kept.sum().sqrt() / goal.norm().clamp_min(1e-30)))
    return worst


def _count(setting: Setting) -> Row:
    sizes = (500, 2_000) if setting.quick else (5_000, 30_000, 100_000, 300_000, 1_000_000)
    side = (32, 32) if setting.quick else (480, 832)

    def make(count: float) -> Callable[[], object]:
        scene = _moved(make_scene(int(count), *side), setting.place.device)
        return partial(_run, _ours, scene, scene.gaussians, None)

    note = "forward, 832x480, against the number of splats"
    return scaling_row("splat_count", sizes, make, setting.runs, note, setting.place.clock)


def _clip(frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """Video [T, 3, H, W], c2w [T, 4, 4] and intrinsics of a clip of the tiny world."""
    import numpy as np

    from worldr1.camera.trajectory import Trajectory
    from worldr1.tinyworld import render_clip, sample_scene

    scene = sample_scene(np.random.default_rng(3), split="test")
    clip = render_clip(scene, Trajectory.from_moves(("orbit left",), frames))
    return clip.video, clip.c2w, clip.intrinsics


def _fit(setting: Setting) -> Row:
    video, c2w, intrinsics = _clip(17)
    held_out = [4, 12]
    fitted = [frame for frame in range(17) if frame not in held_out]
    count, iterations = (300, 5) if setting.quick else (4_000, 300)
    settings = fit.FitSettings(count=count)
    fit_splats(video, c2w, intrinsics, fitted, iterations=1, settings=settings)
    times = []
    for _ in range(setting.runs):
        spent, made = timed(lambda: fit_splats(video, c2w, intrinsics, fitted, iterations, settings=settings))
        times.append(spent)
    drawn = render(made, c2w[held_out], intrinsics, 64, 64).image.clamp(0, 1)
    psnr = float(-10 * torch.log10((drawn - video[held_out]).square().mean()))
    return Row(
        "splat_fit_clip",
        sorted(times)[len(times) // 2],
        *(None, None, setting.runs),
        f"17 frames of 64x64, {count} splats, {iterations} iterations, two frames held out",
        agreement={"held-out PSNR": psnr},
        agrees=psnr > (5 if setting.quick else 20),
    )


def _second_core(setting: Setting) -> Row:
    """The same work on one thread and on all; meaningful on an idle machine only."""
    scene = make_scene(*((500, 32, 32) if setting.quick else (70_000, 256, 256)))
    leaves = _leaves(scene.gaussians, torch.float32, True)
    weight = torch.ones(5, scene.height, scene.width)
    work = partial(_run, _ours, scene, leaves, weight)
    threads = torch.get_num_threads()
    pairs = paired(work, partial(_on_one_thread, work), setting.runs)
    note = f"forward and backward, 256x256, 70k splats, {threads} threads against 1"
    return Row("splat_second_core", pairs.ours, pairs.peer, pairs.ratio, pairs.runs, note)


def _on_one_thread(work: Callable[[], object]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        work()
    finally:
        torch.set_num_threads(threads)
