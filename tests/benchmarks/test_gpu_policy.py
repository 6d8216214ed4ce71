"""The script for a GPU, in small on the CPU: every stage of both recipes, its table, and where it fails."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.gpu import policy, step
from benchmarks.gpu.clock import Clock, if_it_fits
from benchmarks.gpu.learner import check, fingerprints
from benchmarks.gpu.report import forward_share, markdown, seconds_per_step, sentences
from benchmarks.random_models.shapes import tiny
from torch import nn

REWARDS = {"DA3", "judge", "HPSv3", "LPIPS"}
STAGES = [
    "text encoding",
    "forward",
    "rollout",
    "first decode and scores",
    "decode",
    "reconstruction",
    "reward: meta",
    "reward: recon",
    "reward: traj",
    "reward: general",
    "update",
]


def _stages(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {stage["name"]: stage for stage in found["stages"]}


@pytest.mark.parametrize("name", policy.RECIPES)
def test_every_stage_of_a_recipe_runs_with_what_training_has_in_memory(name: str, tmp_path: Path) -> None:
    pytest.importorskip("depth_anything_3")
    found = policy.measure(tiny(name), "cpu")
    path = policy.write(tmp_path, found, "cpu")
    content = json.loads(path.read_text())
    assert (content["recipe"], content["tiny"]) == (name, True)
    stages = _stages(content)
    assert [stage["name"] for stage in content["stages"]] == STAGES
    assert all(stage["seconds"] > 0 for stage in stages.values())
    assert stages["text encoding"]["resident_gib"].keys() == {"text encoder", "transformer", "VAE"}
    for stage in STAGES[1:]:
        assert stages[stage]["resident_gib"].keys() == {"transformer", "VAE"} | REWARDS, stage
    assert content["scores"].keys() == {"meta", "recon", "traj", "general"}
    assert all(math.isfinite(score) for scores in content["scores"].values() for score in scores)
    assert content["losses"]
    assert 0 < content["parameters"]["trained"] < content["parameters"]["transformer"]
    counted = [stages[stage]["seconds"] for stage in STAGES if stage not in (*STAGES[:2], STAGES[3])]
    assert content["seconds_per_step"] == pytest.approx(sum(counted) * 16)
    assert {"torch", "transformers", "depth-anything-3", "device"} <= content["machine"].keys()
    table = path.with_suffix(".md").read_text()
    assert all(re.search(rf"^\| {stage} \| \d .+ \| [\d.e-]+ \| +\| transformer|text", table, re.M) for stage in STAGES)
    assert re.search(r"MFU of the transformer's forward: [\d.]+% .+ not judged at this size", table)
    assert "no figures" in table


def test_rollout_and_update_are_timed_where_the_rewards_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.")

    monkeypatch.setattr(step, "random_composer", too_large)
    found = policy.measure(tiny("world-r1-large"), "cpu")
    stages = _stages(found)
    assert stages["rewards"]["seconds"] is None
    assert all(stages[name]["seconds"] > 0 for name in ("forward", "rollout", "decode", "update"))
    assert found["scores"] == {}
    assert found["seconds_per_step"] is None
    assert sentences(found)[-1] == "Out of memory: rewards."


def test_the_rewards_give_way_to_an_update_that_does_not_fit_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("depth_anything_3")
    own, asked = step.Learner.update, []

    def needs_room(*arguments: Any) -> list[float]:
        asked.append(1)
        if len(asked) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return own(*arguments)

    monkeypatch.setattr(step.Learner, "update", needs_room)
    found = policy.measure(tiny("world-r1-small"), "cpu")
    failed, done = (stage for stage in found["stages"] if stage["name"] == "update")
    assert (failed["seconds"], failed["resident_gib"].keys()) == (None, {"transformer", "VAE"} | REWARDS)
    assert done["seconds"] > 0
    assert done["resident_gib"].keys() == {"transformer", "VAE"}
    assert len(found["scores"]) == 4
    assert found["seconds_per_step"] is None


def test_a_stage_that_does_not_fit_is_a_row_and_frees_what_it_held() -> None:
    clock = Clock("cpu")

    def work() -> None:
        with clock.stage("rollout", "2 videos"):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.")

    assert if_it_fits(work) is None
    assert [(stage.name, stage.seconds) for stage in clock.stages] == [("rollout", None)]
    with pytest.raises(ValueError, match="another"):
        if_it_fits(lambda: (_ for _ in ()).throw(ValueError("another")))


def test_weights_are_counted_while_they_are_there_and_on_the_device() -> None:
    clock = Clock("cpu")
    clock.arrive("here", nn.Linear(256, 255, bias=False))
    clock.arrive("elsewhere", nn.Linear(256, 256, device="meta"))
    with clock.stage("one", ""):
        pass
    clock.leave("here")
    with clock.stage("two", ""):
        pass
    assert [stage.resident_gib for stage in clock.stages] == [{"here": 4 * 256 * 255 / 2**30}, {}]


@pytest.mark.parametrize(("seconds", "reached"), [(2.0, True), (2.3, False)])
def test_the_share_is_work_over_what_the_card_does_in_that_time(seconds: float, reached: bool) -> None:
    forward = forward_share(6e12, seconds, 6e12)
    assert forward["share"] == pytest.approx(1 / seconds)
    assert forward["reached"] is reached
    stage = {"name": "forward", "work": "3 evaluations", "seconds": 3 * seconds, "peak_gib": 40.25, "resident_gib": {}}
    content = {
        "recipe": "world-r1-small",
        "date": "2026-01-02T03:04:05+00:00",
        "commit": "abc",
        "machine": {"device": "a card"},
        "tiny": False,
        "clip": {"frames": 81, "height": 480, "width": 832},
        "videos": 2,
        "videos_per_step": 32,
        "parameters": {"transformer": 10, "trained": 1},
        "stages": [stage],
        "forward": forward,
        "reserved_gib": 41.0,
        "seconds_per_step": None,
        "scores": {"recon": [0.5, math.nan], "traj": [0.1, 0.2]},
    }
    table = markdown(content)
    assert f"of 6 TFLOP/s measured): the wanted 45% is {'' if reached else 'NOT '}reached" in table
    assert "Highest peak: 40.2 GiB in 'forward'; torch reserved 41.0 GiB at most." in table
    assert "Scores missing, as they may be of random models: recon." in table
    assert "no figures" not in table


def test_a_step_is_made_of_its_own_stages_alone() -> None:
    names = {"text encoding": 9.0, "rollout": 4.0, "decode": 1.0, "reconstruction": 2.0, "reward: meta": 0.5}
    stages = [{"name": name, "seconds": spent} for name, spent in {**names, "update": 8.0}.items()]
    assert seconds_per_step(stages, 2, 32) == 15.5 * 16
    assert seconds_per_step(stages[:-1], 2, 32) is None
    assert seconds_per_step([*stages, {"name": "rewards", "seconds": None}], 2, 32) is None


def test_a_step_that_moves_too_little_or_too_much_is_told() -> None:
    network = nn.ModuleDict({"lora_A": nn.Linear(3, 3), "other": nn.Linear(3, 3, dtype=torch.bfloat16)})
    before = fingerprints(network)
    with pytest.raises(RuntimeError, match="moved nothing"):
        check(before, fingerprints(network), [0.1])
    with torch.no_grad():
        network["lora_A"].weight[1, 2] = torch.nextafter(network["lora_A"].weight[1, 2], torch.tensor(9.0))
    check(before, fingerprints(network), [0.1])
    with pytest.raises(RuntimeError, match="not finite"):
        check(before, fingerprints(network), [0.1, math.nan])
    with torch.no_grad():
        network["other"].bias[0] += 1
    with pytest.raises(RuntimeError, match=r"more than the adapter: other\.bias"):
        check(before, fingerprints(network), [0.1])


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is missing where nothing is")
def test_without_a_device_the_script_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["policy", "--recipe", "world-r1-large"])
    with pytest.raises(SystemExit) as left:
        policy.main()
    assert left.value.code == 1
    assert "--tiny" in capsys.readouterr().err
