"""Rows of noise transport: the public 16x-grid algorithm against both of our laws, 16 channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice, pairwise

import torch
from torch import Tensor

from benchmarks.measure import Place, Row, Setting, paired, scaling_row, timed
from benchmarks.peers.warp16 import Warp16
from worldr1.camera.trajectory import Trajectory
from worldr1.noise import flow_correlation, ideal_flow_correlation, wrap_noise
from worldr1.noise.flow import next_positions, pixel_centres
from worldr1.noise.inject import Law
from worldr1.noise.sequential import transport_sequential

CHANNELS, UPSCALE = 16, 16
MOVES = ("push in",)
OUTWARDS = {"pull": ("pull out",), "pan": ("pan left",)}
TOLERANCE = 0.02


def rows(setting: Setting) -> dict[str, Callable[[], Row]]:
    """All rows of this file by name, not yet run."""
    size = (4, 6, 9) if setting.quick else (60, 104, 81)
    large = (4, 8, 9) if setting.quick else (90, 160, 121)
    return {
        "noise_832x480x81": partial(_sequential, "noise_832x480x81", size, setting),
        "noise_832x480x81_canonical": partial(_wrapped, "noise_832x480x81_canonical", "canonical", size, setting),
        **{
            f"noise_832x480x81_canonical_{name}": partial(
                _wrapped, f"noise_832x480x81_canonical_{name}", "canonical", size, setting, moves
            )
            for name, moves in OUTWARDS.items()
        },
        "noise_832x480x81_latent_steps": partial(
            _wrapped, "noise_832x480x81_latent_steps", "sequential", size, setting
        ),
        "noise_1280x720x121_canonical": partial(_wrapped, "noise_1280x720x121_canonical", "canonical", large, setting),
        "noise_frames": partial(_frames, setting),
        "noise_resolution": partial(_resolution, setting),
    }


def _sequential(name: str, size: tuple[int, int, int], setting: Setting) -> Row:
    """The same law on the same grid, one step per video frame."""
    height, width, frames = size
    device = setting.place.device
    flows = _fine_flows(size)
    arrays = [flow.numpy() for flow in flows]
    shape = (CHANNELS, (frames - 1) // 4 + 1, height, width)
    pairs = paired(
        lambda: torch.from_numpy(
            transport_sequential(islice(cycle(arrays), frames - 1), shape, 0, UPSCALE, steps=4)
        ).to(device),
        partial(_peer, size, [flows[0].to(device)], device),
        setting.runs,
        peer_seconds=_whole_video(size, 1, setting.place),
        place=setting.place,
    )
    agreement = _sequential_agreement(setting)
    agrees = agreement["difference"] <= TOLERANCE + 2 * agreement["standard error"]
    return Row(
        name,
        *(pairs.ours, pairs.peer, pairs.ratio, pairs.runs),
        "same law, 16x grid, a step per video frame, latent frames out; the peer's video is one of its steps times 80",
        *(pairs.peak_mb, pairs.peer_peak_mb),
        agreement=agreement,
        agrees=agrees,
    )


def _wrapped(name: str, law: Law, size: tuple[int, int, int], setting: Setting, moves: tuple[str, ...] = MOVES) -> Row:
    """What training calls, `wrap_noise`, with one step or view per latent frame."""
    height, width, frames = size
    trajectory = Trajectory.from_moves(moves, frames)
    shape = (CHANNELS, (frames - 1) // 4 + 1, height, width)
    device = setting.place.device
    pairs = paired(
        lambda: wrap_noise(trajectory, shape, 0, law=law).to(device),
        partial(_peer, size, [_fine_flows(size, 1)[0].to(device)], device),
        setting.runs,
        peer_seconds=_whole_video(size, 1, setting.place),
        place=setting.place,
    )
    made = wrap_noise(trajectory, shape, 0, law=law)
    agreement = _whiteness(made)
    bounds = 4 / math.sqrt(made[:, 0].numel())
    agrees = agreement["mean"] < bounds and agreement["variance - 1"] < 2 * bounds and agreement["neighbours"] < bounds
    if law == "canonical":
        sideways = Trajectory.from_moves(("move right",), frames)
        measured = flow_correlation(wrap_noise(sideways, shape, 0), sideways)
        ideal = ideal_flow_correlation(sideways, shape[1:])
        agreement["correlation - ideal"] = float((measured - ideal).abs().max())
        agrees = agrees and agreement["correlation - ideal"] < TOLERANCE + bounds
    return Row(
        name,
        *(pairs.ours, pairs.peer, pairs.ratio, pairs.runs),
        f"wrap_noise, {law}, {moves[0]}, 8x grid, latent frames only; the peer as in noise_832x480x81",
        *(pairs.peak_mb, pairs.peer_peak_mb),
        agreement=agreement,
        agrees=agrees,
    )


def _peer(size: tuple[int, int, int], flows: list[Tensor], device: str) -> Tensor:
    height, width, _ = size
    warp = Warp16(CHANNELS, height, width, UPSCALE, device=device)
    for flow in flows:
        warp.step(flow)
    return warp.noise


def _whole_video(size: tuple[int, int, int], steps: int, place: Place) -> Callable[[float], float]:
    """From the time of `steps` peer steps to that of all frames; the first frame, which is drawn once, counts once."""
    start, _ = timed(lambda: _peer(size, [], place.device), place.clock)
    return lambda spent: start + max(spent - start, 0.0) / steps * (size[2] - 1)


def _fine_flows(size: tuple[int, int, int], number: int = 4) -> list[Tensor]:
    """Flows [2, H*16, W*16] between video frames, at `number` moments spread over the clip."""
    height, width, frames = size
    trajectory = Trajectory.from_moves(MOVES, frames)
    moments = torch.linspace(0, frames - 2, min(number, frames - 1)).long().tolist()
    return [flow for moment in moments for flow in _flows(trajectory, (height, width), [moment, moment + 1])]


def _flows(trajectory: Trajectory, size: tuple[int, int], frames: list[int]) -> Iterator[Tensor]:
    """Flows in fine cells from each of the chosen frames to the next chosen one."""
    fine = (size[0] * UPSCALE, size[1] * UPSCALE)
    intrinsics, centres = trajectory.intrinsics(*fine), pixel_centres(*fine)
    for pair in pairwise(frames):
        yield (next_positions(trajectory.c2w[list(pair)], intrinsics, fine)[0] - centres).float()


def _sequential_agreement(setting: Setting) -> dict[str, float]:
    """Correlation with frame 0 along the flow after the same steps, ours and the peer's, on the same flows."""
    height, width, frames = (6, 8, 5) if setting.quick else (30, 52, 9)
    trajectory = Trajectory.from_moves(MOVES, frames)
    flows = list(_flows(trajectory, (height, width), list(range(frames))))
    ours = transport_sequential([flow.numpy() for flow in flows], (CHANNELS, frames, height, width), 0, UPSCALE)
    warp = Warp16(CHANNELS, height, width, UPSCALE, device=setting.place.device)
    latents = [warp.latent()]
    for flow in flows:
        warp.step(flow.to(setting.place.device))
        latents.append(warp.latent())
    peer = torch.stack(latents, 1).cpu()
    mine, theirs = (flow_correlation(noise, trajectory)[1:] for noise in (torch.from_numpy(ours), peer))
    return {
        "difference": float((mine - theirs).abs().max()),
        "standard error": math.sqrt(2 / (CHANNELS * height * width)),
        "ours at the end": float(mine[-1]),
        "peer at the end": float(theirs[-1]),
    }


