"""World-R1-Small's policy on one CUDA device: `python -m benchmarks.gpu.policy` builds, checks and times in one call.

A pipeline of Wan2.1-T2V-1.3B's shape with random weights samples a group by the recipe `world-r1-small`, decodes it and
updates its adapter once: the update must be finite, move the adapter and nothing else. Text and rewards are left out:
embeddings are random and advantages +1 and -1. Times are of random weights, which is no matter; the videos are noise.
`--tiny` does the same in a small shape, without a device if there is none: it shows that the script works, no figures.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from rich.logging import RichHandler
from torch import Tensor

from benchmarks.machine import commit, cpu_name, describe
from worldr1.data.atomic import write_text
from worldr1.planning.published import PUBLISHED
from worldr1.planning.shapes import PipelineShape
from worldr1.planning.work import measure_forward
from worldr1.policy.base import Conditioning
from worldr1.recipes import Recipe, load_recipe
from worldr1.rl.assemble import build_objective
from worldr1.rl.assemble_policy import wrap
from worldr1.rl.draws import step_draws
from worldr1.rl.seeds import Stream

logger = logging.getLogger("benchmarks.gpu")
RESULTS = Path(__file__).parent / "results"
VIDEOS = 2
GIB = float(2**30)
_TINY_TRANSFORMER = {"num_attention_heads": 2, "attention_head_dim": 24, "ffn_dim": 96, "num_layers": 2, "text_dim": 32}
_TINY_VAE = {"base_dim": 4, "num_res_blocks": 1, "dim_mult": [1, 1, 1, 1]}


@dataclass(frozen=True)
class Size:
    """A recipe and the arguments of the networks that it runs on."""

    recipe: Recipe
    transformer: dict[str, Any]
    vae: dict[str, Any]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.policy", description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="a small shape, also on the CPU: no figures")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (benchmarks/gpu/results)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)])
    cuda = torch.cuda.is_available()
    if not cuda and not options.tiny:
        parser.exit(1, "No CUDA device: run this where one is, or with --tiny to see that it works.\n")
    size = tiny() if options.tiny else full()
    logger.info("wrote %s", write(options.out, measure(size, "cuda" if cuda else "cpu"), options.tiny))


def full() -> Size:
    """`world-r1-small` as it is."""
    recipe = load_recipe("world-r1-small")
    return Size(recipe, dict(PUBLISHED[recipe.model.path].transformer), {})


def tiny() -> Size:
    """The same structure in a shape that a CPU runs in seconds."""
    content = load_recipe("world-r1-small").model_dump()
    content["clip"] = {"frames": 9, "height": 64, "width": 64}
    content["model"] |= {"rank": 4, "alpha": 8, "max_tokens": 16}
    content["sampling"] |= {"steps": 4, "window_range": (0, 4)}
    shape = dict(PUBLISHED[content["model"]["path"]].transformer)
    return Size(Recipe.model_validate(content), {**shape, **_TINY_TRANSFORMER}, _TINY_VAE)


def measure(size: Size, device: str) -> dict[str, Any]:
    """Build, sample, decode and update once, and say what each stage took.

    Raises:
        RuntimeError: the update is not finite, moves nothing, or moves more than the adapter.
    """
    clock, recipe = Clock(device), size.recipe
    with clock.stage("build"):
        pipeline = random_pipeline(size, device)
        policy = wrap(pipeline, recipe)
        objective = build_objective(recipe, policy)
    clip, width = recipe.clip, size.transformer["text_dim"]
    text = Conditioning(torch.randn(VIDEOS, recipe.model.max_tokens, width, device=device, dtype=torch.bfloat16))
    noise = torch.randn(VIDEOS, *policy.latent_shape(clip.frames, clip.height, clip.width), device=device)
    one = (noise[:1], torch.full((1,), 0.5, device=device), text.index(slice(0, 1)))
    with torch.no_grad():
        policy.velocity(*one)
        with clock.stage("forward"):
            policy.velocity(*one)
    with clock.stage("rollout"):
        made = objective.collect(policy, text, noise, step_draws(Stream.ROLLOUT, 0, 0, VIDEOS), 0)
    with clock.stage("decode"):
        videos = [policy.decode(latents[None]) for latents in made.latents]
    before = {name: tensor.detach().cpu().clone() for name, tensor in pipeline.transformer.named_parameters()}
    optimiser = torch.optim.AdamW(policy.trainable_parameters(), lr=recipe.optimiser.lr)
    losses: list[float] = []
    with clock.stage("update"):
        advantages = torch.tensor([1.0, -1.0])
        for term in objective.losses(policy, made, text, advantages, step_draws(Stream.LOSS, 0, 0, VIDEOS)):
            term.loss.backward()
            losses.append(float(term.loss.detach()))
            if term.end_of_update:
                optimiser.step()
                optimiser.zero_grad()
        objective.after_step(policy)
    check(before, dict(pipeline.transformer.named_parameters()), losses, videos)
    flops = measure_forward(PipelineShape(size.transformer, size.vae, 0), recipe.model, clip).flops
    rate = matrix_rate(device, 8192 if device == "cuda" else 256)
    used = flops / clock.seconds["forward"] / rate
    return {
        "recipe": recipe.name,
        "parameters": sum(parameter.numel() for parameter in before.values()),
        "videos": VIDEOS,
        "clip": clip.model_dump(),
        "seconds": clock.seconds,
        "peak_gib": clock.peaks,
        "seconds_per_video": {name: clock.seconds[name] / VIDEOS for name in ("rollout", "decode", "update")},
        "forward_tflop": flops / 1e12,
        "matrix_tflops": rate / 1e12,
        "forward_share_of_matrix_rate": used,
    }


def random_pipeline(size: Size, device: str) -> Any:
    """A real `WanPipeline` with random weights, bfloat16 where published ones are, without text encoder."""
    from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel

    with torch.device(device):
        transformer = WanTransformer3DModel(**size.transformer)
        vae = AutoencoderKLWan(**size.vae)
    kept = tuple(transformer._keep_in_fp32_modules)
    for name, parameter in transformer.named_parameters():
        if not any(part in name for part in kept):
            parameter.data = parameter.data.to(torch.bfloat16)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    pipeline = WanPipeline(
        tokenizer=None, text_encoder=None, vae=vae.eval(), transformer=transformer, scheduler=scheduler
    )
    pipeline.text_encoder = torch.nn.Identity()
    return pipeline


def check(before: dict[str, Tensor], after: dict[str, Tensor], losses: list[float], videos: list[Tensor]) -> None:
    """Raises RuntimeError unless a step went as it must."""
    if not all(bool(torch.isfinite(video).all()) for video in videos) or not all(map(math.isfinite, losses)):
        raise RuntimeError(f"the step is not finite: losses {losses}")
    moved = {name for name, tensor in after.items() if not torch.equal(tensor.detach().cpu(), before[name])}
    if not moved:
        raise RuntimeError("the update moved nothing")
    foreign = sorted(name for name in moved if "lora_" not in name)
    if foreign:
        raise RuntimeError(f"the update moved more than the adapter: {foreign[0]}")


class Clock:
    """Seconds and peak memory of stages, the device waited for."""

    def __init__(self, device: str) -> None:
        self._cuda = device == "cuda"
        self.seconds: dict[str, float] = {}
        self.peaks: dict[str, float | None] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What runs inside it goes under `name`."""
        self.forget_peak()
        began = self.now()
        yield
        self.seconds[name] = self.now() - began
        self.peaks[name] = self.peak()
        logger.info("%s: %.3g s", name, self.seconds[name])

    def now(self) -> float:
        """Seconds, after all work of the device."""
        if self._cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def forget_peak(self) -> None:
        """Begin a new peak."""
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> float | None:
        """GiB that torch held at most; None on the CPU."""
        return torch.cuda.max_memory_allocated() / GIB if self._cuda else None


def matrix_rate(device: str, side: int, repeats: int = 10) -> float:
    """Operations a second of a bfloat16 product of square matrices, the best of `repeats`."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    clock, times = Clock(device), []
    for _ in range(repeats + 1):
        began = clock.now()
        torch.matmul(a, b)
        times.append(clock.now() - began)
    return 2.0 * side**3 / min(times[1:])


def write(folder: Path, result: dict[str, Any], small: bool) -> Path:
    """Write `<date>-policy-<device>.json`; returns its path."""
    now = datetime.now(timezone.utc)
    cuda = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if cuda else cpu_name()
    content = {
        "date": now.isoformat(timespec="seconds"),
        "commit": commit(),
        "tiny": small,
        "machine": {**describe(), "device": device if cuda else "none"},
        **result,
    }
    path = folder / f"{now:%Y-%m-%d}-policy-{re.sub(r'[^a-z0-9]+', '-', device.lower()).strip('-')}.json"
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(content, indent=1) + "\n")
    return path


if __name__ == "__main__":
    main()
