"""The dry run's figures against what is known of the models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from worldr1.planning.budget import memory_obstacles, memory_warnings
from worldr1.planning.plan import Plan, make_plan
from worldr1.planning.published import PUBLISHED
from worldr1.planning.rewards import RewardCost, reward_costs
from worldr1.planning.shapes import PipelineShape, parameters_of, shape_of
from worldr1.planning.work import measure_decode, measure_forward
from worldr1.recipes import Recipe, load_recipe
from worldr1.recipes.pool import PoolSettings
from worldr1.recipes.reward import RewardSettings
from worldr1.recipes.settings import ClipSettings, ModelSettings

GIB = 2**30


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))
        return make_plan(load_recipe("world-r1-small"))


def _wan(width: int, ffn: int, layers: int, channels: int) -> int:
    """Parameters of a Wan transformer, matrix by matrix."""
    attention, norms, table = 2 * (4 * width**2 + 4 * width), 2 * 2 * width + 2 * width, 6 * width
    block = attention + norms + table + 2 * width * ffn + ffn + width
    time = 256 * width + width**2 + 2 * width + 6 * width**2 + 6 * width
    text = 4096 * width + width**2 + 2 * width
    return layers * block + time + text + (4 * channels * width + width) + (4 * channels * (width + 1) + 2 * width)


def _cogvideox(width: int, layers: int, embedding: int = 512, patch: int = 16 * 2 * 2 * 2) -> int:
    """Parameters of a CogVideoX1.5 transformer, matrix by matrix."""
    norm, attention = embedding * 6 * width + 6 * width + 2 * width, 4 * width**2 + 4 * width + 2 * 2 * 64
    block = 2 * norm + attention + 8 * width**2 + 5 * width
    inputs = (patch + 1) * width + 4097 * width + (width + 1) * embedding + (embedding + 1) * embedding
    return layers * block + inputs + 2 * width + (embedding + 1) * 2 * width + 2 * width + (width + 1) * patch


TRANSFORMERS = {
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": _wan(1536, 8960, 30, 16),
    "Wan-AI/Wan2.1-T2V-14B-Diffusers": _wan(5120, 13824, 40, 16),
    "Wan-AI/Wan2.2-T2V-A14B-Diffusers": 2 * _wan(5120, 13824, 40, 16),
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers": _wan(3072, 14336, 30, 48),
    "zai-org/CogVideoX1.5-5B": _cogvideox(3072, 42),
    "THUDM/CogVideoX1.5-5B": _cogvideox(3072, 42),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_of_the_published_transformers(name: str) -> None:
    shape = PUBLISHED[name]
    assert shape.experts * parameters_of(shape.build_transformer()) == TRANSFORMERS[name]


def test_parameters_are_those_of_the_published_files() -> None:
    """Sizes that the hub tells: CogVideoX1.5 11.15 GB in bfloat16, its autoencoder 431 MB; Wan2.2's VAE 2.82 GB."""
    cogvideox, wan = PUBLISHED["zai-org/CogVideoX1.5-5B"], PUBLISHED["Wan-AI/Wan2.2-TI2V-5B-Diffusers"]
    assert 2 * TRANSFORMERS["zai-org/CogVideoX1.5-5B"] == pytest.approx(11.15e9, rel=0.002)
    assert 2 * parameters_of(cogvideox.build_vae()) == pytest.approx(431e6, rel=0.002)
    assert 4 * parameters_of(wan.build_vae()) == pytest.approx(2.82e9, rel=0.002)
    assert parameters_of(PUBLISHED["Wan-AI/Wan2.1-T2V-1.3B-Diffusers"].build_vae()) == 126_892_531


def test_parameters_of_the_text_encoders() -> None:
    from transformers import T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

    sizes = {"d_model": 4096, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "feed_forward_proj": "gated-gelu"}
    with torch.device("meta"):
        umt5 = parameters_of(UMT5EncoderModel(UMT5Config(vocab_size=256384, **sizes)))
        t5 = parameters_of(T5EncoderModel(T5Config(vocab_size=32128, **sizes)))
    assert [shape.text_parameters for shape in PUBLISHED.values()] == [*[umt5] * 4, *[t5] * 2]


