"""From a recipe to its parts: every setting reaches the part that it is for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from toy import ToyPolicy

from worldr1.recipes import Recipe
from worldr1.rewards.compose import InBatches, RewardComposer
from worldr1.rl import assemble
from worldr1.rl.assemble import build_objective, build_scorer, held_out, training_prompts
from worldr1.rl.batch import TrainingPrompts
from worldr1.rl.grpo import FlowGRPO, GRPOSettings
from worldr1.rl.nft import DiffusionNFT, NFTSettings

SAMPLING = {"steps": 7, "window": 3, "window_range": [1, 6], "eta": 0.3, "law": "cps", "micro_batch": 2}


def test_grpo_gets_what_the_recipe_says() -> None:
    settings = {"clip": 0.1, "kl": 0.2, "epochs": 3, "updates": 4}
    recipe = Recipe.model_validate({"sampling": SAMPLING, "objective": {"name": "grpo", "grpo": settings}})
    objective = build_objective(recipe, ToyPolicy())
    assert isinstance(objective, FlowGRPO)
    expected = GRPOSettings(7, 3, (1, 6), 0.3, "cps", 0.1, 0.2, 3, 4, 2, objective.settings.seed)
    assert objective.settings == expected


def test_the_window_s_place_depends_on_the_run_s_seed() -> None:
    starts = []
    for seed in (0, 1):
        recipe = Recipe.model_validate({"seed": seed, "sampling": SAMPLING, "objective": {"name": "grpo"}})
        objective = build_objective(recipe, ToyPolicy())
        assert isinstance(objective, FlowGRPO)
        starts.append([objective.window(step)[0] for step in range(30)])
    assert starts[0] != starts[1]
    assert set(starts[0]) == {1, 2, 3}


def test_nft_gets_what_the_recipe_says() -> None:
    settings = {
        "beta": 0.5,
        "penalty": 0.2,
        "times": 3,
        "time_range": [0.1, 0.9],
        "old_decay_rate": 0.01,
        "old_decay_limit": 0.4,
        "updates": 2,
    }
    recipe = Recipe.model_validate(
        {"sampling": SAMPLING, "advantage": {"bound": 2.0}, "objective": {"name": "nft", "nft": settings}}
    )
    objective = build_objective(recipe, ToyPolicy())
    assert isinstance(objective, DiffusionNFT)
    assert objective.settings == NFTSettings(7, 3, (0.1, 0.9), 0.5, 2.0, 0.2, 0.01, 0.4, 2, 2)


def test_prompts_of_training_and_evaluation_share_no_scene() -> None:
    recipe = Recipe.model_validate({"prompts": {"count": 120}, "evaluation": {"prompts": 30}})
    prompts, evaluation = training_prompts(recipe), held_out(recipe)
    assert (len(prompts.main), len(prompts.dynamic), len(evaluation)) == (120, 20, 30)
    trained = {prompt.split(". ", 1)[1] for prompt in [*prompts.main, *prompts.dynamic]}
    assert not trained & {prompt.split(". ", 1)[1] for prompt in evaluation}


def test_prompts_can_come_from_files(tmp_path: Path) -> None:
    for name in ("main", "dynamic", "test"):
        (tmp_path / f"{name}.txt").write_text(f"{name} one\n{name} two\n")
    recipe = Recipe.model_validate(
        {
            "prompts": {"main": str(tmp_path / "main.txt"), "dynamic": str(tmp_path / "dynamic.txt")},
            "evaluation": {"source": str(tmp_path / "test.txt"), "prompts": 1},
        }
    )
    assert training_prompts(recipe).main == ["main one", "main two"]
    assert training_prompts(recipe).dynamic == ["dynamic one", "dynamic two"]
    assert held_out(recipe) == ["test one"]


def test_held_out_prompts_that_are_trained_on_are_told(caplog: pytest.LogCaptureFixture) -> None:
    prompts = TrainingPrompts(main=["Camera fixed. a box"], dynamic=["a sphere bouncing"])
    with caplog.at_level("WARNING", logger=assemble.__name__):
        assemble._warn_of_leaks(prompts, ["a cone"])
        assert not caplog.messages
        assemble._warn_of_leaks(prompts, ["a cone", "camera  fixed. a box"])
    assert "1 of 2 held-out prompts" in caplog.text


def test_evaluation_can_be_turned_off() -> None:
    assert held_out(Recipe.model_validate({"evaluation": {"prompts": 0, "source": "no-such-file.txt"}})) == []


def test_the_reward_is_computed_where_the_pool_says(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap = {"meta": 0.0, "recon": 0.0, "traj": 0.0}
    assert isinstance(build_scorer(Recipe.model_validate({"reward": cheap})), RewardComposer)
    assert isinstance(build_scorer(Recipe.model_validate({"reward": cheap, "pool": {"batch": 2}})), InBatches)
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "worldr1.rewards.pool.ray_workers", raising=False)
    with pytest.raises(ImportError, match=r"pip install \"worldr1\[ray\]\""):
        build_scorer(Recipe.model_validate({"reward": cheap, "pool": {"kind": "ray", "batch": 2}}))
