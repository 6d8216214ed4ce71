"""What keeps a run from starting here, of all that can be told without loading weights: the dry run and `train` ask."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from worldr1.recipes.reward import RewardSettings
from worldr1.recipes.settings import Recipe
from worldr1.recipes.weights import Weights, examine, missing_sentence, required_weights
from worldr1.reconstruction.da3_loading import INSTALL, missing_modules, variant_of_weights
from worldr1.reconstruction.da3_variants import VARIANTS, Variant

Kind = Literal["weights", "packages", "reward", "memory"]
_ERRORS: dict[Kind, type[Exception]] = {"weights": FileNotFoundError, "packages": ImportError}
_POLICY = ("diffusers", "transformers", "peft", "accelerate", "ftfy")
_3D = frozenset({"meta", "recon", "traj"})


@dataclass(frozen=True)
class Obstacle:
    """One reason why a run cannot start: its kind, and a sentence that names the mend."""

    kind: Kind
    sentence: str


def obstacles(recipe: Recipe, on_gpu: bool, weights: Sequence[Weights] | None = None) -> list[Obstacle]:
    """Weights, packages and settings of the reward that are missing or wrong; memory is the plan's (`planning.budget`).

    Args:
        recipe: the recipe.
        on_gpu: whether the run will use a GPU.
        weights: what the recipe needs, where that has been looked for already.
    """
    weights = required_weights(recipe) if weights is None else weights
    missing = [one for one in weights if one.place is None]
    found = [Obstacle("weights", missing_sentence(missing))] if missing else []
    found += [Obstacle("packages", sentence) for sentence in _packages(recipe, on_gpu)]
    return found + [Obstacle("reward", sentence) for sentence in _reward(recipe.reward)]


def refuse(found: Sequence[Obstacle]) -> None:
    """Raise what is in the way, all of it in one sentence.

    Raises:
        FileNotFoundError: weights are missing, whatever else is.
        ImportError: packages are.
        ValueError: anything else is wrong.
    """
    if found:
        raise _ERRORS.get(found[0].kind, ValueError)("; ".join(one.sentence for one in found))


def _packages(recipe: Recipe, on_gpu: bool) -> Iterator[str]:
    reward = recipe.reward
    lacking = _absent(_POLICY)
    if lacking:
        yield _needs("the policy", lacking, f"pip install {' '.join(lacking)}")
    if recipe.pool.kind == "ray":  # whose workers have their own packages
        if _absent(["ray"]):
            yield _needs("pool.kind ray", ["ray"], "pip install 'worldr1[ray]'")
        return
    if _uses_depth_anything(reward):
        try:
            variant = _variant(reward)
        except (ValueError, OSError):
            variant = None
        lacking = missing_modules(gaussians=variant is not None and variant.gaussians)
        if lacking:
            yield _needs("Depth Anything 3", lacking, INSTALL)
    if on_gpu and _draws_splats(reward) and _absent(["gsplat"]):
        yield _needs("drawing Gaussians on the GPU", ["gsplat"], "pip install 'worldr1[cuda]'")
    scorers = [name for name, used in (("Qwen3-VL", _uses_qwen(reward)), ("HPSv3", _uses_hpsv3(reward))) if used]
    if scorers and not _absent(["transformers"]):
        version = importlib.metadata.version("transformers")
        if int(version.partition(".")[0]) < 5:
            yield _needs(" and ".join(scorers), [f"transformers 5, not {version}"], "pip install -U 'transformers>=5'")


def _needs(what: str, lacking: Sequence[str], command: str) -> str:
    return f"{what} needs {', '.join(lacking)}; install with: {command}"


def _absent(modules: Sequence[str]) -> list[str]:
    return [module for module in modules if importlib.util.find_spec(module) is None]


def _reward(reward: RewardSettings) -> Iterator[str]:
    """What the reward's builders would refuse, by the same code, before anything is loaded."""
    checks: Sequence[Callable[[RewardSettings], object]] = (_depth_anything, _judge, _preference, _critics)
    for check in checks:
        try:
            check(reward)
        except (ValueError, OSError, ImportError) as error:
            yield str(error)


def _depth_anything(reward: RewardSettings) -> None:
    if not _uses_depth_anything(reward):
        return
    variant = _variant(reward)
    if reward.traj_metres is not None and "traj" in reward.weights and variant is not None and not variant.metric:
        able = ", ".join(v.name for v in VARIANTS if v.metric and v.cameras and v.superseded_by is None)
        raise ValueError(
            f"reward.traj_metres asks for metres, which {variant.name} does not see; use {able}, or leave it out"
        )


def _judge(reward: RewardSettings) -> None:
    if "meta" not in reward.weights:
        return
    if reward.judge.name == "server":
        from worldr1.rewards.registry import build_server_judge

        build_server_judge(reward.judge)
    place = examine("judge", reward.judge.weights, reward.judge.revision).place if _uses_qwen(reward) else None
    if place is not None:
        from worldr1.rewards.qwen_judge import require_qwen3_vl
        from worldr1.rewards.vision_inputs import model_source

        source = model_source(place, "The S_meta judge")
        config = json.loads((place / "config.json").read_text(encoding="utf-8"))
        require_qwen3_vl(str(config.get("model_type", "nameless")), source)


def _preference(reward: RewardSettings) -> None:
    place = examine("", reward.preference.weights, reward.preference.revision).place if _uses_hpsv3(reward) else None
    if place is not None:
        from worldr1.rewards.hpsv3 import checkpoint_file

        checkpoint_file(place)


def _critics(reward: RewardSettings) -> None:
    from worldr1.rewards.registry import critics_folder
    from worldr1.tinyworld.critic import load_critic

    for component, judged_by in (("meta", reward.judge.name), ("general", reward.preference.name)):
        if component in reward.weights and judged_by == "tiny":
            with torch.random.fork_rng(devices=[]):
                load_critic(critics_folder(reward) / f"{component}.safetensors")


def _variant(reward: RewardSettings) -> Variant | None:
    return variant_of_weights(
        reward.da3.weights, examine("reconstructor", reward.da3.weights, reward.da3.revision).place
    )


def _uses_depth_anything(reward: RewardSettings) -> bool:
    return reward.reconstructor == "da3" and not _3D.isdisjoint(reward.weights)


def _draws_splats(reward: RewardSettings) -> bool:
    """Whether Gaussians that lie on the GPU are drawn: those of Depth Anything 3, or by the paper's S_recon."""
    meta = "meta" in reward.weights and _uses_depth_anything(reward)
    return meta or ("recon" in reward.weights and reward.recon_from == "gaussians")


def _uses_qwen(reward: RewardSettings) -> bool:
    return reward.judge.name == "qwen3-vl" and "meta" in reward.weights


def _uses_hpsv3(reward: RewardSettings) -> bool:
    return reward.preference.name == "hpsv3" and "general" in reward.weights
