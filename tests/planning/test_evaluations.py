"""Network evaluations: counted by hooks, against the counts that anybody makes by hand."""

from __future__ import annotations

from typing import Any

import pytest

from worldr1.planning.evaluations import Evaluations, count_evaluations
from worldr1.recipes import Recipe, load_recipe


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


@pytest.mark.parametrize("name", ["world-r1-small", "world-r1-large"])
def test_recipes_of_real_models_are_cheap(name: str) -> None:
    assert count_evaluations(load_recipe(name)).total <= 60


def test_the_paper_s_recipe_keeps_its_50_guided_steps() -> None:
    assert count_evaluations(load_recipe("world-r1-paper")).rollout == 100