def test_the_forward_s_work_is_that_of_its_matrices(plan: Plan) -> None:
    recipe = plan.recipe
    tokens, width, ffn, layers, text = 21 * 30 * 52, 1536, 8960, 30, 512
    linear = 2 * tokens * (6 * width**2 + 2 * width * ffn) + 2 * text * 2 * width**2
    attention = 4 * width * tokens * (tokens + text)
    adapter = 2 * 32 * 2 * width * (6 * tokens + 2 * text)
    measured = measure_forward(shape_of(recipe.model), recipe.model, recipe.clip)
    assert measured.flops == pytest.approx(layers * (linear + attention + adapter), rel=0.01)


def test_other_families_work_is_that_of_their_matrices() -> None:
    """Wan2.2-5B sees 1/4 of the pixels' tokens; CogVideoX1.5 sees text and pairs of latent frames, one led in."""
    clip, model = ClipSettings(frames=81, height=480, width=832), ModelSettings(max_tokens=226, dtype="bfloat16")
    adapter = 2 * 32 * 2  # rank 32, a multiply and an add, in and out
    tokens, text, width, ffn = 21 * 15 * 26, 226, 3072, 14336
    linear = 2 * tokens * (6 * width**2 + 2 * width * ffn) + 2 * text * 2 * width**2
    time = 2 * tokens * 6 * width**2 / 30  # its projection is of every token, before the layers
    attention = 4 * width * tokens * (tokens + text)
    by_hand = 30 * (linear + time + attention + adapter * width * (6 * tokens + 2 * text))
    measured = measure_forward(PUBLISHED["Wan-AI/Wan2.2-TI2V-5B-Diffusers"], model, clip)
    assert measured.flops == pytest.approx(by_hand, rel=0.02)

    tokens, width = 11 * 30 * 52 + 226, 3072
    block = 2 * tokens * 12 * width**2 + 4 * width * tokens**2 + adapter * width * 4 * tokens
    measured = measure_forward(PUBLISHED["zai-org/CogVideoX1.5-5B"], model, clip)
    assert measured.flops == pytest.approx(42 * block, rel=0.01)


@pytest.mark.parametrize("name", ["Wan-AI/Wan2.2-TI2V-5B-Diffusers", "zai-org/CogVideoX1.5-5B"])
def test_decoding_is_extrapolated_over_pairs_of_latent_frames(name: str) -> None:
    model, shape = ModelSettings(), PUBLISHED[name]
    short, middle, long = (
        measure_decode(shape, model, ClipSettings(frames=frames, height=64, width=64)) for frames in (25, 33, 41)
    )
    assert long.flops == pytest.approx(middle.flops + (middle.flops - short.flops))
    tiled = ModelSettings(vae_tiling=True)
    clip = ClipSettings(frames=9, height=480, width=832)
    whole, parts = measure_decode(shape, model, clip), measure_decode(shape, tiled, clip)
    assert parts.flops > whole.flops
    assert parts.peak < whole.peak


def test_two_experts_take_twice_the_memory_and_the_time_of_one() -> None:
    one, two = (
        make_plan(_recipe(f"Wan-AI/{name}-Diffusers", {"preserve": {"weight": 0.0}}))
        for name in ("Wan2.1-T2V-14B", "Wan2.2-T2V-A14B")
    )
    for part in ("transformer", "trained"):
        assert two.parameters[part] == 2 * one.parameters[part]
    assert two.weights_bytes["transformer"] == 2 * one.weights_bytes["transformer"] == 4 * 14_288_491_584
    assert two.seconds == one.seconds
    assert two.evaluations == one.evaluations