def _whiteness(noise: Tensor) -> dict[str, float]:
    """Worst frame's mean, excess variance and correlation of neighbours, of noise [C, T, H, W]."""
    frames = noise.double().transpose(0, 1)
    mean, variance = frames.mean((1, 2, 3)), frames.var((1, 2, 3))
    beside = (frames[..., 1:] * frames[..., :-1]).mean((1, 2, 3))
    below = (frames[..., 1:, :] * frames[..., :-1, :]).mean((1, 2, 3))
    return {
        "mean": float(mean.abs().max()),
        "variance - 1": float((variance - 1).abs().max()),
        "neighbours": float(torch.maximum(beside.abs(), below.abs()).max()),
    }


def _frames(setting: Setting) -> Row:
    sizes = (9, 17) if setting.quick else (17, 33, 49, 81, 121)
    height, width = (4, 6) if setting.quick else (60, 104)

    def make(frames: float) -> Callable[[], object]:
        shape = (CHANNELS, (int(frames) - 1) // 4 + 1, height, width)
        return partial(wrap_noise, Trajectory.from_moves(MOVES, int(frames)), shape, 0)

    return scaling_row("noise_frames", sizes, make, setting.runs, "canonical, 832x480, against video frames")


def _resolution(setting: Setting) -> Row:
    sizes = {256 * 144: (18, 32), 832 * 480: (60, 104), 1280 * 720: (90, 160)}
    if setting.quick:
        sizes = dict(list(sizes.items())[:1]) | {64 * 64: (8, 8)}
    trajectory = Trajectory.from_moves(MOVES, 9 if setting.quick else 81)

    def make(pixels: float) -> Callable[[], object]:
        return partial(wrap_noise, trajectory, (CHANNELS, (trajectory.frames - 1) // 4 + 1, *sizes[int(pixels)]), 0)

    return scaling_row(
        "noise_resolution", list(sizes), make, setting.runs, "canonical, 81 frames, against pixels a frame"
    )
