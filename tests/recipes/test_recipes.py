"""Recipes: what is read is what was written, and what is wrong is told in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import tyro
from pydantic import ValidationError

from worldr1.data.prompts import read_prompts
from worldr1.data.promptset import shipped_path
from worldr1.recipes import Recipe, load_recipe, recipe_names, save_recipe
from worldr1.recipes.reward import RewardSettings
from worldr1.recipes.settings import ClipSettings
from worldr1.reconstruction.da3_variants import variant_of
from worldr1.rl.assemble import held_out, training_prompts


@pytest.mark.parametrize("name", recipe_names())
def test_shipped_recipes_survive_a_round_trip(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    save_recipe(recipe, tmp_path / "copy.yaml")
    assert recipe.name == name
    assert load_recipe(tmp_path / "copy.yaml") == recipe


@pytest.mark.parametrize("name", ["world-r1-small", "world-r1-large", "world-r1-paper"])
def test_recipes_of_real_models_train_and_evaluate_on_the_shipped_prompts(name: str) -> None:
    recipe = load_recipe(name)
    training, evaluation = training_prompts(recipe), held_out(recipe)
    assert (len(training.main), len(training.dynamic)) == (3000, 500)
    assert training.main == read_prompts(shipped_path("train"))
    assert training.dynamic == read_prompts(shipped_path("dynamic"))
    assert evaluation == read_prompts(shipped_path("test"))[: recipe.evaluation.prompts]
    assert not set(evaluation) & {*training.main, *training.dynamic}


def test_the_paper_s_recipe_keeps_its_settings_to_the_letter() -> None:
    """As arXiv 2604.24764 tells them: 832x480, 81 frames, 50 steps, guidance 5, LoRA 32/64 on attention, 48 x G = 8."""
    recipe = load_recipe("world-r1-paper")
    model, sampling, reward, schedule = recipe.model, recipe.sampling, recipe.reward, recipe.schedule
    assert (recipe.clip.width, recipe.clip.height, recipe.clip.frames) == (832, 480, 81)
    assert (sampling.steps, sampling.guidance, sampling.eta, sampling.law) == (50, 5.0, 0.7, "sde")
    assert sampling.window in (1, 2)
    assert 0 < sampling.window_range[0] < sampling.window_range[1] < 50  # intermediate steps
    assert (model.path, model.adapter) == ("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "lora")
    assert (model.rank, model.alpha, model.targets) == (32, 64, ("to_q", "to_k", "to_v", "to_out.0"))
    assert (schedule.groups, schedule.group_size, schedule.main_steps, schedule.dynamic_steps) == (48, 8, 100, 50)
    assert recipe.objective.name == "grpo"
    assert recipe.objective.grpo.kl > 0
    assert not recipe.objective.grpo.guard
    assert reward.weights == {"meta": 1.0, "recon": 1.0, "traj": 1.0, "general": 1.0}
    assert (reward.normalise, reward.pixels, reward.points, reward.moving) == ("none", 0.0, 0.0, "counted")
    assert (reward.recon_from, reward.traj_form) == ("gaussians", "absolute")  # the paper's own formulas
    assert (reward.traj_segments, reward.traj_metres) == (1, None)
    assert (reward.reconstructor, reward.judge.name, reward.preference.name) == ("da3", "qwen3-vl", "hpsv3")
    assert variant_of(reward.da3.weights).gaussians
    assert reward.da3.splat_frames == recipe.clip.frames  # Phi is of the whole video
    assert (recipe.noise.strength, recipe.advantage.scale, recipe.preserve.weight) == (1.0, "group", 0.0)
    assert recipe.prompts.count == 3000


@pytest.mark.parametrize("name", ["tiny", "tiny-long", "world-r1-small", "world-r1-large"])
def test_all_other_recipes_keep_our_formulas(name: str) -> None:
    reward = load_recipe(name).reward
    assert (reward.recon_from, reward.traj_form, reward.da3.splat_frames) == ("frames", "relative", 8)


def test_the_round_trip_keeps_values_that_are_no_defaults(tmp_path: Path) -> None:
    recipe = Recipe.model_validate(
        {"seed": 3, "schedule": {"max_minutes": 1.5}, "model": {"targets": ["a"]}, "sampling": {"window_range": [1, 4]}}
    )
    save_recipe(recipe, tmp_path / "copy.yaml")
    assert load_recipe(tmp_path / "copy.yaml") == recipe


def test_a_dynamic_phase_without_a_reward_is_refused_before_it_begins() -> None:
    schedule = {"total_steps": 20, "main_steps": 10, "dynamic_steps": 5}
    with pytest.raises(ValidationError, match="the dynamic phase has no other reward"):
        Recipe.model_validate({"reward": {"general": 0.0}, "schedule": schedule})
    for allowed in ({"dynamic_steps": 0}, {"total_steps": 10}):
        Recipe.model_validate({"reward": {"general": 0.0}, "schedule": {**schedule, **allowed}})
    Recipe.model_validate({"reward": {"general": 0.01}, "schedule": schedule})


def test_an_unknown_key_is_answered_with_the_nearest_and_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("schedule: {totl_steps: 3}\n")
    with pytest.raises(ValueError, match=r"mine\.yaml: schedule: unknown key 'totl_steps'; did you mean 'total_steps'"):
        load_recipe(path)


def test_a_wrong_value_is_told_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("optimiser: {lr: -1}\n")
    with pytest.raises(ValueError, match=r"mine\.yaml: optimiser\.lr: .*greater than 0"):
        load_recipe(path)


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n"])
def test_a_file_that_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="a recipe is a mapping"):
        load_recipe(path)


def test_broken_yaml_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("schedule: {total_steps: [\n")
    with pytest.raises(ValueError, match="not valid YAML") as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(FileNotFoundError, match="did you mean 'tiny'"):
        load_recipe("tinny")


@pytest.mark.parametrize(("frames", "height"), [(16, 64), (17, 60)])
def test_clips_that_no_vae_takes_are_refused(frames: int, height: int) -> None:
    with pytest.raises(ValidationError, match="must be"):
        ClipSettings(frames=frames, height=height)


@pytest.mark.parametrize(("window", "bounds"), [(3, (0, 2)), (1, (2, 2)), (1, (0, 11))])
def test_windows_that_do_not_fit_are_refused(window: int, bounds: tuple[int, int]) -> None:
    sampling = {"steps": 10, "window": window, "window_range": bounds}
    with pytest.raises(ValidationError, match=r"sampling\.window"):
        Recipe.model_validate({"objective": {"name": "grpo"}, "sampling": sampling})
    Recipe.model_validate({"objective": {"name": "nft"}, "sampling": sampling})  # which has no window


def test_more_segments_than_steps_and_frames_below_a_patch_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"traj_segments is 17; a clip of 17 frames has no more than 16"):
        Recipe.model_validate({"reward": {"traj_segments": 17}})
    assert Recipe.model_validate({"reward": {"traj_segments": 16}}).reward.traj_segments == 16
    with pytest.raises(ValidationError, match=r"process_res"):
        Recipe.model_validate({"reward": {"da3": {"process_res": 13}}})


def test_own_velocities_are_kept_without_guidance_only() -> None:
    guided = {"sampling": {"guidance": 5.0}, "objective": {"name": "grpo"}}
    kept = {"weight": 0.2, "own": 0.5}
    with pytest.raises(ValidationError, match=r"preserve\.own is 0\.5, but a guided .* set it to 0, or"):
        Recipe.model_validate({**guided, "preserve": kept})
    assert Recipe.model_validate({**guided, "preserve": {**kept, "own": 0.0}}).preserve.weight == 0.2


def test_nft_refuses_guidance() -> None:
    guided = {"sampling": {"guidance": 5.0}}
    with pytest.raises(ValidationError, match=r"sampling\.guidance is 5, but 'nft' learns without .* set it to 1, or"):
        Recipe.model_validate(guided)
    assert Recipe.model_validate({**guided, "objective": {"name": "grpo"}}).sampling.guidance == 5.0


def test_a_shared_prefix_needs_a_window() -> None:
    shared = {"sampling": {"shared_prefix": True}}
    with pytest.raises(ValidationError, match=r"sampling\.shared_prefix would make all videos of a group the same"):
        Recipe.model_validate(shared)
    assert Recipe.model_validate({**shared, "objective": {"name": "grpo"}}).sampling.shared_prefix


def test_recipes_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError):
        Recipe().seed = 1  # type: ignore[misc]


def test_a_component_without_weight_is_left_out() -> None:
    assert RewardSettings(meta=0.0, general=0.5).weights == {"recon": 1.0, "traj": 1.0, "general": 0.5}


def test_every_field_can_be_overridden_on_the_command_line() -> None:
    words = ["--schedule.total-steps", "7", "--objective.name", "grpo", "--sampling.window-range", "1", "4"]
    recipe = tyro.cli(Recipe, default=load_recipe("tiny"), args=words)
    expected = load_recipe("tiny").model_dump()
    expected["schedule"]["total_steps"], expected["objective"]["name"] = 7, "grpo"
    expected["sampling"]["window_range"] = (1, 4)
    assert recipe.model_dump() == expected


@pytest.mark.parametrize(
    ("pool", "told"),
    [
        ({"kind": "ray"}, "needs batch"),
        ({"workers": [3, 2]}, "least number first"),
        ({"apart": [{"reward": "meta"}, {"reward": "meta"}]}, "names a reward twice: meta, meta"),
        ({"apart": [{"reward": "metta"}]}, "meta"),
        ({"worker": [1, 2]}, "did you mean 'workers'"),
    ],
)
def test_a_pool_that_cannot_be_is_told(pool: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Recipe.model_validate({"pool": pool})


def test_a_pool_survives_the_round_trip_with_its_environments(tmp_path: Path) -> None:
    apart = [{"reward": "general", "gpus": 0.25, "environment": {"pip": ["a==1"], "env_vars": {"B": "c"}}}]
    recipe = Recipe.model_validate({"pool": {"kind": "ray", "batch": 4, "workers": [1, 8], "apart": apart}})
    save_recipe(recipe, tmp_path / "copy.yaml")
    assert load_recipe(tmp_path / "copy.yaml") == recipe
    assert recipe.pool.apart[0].environment["env_vars"] == {"B": "c"}