def test_preservation_counts_in_time_and_memory() -> None:
    """4 x 8 videos a step, 450 steps; the base samples 128 prompts by 20 steps, each update sees 16."""
    name = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
    without, kept = (make_plan(_recipe(name, {"preserve": {"weight": weight}}), 100.0) for weight in (0.0, 0.1))
    extra = 16 * (1 + 1 + 2 + 1)  # base, forward, backward twice, recompute
    assert kept.evaluations.preserve_update == pytest.approx(extra / 32)
    assert kept.evaluations.preserve_sampling == pytest.approx(128 * 20 / (32 * 450))
    forward = measure_forward(shape_of(kept.recipe.model), kept.recipe.model, kept.recipe.clip).flops / 100e12
    assert kept.seconds["update"] - without.seconds["update"] == pytest.approx(extra * forward)
    assert kept.seconds_once == {"preserve": pytest.approx(128 * 20 * forward)}
    assert without.seconds_once == {}
    stages = [{stage.name: stage for stage in plan.stages} for plan in (without, kept)]
    assert stages[1].keys() - stages[0].keys() == {"preserve"}
    assert stages[1]["preserve"].total == stages[1]["rollout"].total
    alone, beside = (stage["update"].transient for stage in stages)
    assert beside - alone == 4 * kept.parameters["trained"]  # gradients that wait; no second graph
    few = make_plan(kept.recipe, 100.0, dynamic_prompts=4)
    assert few.evaluations.preserve_update == pytest.approx(4 * 5 / 32)
    assert few.seconds_once == {"preserve": pytest.approx(4 * 20 * forward)}
    assert json.loads(json.dumps(kept.to_dict()))["network_evaluations_per_video"] == kept.evaluations.total


def test_a_second_scale_without_a_second_expert_is_told_before_anything_is_loaded() -> None:
    guided = {"sampling": {"guidance": 4.0, "guidance_2": 3.0}, "objective": {"name": "grpo"}}
    with pytest.raises(ValueError, match=r"guidance_2 guides a second expert, which .*14B-Diffusers lacks"):
        make_plan(_recipe("Wan-AI/Wan2.1-T2V-14B-Diffusers", guided))
    two = make_plan(_recipe("Wan-AI/Wan2.2-T2V-A14B-Diffusers", guided))
    assert two.evaluations.rollout == 2 * 20


def test_rewards_of_a_pool_take_no_memory_beside_the_policy(plan: Plan) -> None:
    pooled = make_plan(plan.recipe.model_copy(update={"pool": PoolSettings(kind="ray", batch=4)}))
    named, apart = ({stage.name: stage for stage in one.stages} for one in (plan, pooled))
    assert apart["rewards"].total == sum(pooled.weights_bytes.values())
    assert named["rollout"].resident - apart["rollout"].resident == sum(cost.weights for cost in plan.rewards) > 0


def _recipe(path: str, change: Mapping[str, Mapping[str, object]]) -> Recipe:
    """`world-r1-small` of another model, in a small clip."""
    content = load_recipe("world-r1-small").model_dump()
    content["clip"] = {"frames": 17, "height": 64, "width": 64}
    content["model"]["path"] = path
    for section, values in change.items():
        content[section] |= values
    return Recipe.model_validate(content)


def test_a_plan_is_json_and_names_what_to_get(plan: Plan) -> None:
    document = json.loads(json.dumps(plan.to_dict()))
    assert document["network_evaluations_per_video"] == plan.evaluations.total <= 60
    assert {entry["role"] for entry in document["weights"]} >= {"policy", "reconstructor", "judge", "preference"}
    assert all(entry["command"].startswith("hf download ") and entry["licence"] for entry in document["weights"])
    assert document["parameters"]["trained"] == 30 * 8 * 2 * 32 * 1536


def test_memory_is_told_by_stage(plan: Plan) -> None:
    gib = {stage.name: stage.total / GIB for stage in plan.stages}
    assert gib["encode prompts"] == pytest.approx(2 * (1.419 + 5.681 + 0.0) * 1e9 / GIB + 1.0, abs=1.0)
    assert max(gib.values()) == plan.peak.total / GIB < 80
    first, *others = plan.stages
    assert first.resident == 2 * 1_418_996_800 + 4 * 126_892_531 + 4 * plan.parameters["trained"]  # nothing else yet
    assert {stage.resident for stage in others} == {
        sum(plan.weights_bytes.values()) + sum(cost.weights for cost in plan.rewards)
    }
    assert plan.with_checkpointing < 10 * GIB < 80 * GIB < plan.without_checkpointing


