"""The dry run's figures against what is known of the models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from worldr1.planning.budget import check_memory, memory_warning
from worldr1.planning.plan import Plan, make_plan
from worldr1.planning.rewards import reward_costs
from worldr1.planning.shapes import PipelineShape, measure_forward, parameters_of, shape_of
from worldr1.policy.wan_configs import VAE_PARAMETERS, WAN_SHAPES, meta_transformer, meta_vae
from worldr1.recipes import load_recipe
from worldr1.recipes.settings import ClipSettings, RewardSettings

GIB = 2**30


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))
        return make_plan(load_recipe("world-r1-small"))


@pytest.mark.parametrize("name", WAN_SHAPES)
def test_parameters_of_the_published_models(name: str) -> None:
    shape = WAN_SHAPES[name]
    assert parameters_of(meta_transformer(shape)) == shape.parameters
    assert shape.parameters == pytest.approx(
        {12: 1.4e9, 40: 14.3e9}[shape.transformer["num_attention_heads"]], rel=0.02
    )


def test_parameters_of_what_they_share() -> None:
    from transformers import UMT5Config, UMT5EncoderModel

    assert parameters_of(meta_vae()) == VAE_PARAMETERS
    sizes = {"vocab_size": 256384, "d_model": 4096, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
    with torch.device("meta"):
        encoder = UMT5EncoderModel(UMT5Config(**sizes, feed_forward_proj="gated-gelu"))
    assert {shape.text_parameters for shape in WAN_SHAPES.values()} == {parameters_of(encoder)}


def test_the_forward_s_work_is_that_of_its_matrices(plan: Plan) -> None:
    recipe = plan.recipe
    tokens, width, ffn, layers, text = 21 * 30 * 52, 1536, 8960, 30, 512
    linear = 2 * tokens * (6 * width**2 + 2 * width * ffn) + 2 * text * 2 * width**2
    attention = 4 * width * tokens * (tokens + text)
    adapter = 2 * 32 * 2 * width * (6 * tokens + 2 * text)
    measured = measure_forward(shape_of(recipe.model), recipe.model, recipe.clip)
    assert measured.flops == pytest.approx(layers * (linear + attention + adapter), rel=0.01)


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
    assert plan.with_checkpointing < 10 * GIB < 80 * GIB < plan.without_checkpointing


def test_seconds_follow_the_rate(plan: Plan) -> None:
    seconds = plan.seconds
    assert seconds["total"] == pytest.approx(sum(value for name, value in seconds.items() if name != "total"))
    assert seconds["update"] / seconds["rollout"] == pytest.approx((44 - 20) / 20)


def test_too_little_memory_names_what_lowers_it(plan: Plan) -> None:
    assert memory_warning(plan, None) == memory_warning(plan, 80 * GIB) == ""
    check_memory(plan, 40 * GIB)
    assert "may not suffice" in memory_warning(plan, 40 * GIB)
    with pytest.raises(
        ValueError, match=r"too little memory: .* the GPU has 24 GiB; take a larger GPU, or lower it with"
    ):
        check_memory(plan, 24 * GIB)


def test_only_models_of_this_process_take_memory() -> None:
    clip = ClipSettings(frames=81, height=480, width=832)
    served = RewardSettings.model_validate({"judge": {"name": "server"}, "preference": {"name": "hpsv3"}, "recon": 0.0})
    by_name = {cost.name: cost for cost in reward_costs(served, clip)}
    assert by_name.keys() == {"reconstructor", "meta", "general"}
    assert by_name["meta"].parameters == by_name["reconstructor"].parameters == 0
    assert by_name["general"].weights > 16e9


def test_an_unknown_model_s_shape_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = load_recipe("world-r1-small").model.model_copy(update={"path": "someone/unknown"})
    with pytest.raises(ValueError, match=r"shape of someone/unknown is not known before it is here"):
        shape_of(model)
    tiny = shape_of(load_recipe("tiny").model)
    assert isinstance(tiny, PipelineShape)
    assert tiny.text_parameters < 1e6
