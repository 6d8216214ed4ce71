"""The variants: each changes what it says and nothing else; the same recipe is never trained twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from worldr1.ablation.plan import plan_runs, prompts_drawn
from worldr1.ablation.variants import Variant, choose, load_variants
from worldr1.recipes import Recipe, load_recipe, recipe_names
from worldr1.rl.launch import changes

CHANGES = {
    "full": [],
    "no-meta": ["reward.meta"],
    "no-recon": ["reward.recon"],
    "no-traj": ["reward.traj"],
    "no-wrapping": ["noise.strength"],
    "no-periodic": ["schedule.dynamic_steps"],
    "no-3d": ["reward.meta", "reward.recon", "reward.traj"],
    "no-general": ["reward.general"],
    "sequential": ["noise.law"],
    "no-preserve": ["preserve.weight"],
    "prompts-1of3": ["prompts.count"],
    "prompts-2of3": ["prompts.count"],
    "prompts-all": [],
    "nft": [],
    "grpo": ["objective.name"],
}


def test_each_variant_changes_what_it_says_and_nothing_else() -> None:
    recipe = load_recipe("tiny")
    assert {v.name: changes(recipe, v.applied(recipe)) for v in load_variants()} == CHANGES


def test_thirds_of_the_prompts() -> None:
    recipe = load_recipe("tiny")
    counts = {v.name: v.applied(recipe).prompts.count for v in load_variants() if v.name.startswith("prompts")}
    assert counts == {"prompts-1of3": 1000, "prompts-2of3": 2000, "prompts-all": 3000}


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_takes_every_variant(name: str) -> None:
    recipe = load_recipe(name)
    for variant in load_variants():
        changed = variant.applied(recipe)
        assert changed.reward.weights, variant.name
        dynamic_alone = {key for key in changed.reward.weights if key == "general"}
        assert dynamic_alone or not changed.schedule.dynamic_steps or not recipe.reward.general, variant.name


def test_the_paper_s_table_is_told_right() -> None:
    """Sums over the eight rows of the paper's ablation table, added from its source."""
    rows = [v for v in load_variants() if "vbench" in v.paper]
    assert len(rows) == 8
    sums = {name: sum(row.paper[name] for row in rows) for name in ("psnr", "ssim", "lpips", "vbench")}
    assert sums == pytest.approx({"psnr": 204.80, "ssim": 6.320, "lpips": 2.119, "vbench": 665.19}, abs=1e-6)


def test_choosing_keeps_the_full_method_and_the_order() -> None:
    assert [v.name for v in choose(load_variants(), ["grpo", "no-traj"])] == ["full", "no-traj", "grpo"]
    assert choose(load_variants(), []) == load_variants()
    with pytest.raises(ValueError, match="did you mean 'no-traj'"):
        choose(load_variants(), ["no-trj"])


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"reward.metta": 0.0}, "'reward.metta', which is no setting"),
        ({"reward": 1}, "does not fit recipe tiny: reward"),
        ({"schedule.group_size": 1}, "does not fit recipe tiny: schedule.group_size"),
    ],
)
def test_a_wrong_override_is_told(overrides: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Variant("bad", "bad", overrides).applied(load_recipe("tiny"))


def test_the_same_recipe_shares_its_runs(tmp_path: Path) -> None:
    runs = plan_runs(load_recipe("tiny"), load_variants(), (4, 7), 30, tmp_path)
    assert len(runs) == 2 * len(CHANGES)
    assert [run.seed for run in runs] == [4] * len(CHANGES) + [7] * len(CHANGES)
    roots = {(run.variant.name, run.seed): run.root for run in runs}
    assert roots["prompts-all", 7] == roots["nft", 7] == roots["full", 7] == tmp_path / "full" / "seed-7"
    assert len(set(roots.values())) == 2 * (len(CHANGES) - 2)
    assert all((run.recipe.seed, run.recipe.schedule.total_steps) == (run.seed, 30) for run in runs)


@pytest.mark.parametrize(("seeds", "steps"), [((), None), ((1, 1), None), ((-1,), None), ((0,), 0)])
def test_a_wrong_plan_is_told(seeds: tuple[int, ...], steps: int | None, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="an ablation needs"):
        plan_runs(load_recipe("tiny"), load_variants(), seeds, steps, tmp_path)


@pytest.mark.parametrize(("steps", "drawn"), [(3, 6), (5, 6), (7, 10), (10, 12)])
def test_prompts_that_a_run_draws(steps: int, drawn: int) -> None:
    """Main steps of cycles of three main and two dynamic ones, two prompts each."""
    schedule = {"total_steps": steps, "main_steps": 3, "dynamic_steps": 2, "groups": 2}
    assert prompts_drawn(Recipe.model_validate({"schedule": schedule})) == drawn