def test_seconds_follow_the_rate(plan: Plan) -> None:
    seconds = plan.seconds
    assert seconds["total"] == pytest.approx(sum(value for name, value in seconds.items() if name != "total"))
    assert seconds["update"] / seconds["rollout"] == pytest.approx((44 - 20) / 20)


def test_too_little_memory_names_what_lowers_it(plan: Plan) -> None:
    assert memory_obstacles(plan, None) == memory_obstacles(plan, 40 * GIB) == []
    assert memory_warnings(plan, 80 * GIB, 64 * GIB) == []
    assert "no GPU here" in memory_warnings(plan, None, None)[0]
    assert "may not suffice" in memory_warnings(plan, 40 * GIB, None)[0]
    assert "the machine's memory may not suffice" in memory_warnings(plan, 80 * GIB, 8 * GIB)[0]
    (told,) = memory_obstacles(plan, 24 * GIB)
    assert told.kind == "memory"
    assert "keeps 36 GiB loaded, the GPU has 24 GiB; take a larger GPU, or lower it with" in told.sentence


def test_the_machine_s_memory_depends_on_the_videos_at_once_and_not_on_those_of_a_step() -> None:
    video = 4 * 3 * 17 * 64 * 64
    path = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
    few, many = (make_plan(_recipe(path, {"schedule": {"groups": groups}})) for groups in (1, 48))
    assert few.host_bytes == many.host_bytes
    assert few.host_bytes["videos"] == (3 * 4 + 6) * video
    unbounded = make_plan(_recipe(path, {"schedule": {"groups": 48}, "pool": {"batch": None}}))
    assert unbounded.host_bytes["videos"] == (3 * 48 * 8 + 6) * video
    assert few.host_bytes["loading"] == pytest.approx(2 * 8.767e9, rel=1e-3)  # the judge is the largest


@pytest.mark.parametrize("name", ["world-r1-small", "world-r1-large", "world-r1-paper"])
def test_recipes_of_real_models_take_few_videos_into_memory(name: str) -> None:
    recipe = load_recipe(name)
    video = 4 * 3 * recipe.clip.frames * recipe.clip.height * recipe.clip.width
    assert recipe.pool.batch is not None
    assert 3 * recipe.pool.batch * video < 10 * GIB


def test_the_rewards_work_on_the_cpu_counts_and_is_shared_by_cores() -> None:
    """Redrawing five frames of 480x832 took 0.4 s of one core, LPIPS of them 2.3 s, points 1.2 s, what moves 19 s."""
    clip = ClipSettings(frames=81, height=480, width=832)

    def recon(on_gpu: bool = True, **settings: object) -> float:
        only = {"meta": 0.0, "traj": 0.0, "general": 0.0, **settings}
        return {c.name: c for c in reward_costs(RewardSettings.model_validate(only), clip, 8, on_gpu)}[
            "recon"
        ].cpu_seconds

    assert 0.3 < recon() < 1.0
    assert 2.0 < recon(on_gpu=False) - recon() < 3.0
    assert 0.8 < recon(points=0.5) - recon() < 2.0
    assert 15.0 < recon(moving="left-out") - recon() < 25.0
    small = _recipe("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", {})
    one, four, many = (make_plan(small, cores=cores) for cores in (1, 4, 64))
    seconds = 32 * sum(cost.cpu_seconds for cost in one.rewards)
    assert one.seconds["rewards"] - four.seconds["rewards"] == pytest.approx(seconds * (1 - 1 / 4))
    assert seconds > 0
    assert many.cores == 4  # no more than there are videos at once


