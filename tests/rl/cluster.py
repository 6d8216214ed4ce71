"""Runs of several processes, in a file of its own: torch is loaded once and forked from there.

Usage: python cluster.py JOBS, where JOBS is a JSON list of the fields of `Job`.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed.fsdp
from threaded_pool import Shades, ThreadWorkers, threaded_pool
from toy import Brightness, ToyPolicy, toy_recipe, toy_trainer

from worldr1.policy.base import Policy
from worldr1.policy.sharding import local
from worldr1.recipes import Recipe
from worldr1.rewards.types import Composer
from worldr1.rl.distributed import joined
from worldr1.rl.run import RunDirectory


@dataclass(frozen=True)
class Job:
    """One run or a piece of it; `goes_on` names the directory of a run to copy and resume, `spoilt` damages the copy.

    `scored` says by whom: "toy" by its own reward, "here" by that of the threaded pool, "pool" by a pool per process.
    """

    run: str
    size: int
    strategy: str = "ddp"
    objective: str = "nft"
    total_steps: int = 20
    groups: int = 4
    group_size: int = 4
    goes_on: str | None = None
    spoilt: bool = False
    pipeline: str | None = None
    adapter: str = "lora"
    scale: str = "group"
    dtype: str = "float32"
    scored: str = "toy"


def write_jobs(path: Path, jobs: list[Job]) -> None:
    path.write_text(json.dumps([asdict(job) for job in jobs]))


def recipe_of(job: Job) -> Recipe:
    recipe = toy_recipe(job.objective, job.total_steps)
    content = recipe.model_dump()
    content["schedule"] |= {"groups": job.groups, "group_size": job.group_size}
    content["preserve"] |= {"per_step": 3, "samples": 2}
    content["parallel"] |= {"strategy": job.strategy}
    content["advantage"] |= {"scale": job.scale}
    content["evaluation"] |= {"every": 7, "prompts": 3, "videos": 2}
    content["checkpoint"] |= {"every": 5}
    content["model"] |= {"adapter": job.adapter}
    content["sampling"] |= {"micro_batch": None if job.scored == "toy" else 3}
    if job.pipeline:
        content["optimiser"] |= {"lr": 1e-3}
    return Recipe.model_validate(content)


def policy_of(job: Job) -> Policy:
    if job.pipeline is None:
        return ToyPolicy()
    from diffusers import WanPipeline

    from worldr1.policy.wan import LoraSettings, WanPolicy

    torch.manual_seed(1)
    loaded = WanPipeline.from_pretrained(job.pipeline, torch_dtype=getattr(torch, job.dtype))
    lora = LoraSettings(rank=2, alpha=4) if job.adapter == "lora" else None
    return WanPolicy(loaded, max_sequence_length=32, lora=lora)


def train(job: Job) -> None:
    """What every process of a job does."""
    torch.set_num_threads(1)
    recipe, policy, run = recipe_of(job), policy_of(job), RunDirectory(Path(job.run))
    with joined() as world:
        if world.size > 1 and job.strategy == "fsdp":
            policy.shard(world.mesh())  # type: ignore[attr-defined]
            if job.pipeline:
                _check_share(policy.pipeline.transformer, world.size)  # type: ignore[attr-defined]
        toy_trainer(recipe, run, policy, reward_of(job), world).fit(job.goes_on is not None)


def reward_of(job: Job) -> Composer:
    if job.scored == "toy":
        return Brightness()
    return Shades() if job.scored == "here" else threaded_pool(ThreadWorkers(Shades()), batch=2)


def _check_share(network: torch.nn.Module, processes: int) -> None:
    held = sum(local(parameter).numel() for parameter in network.parameters())
    everything = sum(parameter.numel() for parameter in network.parameters())
    assert held < 1.2 * everything / processes


def _fork(job: Job) -> None:
    if job.goes_on is None:
        Path(job.run).mkdir()
    else:
        shutil.copytree(job.goes_on, job.run)
    if job.spoilt:
        (RunDirectory(Path(job.run)).preserved / "latents.safetensors").write_bytes(b"")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    children = []
    for rank in range(job.size):
        child = os.fork()
        if child:
            children.append(child)
            continue
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(job.size)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "toy"}
        code = 1
        try:
            train(job)
            code = 0
        except Exception:
            traceback.print_exc()
        os._exit(code)
    for _ in children:
        _, status = os.wait()
        if status:
            sys.exit(f"a process of {job} failed")


if __name__ == "__main__":
    for _job in json.loads(Path(sys.argv[1]).read_text()):
        _fork(Job(**_job))
