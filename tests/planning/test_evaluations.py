"""Network evaluations: counted by hooks, against the counts that anybody makes by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tiny_pipeline_parts import build_tiny_cogvideox, with_two_experts
from worldr1.planning.evaluations import Evaluations, Preserved, count_evaluations
from worldr1.recipes import Recipe, load_recipe
from worldr1.rewards.types import Sample, Scores
from worldr1.rl.assemble import build_objective
from worldr1.rl.assemble_policy import wrap
from worldr1.rl.batch import TrainingPrompts
from worldr1.rl.run import RunDirectory
from worldr1.rl.trainer import Parts, Trainer


def _recipe(
    steps: int, guidance: float, objective: dict[str, Any], checkpointing: bool = True, window: int = 1
) -> Recipe:
    return Recipe.model_validate(
        {
            "model": {"gradient_checkpointing": checkpointing, "rank": 2, "alpha": 2},
            "sampling": {"steps": steps, "guidance": guidance, "window": window, "window_range": [0, steps - 1]},
            "objective": objective,
        }
    )


@pytest.mark.parametrize(
    ("recipe", "rollout", "forward", "reference", "total"),
    [
        (_recipe(50, 5.0, {"name": "grpo", "grpo": {"kl": 0.01}}, window=24), 100, 48, 48, 340),  # World-R1's release
        (_recipe(20, 5.0, {"name": "grpo"}, window=2), 40, 4, 0, 56),
        (_recipe(10, 1.0, {"name": "grpo"}, window=3), 10, 3, 0, 22),
        (_recipe(20, 1.0, {"name": "nft", "nft": {"times": 4, "penalty": 0.0}}), 20, 4, 4, 40),
        (_recipe(20, 1.0, {"name": "nft", "nft": {"times": 4}}, checkpointing=False), 20, 4, 8, 40),
    ],
)
def test_counts_are_those_made_by_hand(recipe: Recipe, rollout: int, forward: int, reference: int, total: int) -> None:
    seen = count_evaluations(recipe)
    recompute = forward if recipe.model.gradient_checkpointing else 0
    assert seen == Evaluations(rollout, forward, reference, forward, recompute)
    assert seen.total == total


def test_a_shared_prefix_is_counted_once_for_its_group() -> None:
    """By hand: over all places of the window, what comes before it divided by the group's size."""
    recipe = _recipe(20, 5.0, {"name": "grpo"}, window=2)
    sampling = recipe.sampling.model_copy(update={"shared_prefix": True})
    made = count_evaluations(recipe.model_copy(update={"sampling": sampling})).rollout
    places = range(recipe.sampling.window_range[1] - 2 + 1)
    each = [2 * (place / recipe.schedule.group_size + 20 - place) for place in places]
    assert made == pytest.approx(sum(each) / len(each))


@pytest.mark.parametrize("name", ["world-r1-small", "world-r1-large"])
def test_recipes_of_real_models_are_cheap(name: str) -> None:
    assert count_evaluations(load_recipe(name)).total <= 60


def test_the_paper_s_recipe_keeps_its_50_guided_steps() -> None:
    assert count_evaluations(load_recipe("world-r1-paper")).rollout == 100


class _Counter:
    """Videos that went through the first blocks of networks, and back: a pass back counts as two."""

    def __init__(self) -> None:
        self.videos = 0

    @contextmanager
    def on(self, blocks: Sequence[torch.nn.Module]) -> Iterator[None]:
        handles = [block.register_forward_pre_hook(self._enter, with_kwargs=True) for block in blocks]
        handles += [block.register_forward_hook(self._leave) for block in blocks]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, _: torch.nn.Module, arguments: tuple[Tensor, ...], named: dict[str, Tensor]) -> None:
        self.videos += len(arguments[0] if arguments else named["hidden_states"])

    def _leave(self, _: torch.nn.Module, __: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output
        if states.requires_grad:
            states.register_hook(self._back)

    def _back(self, gradient: Tensor) -> None:
        self.videos += 2 * len(gradient)


def _reward(samples: Sequence[Sample], use_3d: bool = True) -> Scores:
    total = torch.stack([sample.video.mean() for sample in samples]).double()
    return Scores({"general": total}, total)


GRPO = {"name": "grpo", "grpo": {"kl": 0.01, "updates": 2, "epochs": 2, "guard": True}}
NFT = {"name": "nft", "nft": {"times": 2, "updates": 3}}


@pytest.mark.parametrize(
    ("family", "objective", "guidance", "checkpointing", "micro_batch"),
    [
        ("wan", NFT, 1.0, True, 1),
        ("wan", GRPO, 3.0, False, None),
        ("experts", GRPO, 2.0, False, 1),
        ("cogvideox", NFT, 1.0, False, 3),
    ],
)
def test_a_run_with_preservation_takes_what_the_plan_counts(
    family: str,
    objective: dict[str, Any],
    guidance: float,
    checkpointing: bool,
    micro_batch: int | None,
    tiny_pipeline: Any,
    tmp_path: Path,
) -> None:
    """A whole run of two steps by the trainer, every evaluation seen by hooks on real networks of each family."""
    recipe = Recipe.model_validate(
        {
            "model": {"gradient_checkpointing": checkpointing, "rank": 2, "alpha": 2, "max_tokens": 16},
            "clip": {"frames": 9, "height": 32, "width": 32},
            "sampling": {
                "steps": 3,
                "window": 1,
                "window_range": [0, 2],
                "guidance": guidance,
                "guidance_2": 1.5 if family == "experts" else None,
                "micro_batch": micro_batch,
            },
            "objective": objective,
            "schedule": {"groups": 2, "group_size": 2, "total_steps": 2, "main_steps": 2, "dynamic_steps": 0},
            "preserve": {"weight": 0.1, "samples": 5, "per_step": 3},
            "evaluation": {"prompts": 0},
        }
    )
    dynamic = ["a red ball bouncing", "a blue box falling", "a cone sliding", "a green box spinning"]
    pipeline = {
        "wan": lambda: tiny_pipeline,
        "experts": lambda: with_two_experts(tiny_pipeline, 0.8),
        "cogvideox": build_tiny_cogvideox,
    }[family]()
    policy = wrap(pipeline, recipe)
    networks = [pipeline.transformer, *([pipeline.transformer_2] if family == "experts" else [])]
    prompts = TrainingPrompts(["camera push in. a red box", "camera fixed. a cone"], dynamic)
    run, counter = RunDirectory(tmp_path / "run"), _Counter()
    run.root.mkdir()
    with counter.on([getattr(network, policy.blocks)[0] for network in networks]):
        Trainer(recipe, Parts(policy, build_objective(recipe, policy), _reward, prompts, []), run).fit()
    planned = count_evaluations(recipe, Preserved.of(recipe, len(dynamic)))
    assert planned.preserve_update > 0
    assert planned.preserve_sampling == pytest.approx(4 * 3 * (1 if guidance == 1.0 else 2) / 8)
    videos = recipe.schedule.total_steps * recipe.schedule.groups * recipe.schedule.group_size
    assert counter.videos == pytest.approx(planned.total * videos)


def test_nothing_is_preserved_without_a_weight() -> None:
    recipe = _recipe(4, 1.0, {"name": "nft"})
    assert Preserved.of(recipe) is None
    assert count_evaluations(recipe).preserve_update == 0.0