@pytest.mark.parametrize(("size", "width"), [("2B", 2048), ("4B", 2560), ("8B", 4096), ("32B", 5120)])
def test_the_judge_is_counted_by_its_name(size: str, width: int) -> None:
    """Parameters of the published configurations, matrix by matrix."""
    layers, heads, hidden = {"2B": (28, 16, 6144), "4B": (36, 32, 9728), "8B": (36, 32, 12288), "32B": (64, 64, 25600)}[
        size
    ]
    depth, side, inner = (24, 1024, 4096) if size in ("2B", "4B") else (27, 1152, 4304)
    attention = 128 * width * (2 * heads + 2 * 8) + 2 * 128
    words = 151936 * width * (1 if size in ("2B", "4B") else 2)
    text = layers * (attention + 3 * width * hidden + 2 * width) + width + words
    block = 4 * side**2 + 4 * side + 2 * side * inner + side + inner + 4 * side
    merger = (4 * side) ** 2 + 4 * side + (4 * side + 1) * width
    mergers = merger + 2 * side + 3 * (merger + 2 * 4 * side)
    vision = depth * block + (3 * 2 * 16 * 16 + 1) * side + 2304 * side + mergers
    (cost,) = _judged(f"Qwen/Qwen3-VL-{size}-Instruct")
    assert cost.parameters == text + vision


def test_a_judge_of_unknown_size_is_measured_where_it_is_and_else_not_guessed(tmp_path: Path) -> None:
    (cost,) = _judged("someone/judge")
    assert cost.parameters is None
    assert cost.weights == 0
    (tmp_path / "config.json").write_text(json.dumps({"dtype": "bfloat16", "text_config": {"hidden_size": 64}}))
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 2_000)
    (cost,) = _judged(str(tmp_path))
    assert cost.parameters == 1_000
    assert cost.flops > 0


def _judged(weights: str) -> list[RewardCost]:
    judge = {"name": "qwen3-vl", "weights": weights}
    settings = RewardSettings.model_validate({"judge": judge, "recon": 0.0, "traj": 0.0, "general": 0.0})
    return [cost for cost in reward_costs(settings, ClipSettings()) if cost.name == "meta"]


def test_only_models_of_this_process_take_memory() -> None:
    clip = ClipSettings(frames=81, height=480, width=832)
    served = RewardSettings.model_validate({"judge": {"name": "server"}, "preference": {"name": "hpsv3"}, "recon": 0.0})
    by_name = {cost.name: cost for cost in reward_costs(served, clip)}
    assert by_name.keys() == {"reconstructor", "meta", "general"}
    assert by_name["meta"].parameters == by_name["reconstructor"].parameters == 0
    assert by_name["general"].weights > 16e9


def test_gaussians_that_are_drawn_take_memory_and_redrawn_frames_hardly_any() -> None:
    """81 frames that the network sees at 294x504, a Gaussian a pixel: 12.0 million of 38 floats, 1.7 GiB."""
    recipe = load_recipe("world-r1-paper")
    cost = {cost.name: cost for cost in reward_costs(recipe.reward, recipe.clip)}["recon"]
    scene = 81 * 294 * 504 * 38 * 4
    assert scene / GIB == pytest.approx(1.70, abs=0.01)
    assert scene < cost.activations < 3 * scene
    assert cost.parameters == 0
    assert cost.flops == pytest.approx(81 * 2 * 1.42e9 * 480 * 832 / 224**2, rel=0.01)
    few = recipe.reward.model_copy(update={"da3": recipe.reward.da3.model_copy(update={"splat_frames": 8})})
    by_few = {cost.name: cost for cost in reward_costs(few, recipe.clip)}["recon"]
    assert by_few.activations < cost.activations
    small = load_recipe("world-r1-small")
    frames = {cost.name: cost for cost in reward_costs(small.reward, small.clip)}["recon"]
    assert frames.activations < 0.5 * GIB, "LPIPS of five frames alone"
    assert frames.flops == pytest.approx(5 / 81 * cost.flops)


def test_an_unknown_model_s_shape_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = load_recipe("world-r1-small").model.model_copy(update={"path": "someone/unknown"})
    with pytest.raises(
        ValueError, match=r"shape of someone/unknown is not known .* get it with: hf download someone/unknown; known"
    ):
        shape_of(model)
    tiny = shape_of(load_recipe("tiny").model)
    assert isinstance(tiny, PipelineShape)
    assert tiny.text_parameters < 1e6
