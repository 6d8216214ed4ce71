"""A toy run in a file of its own, so that tests can start it as a process and cut it off.

Usage: python toy.py RUN {fresh|resume}
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.nn import Parameter

from worldr1.policy.base import Conditioning, Policy
from worldr1.policy.sharding import fill, shard, whole
from worldr1.policy.swap import swapped
from worldr1.recipes import Recipe, save_recipe
from worldr1.rewards.types import Composer, Sample, Scores
from worldr1.rl.batch import TrainingPrompts
from worldr1.rl.distributed import World
from worldr1.rl.grpo import FlowGRPO, GRPOSettings
from worldr1.rl.nft import DiffusionNFT, NFTSettings
from worldr1.rl.objectives import Objective
from worldr1.rl.run import RunDirectory, writing
from worldr1.rl.trainer import Parts, Trainer

PROMPTS = TrainingPrompts(
    main=[
        "camera push in. a red box",
        "camera orbit left. a blue sphere",
        "camera pan right. a box",
        "camera fixed. a cone",
    ],
    dynamic=["camera fixed. a red sphere bouncing", "camera move left. a box sliding"],
)


class Affine(nn.Module):
    """scale x + shift, per channel."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = Parameter(torch.full((4,), 0.5)), Parameter(torch.zeros(4))

    def forward(self, latents: Tensor) -> Tensor:
        return latents * self.scale.view(1, -1, 1, 1, 1) + self.shift.view(1, -1, 1, 1, 1)


class ToyPolicy:
    """v = scale x + shift, per channel; a video is its first three channels, brightened and enlarged."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self._network = Affine()
        self._freeze_base()

    def _freeze_base(self) -> None:
        self._frozen = [parameter.detach().clone() for parameter in self.trainable_parameters()]

    def shard(self, mesh: DeviceMesh) -> None:
        shard(self._network, [], mesh)
        self._freeze_base()

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        return Conditioning(torch.tensor([[[float(len(prompt) % 7)]] for prompt in prompts]))

    def velocity(self, latents: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
        text = conditioning.embeds.mean((1, 2)).view(-1, 1, 1, 1, 1)
        return self._network(latents) + 0.01 * text * sigma.view(-1, 1, 1, 1, 1)

    @contextmanager
    def base(self) -> Iterator[None]:
        with swapped(self.trainable_parameters(), self._frozen):
            yield

    def extrapolated(self, scale: float) -> AbstractContextManager[None]:
        pairs = zip(self._frozen, self.trainable_parameters(), strict=True)
        return swapped(self.trainable_parameters(), [base + scale * (p.detach() - base) for base, p in pairs])

    def decode(self, latents: Tensor) -> Tensor:
        video = (latents[:, :3] * 0.3 + 0.5).clamp(0, 1)
        video = video.repeat_interleave(8, -1).repeat_interleave(8, -2).repeat_interleave(4, 2)[:, :, 3:]
        return video.transpose(1, 2).contiguous()

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        return 4, (frames - 1) // 4 + 1, height // 8, width // 8

    def sigmas(self, steps: int) -> Tensor:
        return torch.linspace(1, 0, steps + 1)

    def trainable_parameters(self) -> list[Parameter]:
        return list(self._network.parameters())

    def state_dict(self) -> dict[str, Tensor]:
        return {name: parameter.detach() for name, parameter in self._network.named_parameters()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        for name, parameter in self._network.named_parameters():
            fill(parameter, state[name])

    def save(self, directory: str | Path | None) -> None:
        from safetensors.torch import save_file

        gathered = {name: whole(tensor).clone() for name, tensor in self.state_dict().items()}
        if directory is not None:
            save_file(gathered, Path(directory) / "toy.safetensors")


class Brightness:
    """A reward that wants bright videos; its 3D part fails for videos whose first pixel is dark."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.asked: list[bool] = []

    def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
        time.sleep(self.delay)
        self.asked.append(use_3d)
        video = torch.stack([sample.video for sample in samples])
        general = video.mean((1, 2, 3, 4)).double()
        if not use_3d:
            return Scores({"general": general}, general)
        recon = torch.where(video[:, 0, 0, 0, 0] < 0.2, torch.nan, video[:, :, 0].mean((1, 2, 3)).double())
        return Scores({"general": general, "recon": recon}, general + recon)


def toy_recipe(objective: str = "nft", total_steps: int = 8) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "toy",
            "clip": {"frames": 5, "height": 16, "width": 16},
            "noise": {"strength": 0.5},
            "sampling": {"steps": 3, "window": 2, "window_range": [0, 3]},
            "objective": {"name": objective},
            "schedule": {"total_steps": total_steps, "main_steps": 3, "dynamic_steps": 2, "groups": 2, "group_size": 4},
            "preserve": {"weight": 0.1, "samples": 2, "per_step": 2},
            "optimiser": {"lr": 0.02},
            "evaluation": {"every": 3, "prompts": 2, "videos": 1},
            "checkpoint": {"every": 2},
        }
    )


def objective_of(recipe: Recipe, policy: Policy) -> Objective:
    at_once = recipe.sampling.micro_batch
    if recipe.objective.name == "nft":
        return DiffusionNFT(NFTSettings(steps=3, times=2, updates=2, micro_batch=at_once), policy)
    return FlowGRPO(GRPOSettings(steps=3, window=2, window_range=(0, 3), kl=0.01, micro_batch=at_once))


def toy_trainer(
    recipe: Recipe,
    run: RunDirectory,
    policy: Policy | None = None,
    reward: Composer | None = None,
    world: World | None = None,
    stopping: Callable[[], bool] = lambda: False,
    prompts: TrainingPrompts | None = None,
) -> Trainer:
    policy = policy or ToyPolicy()
    parts = Parts(
        policy,
        objective_of(recipe, policy),
        reward or Brightness(),
        prompts or PROMPTS,
        ["camera pull left. a cup", "a cup, spinning"],
    )
    return Trainer(recipe, parts, run, world, stopping)


def main() -> None:
    """Train as the command line says."""
    run, how, recipe = RunDirectory(Path(sys.argv[1])), sys.argv[2], toy_recipe()
    with writing(run):
        save_recipe(recipe, run.recipe)
        sys.stdout.write("started\n")
        sys.stdout.flush()
        toy_trainer(recipe, run, reward=Brightness(delay=0.02)).fit(resume=how == "resume")


if __name__ == "__main__":
    main()
