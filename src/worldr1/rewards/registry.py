"""From a recipe's names to rewards: the shipped critics, or the models of the paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from worldr1.recipes.reward import JudgeSettings, RewardSettings
from worldr1.recipes.weights import place_of
from worldr1.reconstruction.types import Reconstructor
from worldr1.rewards.compose import RewardComposer
from worldr1.rewards.types import Reward

if TYPE_CHECKING:
    from worldr1.rewards.openai_judge import OpenAIJudge

NEEDS_RECONSTRUCTION: Mapping[str, bool] = {"meta": True, "recon": True, "traj": True, "general": False}
"""Of each component, whoever judges it."""


def build_composer(settings: RewardSettings, device: torch.device | str = "cpu") -> RewardComposer:
    """The whole reward that a recipe names, with the reconstructor that it needs.

    Args:
        settings: which components, of which models, with which weights.
        device: where the models of the paper run, in bfloat16 on a GPU and in float32 elsewhere.

    Raises:
        FileNotFoundError: weights or a token file are missing; the sentence names what gets them.
        ImportError: a model needs a package that is not installed; the sentence names the command.
    """
    makers: Mapping[str, Callable[[RewardSettings, torch.device], Reward]] = {
        "meta": _meta,
        "recon": _recon,
        "traj": _traj,
        "general": _general,
    }
    where = torch.device(device)
    rewards = {name: makers[name](settings, where) for name in settings.weights}
    needed = any(reward.needs_reconstruction for reward in rewards.values())
    reconstructor = build_reconstructor(settings, where) if needed else None
    scenes_on = where if settings.reconstructor == "da3" else "cpu"
    return RewardComposer(rewards, settings.weights, reconstructor, scenes_on)


def build_reconstructor(settings: RewardSettings, device: torch.device | str = "cpu") -> Reconstructor:
    """The reconstructor that a recipe names; raises as `build_composer`."""
    if settings.reconstructor == "stereo":
        from worldr1.reconstruction.stereo import StereoReconstructor

        return StereoReconstructor()
    from worldr1.reconstruction.depth_anything import DepthAnythingReconstructor

    where = torch.device(device)
    da3 = settings.da3
    return DepthAnythingReconstructor.from_pretrained(
        str(place_of(da3.weights, da3.revision)),
        device=where,
        dtype=_dtype(where),
        process_res=da3.process_res,
        ref_view_strategy=da3.ref_view_strategy,
        splat_frames=da3.splat_frames,
    )


def build_server_judge(settings: JudgeSettings) -> OpenAIJudge:
    """The judge behind a server, which is not asked yet.

    Raises:
        FileNotFoundError: there is no token file.
        ValueError: the URL is no address, or the token cannot be sent.
    """
    from worldr1.rewards.openai_judge import OpenAIJudge

    return OpenAIJudge(settings.url, settings.weights, token=_token(settings.token_file))


def critics_folder(settings: RewardSettings) -> Path:
    """Where the shipped or named tiny critics lie."""
    if settings.critics != "tiny":
        return Path(settings.critics)
    from worldr1.tinyworld.critic import critics_dir

    return critics_dir()


def _meta(settings: RewardSettings, device: torch.device) -> Reward:
    sideways, raised = (math.radians(angle) for angle in (settings.meta_view.sideways, settings.meta_view.raised))
    judge = settings.judge
    if judge.name == "tiny":
        from worldr1.rewards.meta import MetaReward

        return MetaReward.from_directory(critics_folder(settings), sideways, raised)
    from worldr1.rewards.vision_meta import VisionMetaReward

    if judge.name == "server":
        return VisionMetaReward(build_server_judge(judge), sideways, raised)
    from worldr1.rewards.qwen_judge import QwenJudge

    place = place_of(judge.weights, judge.revision)
    local = QwenJudge.from_pretrained(str(place), device=device, dtype=_dtype(device))
    return VisionMetaReward(local, sideways, raised)


def _recon(settings: RewardSettings, device: torch.device) -> Reward:
    if settings.recon_from == "gaussians":
        from worldr1.rewards.rerender import RerenderReward

        return RerenderReward(device=device)
    from worldr1.rewards.lpips import Lpips
    from worldr1.rewards.recon import ReconReward

    return ReconReward(
        Lpips().to(device),
        sharpness=settings.sharpness,
        pixels=settings.pixels,
        points=settings.points,
        leave_moving=settings.moving == "left-out",
    )


def _traj(settings: RewardSettings, device: torch.device) -> Reward:
    from worldr1.rewards.traj import TrajReward

    return TrajReward(segments=settings.traj_segments, metres=settings.traj_metres, form=settings.traj_form)


def _general(settings: RewardSettings, device: torch.device) -> Reward:
    preference, frames = settings.preference, settings.general_frames
    if preference.name == "tiny":
        from worldr1.rewards.general import GeneralReward

        return GeneralReward.from_directory(critics_folder(settings), frames)
    from worldr1.rewards.hpsv3 import HPSv3Reward

    place = place_of(preference.weights, preference.revision)
    return HPSv3Reward.from_pretrained(str(place), device=device, dtype=_dtype(device), frames=frames)


def _token(file: str | None) -> str | None:
    if file is None:
        return None
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"no token file {path}; write the server's access token into it")
    return path.read_text(encoding="utf-8").strip()


def _dtype(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if device.type == "cuda" else torch.float32
