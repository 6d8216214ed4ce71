"""From names in a recipe to rewards: each setting reaches the model that it is for."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from worldr1.recipes.reward import RewardSettings
from worldr1.reconstruction.depth_anything import DepthAnythingReconstructor
from worldr1.reconstruction.stereo import StereoReconstructor
from worldr1.rewards.general import GeneralReward
from worldr1.rewards.meta import MetaReward
from worldr1.rewards.openai_judge import OpenAIJudge
from worldr1.rewards.recon import ReconReward
from worldr1.rewards.registry import build_composer, build_reconstructor
from worldr1.rewards.rerender import RerenderReward
from worldr1.rewards.vision_meta import VisionMetaReward


def _settings(**changes: Any) -> RewardSettings:
    return RewardSettings.model_validate(changes)


def test_the_defaults_are_the_shipped_critics() -> None:
    composer = build_composer(_settings(general_frames=3, sharpness=0.2, meta_view={"sideways": 30, "raised": 5}))
    meta, general = composer.rewards["meta"], composer.rewards["general"]
    assert isinstance(meta, MetaReward)
    assert isinstance(general, GeneralReward)
    assert isinstance(composer.reconstructor, StereoReconstructor)
    assert (meta.sideways, meta.raised) == (math.radians(30), math.radians(5))
    assert general.frames == 3
    assert composer.rewards["recon"].sharpness == 0.2  # type: ignore[attr-defined]


def test_the_view_s_offset_is_by_default_the_one_that_the_critic_learned_on() -> None:
    meta = build_composer(_settings()).rewards["meta"]
    assert isinstance(meta, MetaReward)
    default = MetaReward(meta.critic)
    assert (meta.sideways, meta.raised) == pytest.approx((default.sideways, default.raised))


def test_no_reconstructor_is_built_where_none_is_needed() -> None:
    composer = build_composer(_settings(meta=0, recon=0, traj=0, reconstructor="da3"))
    assert composer.reconstructor is None


def test_a_server_gets_url_model_and_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    judge = {"name": "server", "url": "http://there:1/v1", "weights": "m", "token_file": str(tmp_path / "token")}
    meta = build_composer(_settings(judge=judge, general=0, meta_view={"sideways": 20})).rewards["meta"]
    assert isinstance(meta, VisionMetaReward)
    assert isinstance(meta.judge, OpenAIJudge)
    assert meta.sideways == math.radians(20)
    with pytest.raises(FileNotFoundError, match="no token file"):
        build_composer(_settings(judge={**judge, "token_file": str(tmp_path / "none")}, general=0))


def test_the_view_s_offset_reaches_a_judge_in_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from worldr1.rewards.qwen_judge import QwenJudge

    monkeypatch.setattr(QwenJudge, "from_pretrained", lambda path, **_: f"judge of {path}")
    (tmp_path / "model.safetensors").touch()
    judge = {"name": "qwen3-vl", "weights": str(tmp_path)}
    meta = build_composer(_settings(judge=judge, general=0, meta_view={"sideways": 25, "raised": 3})).rewards["meta"]
    assert isinstance(meta, VisionMetaReward)
    assert meta.judge == f"judge of {tmp_path}"
    assert (meta.sideways, meta.raised) == (math.radians(25), math.radians(3))


def test_options_beyond_the_paper_reach_their_rewards_and_are_off_by_default() -> None:
    plain = build_composer(_settings(meta=0, general=0)).rewards
    changed = build_composer(
        _settings(meta=0, general=0, points=0.25, moving="left-out", traj_segments=4, pixels=0.5)
    ).rewards
    names = ("points", "leave_moving", "pixels")
    assert [getattr(plain["recon"], name) for name in names] == [0.0, False, 0.0]
    assert [getattr(changed["recon"], name) for name in names] == [0.25, True, 0.5]
    assert [(r["traj"].segments, r["traj"].metres) for r in (plain, changed)] == [(1, None), (4, None)]  # type: ignore[attr-defined]


def test_the_paper_s_formulas_reach_their_rewards() -> None:
    rewards = build_composer(_settings(meta=0, general=0, recon_from="gaussians", traj_form="absolute")).rewards
    assert isinstance(rewards["recon"], RerenderReward)
    assert (rewards["recon"].name, rewards["traj"].form) == ("recon", "absolute")  # type: ignore[attr-defined]
    default = build_composer(_settings(meta=0, general=0)).rewards
    assert isinstance(default["recon"], ReconReward)
    assert default["traj"].form == "relative"  # type: ignore[attr-defined]


@pytest.mark.parametrize("option", [{"pixels": 0.5}, {"points": 0.1}, {"moving": "left-out"}])
def test_the_paper_s_s_recon_takes_none_of_our_options(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="leave pixels, points and moving out"):
        _settings(recon_from="gaussians", **option)


def test_gaussians_on_a_gpu_need_gsplat_before_anything_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", None)
    with pytest.raises(ImportError, match=r"worldr1\[cuda\]"):
        build_composer(_settings(meta=0, traj=0, general=0, recon_from="gaussians"), "cuda")


def test_metres_need_a_reconstructor_that_sees_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="traj_metres needs a metric reconstructor"):
        _settings(traj_metres=2.0)
    monkeypatch.setattr(DepthAnythingReconstructor, "from_pretrained", lambda path, **_: None)
    (tmp_path / "model.safetensors").touch()
    da3 = {"weights": str(tmp_path)}
    settings = _settings(meta=0, recon=0, general=0, traj_metres=2.0, reconstructor="da3", da3=da3)
    monkeypatch.setattr("worldr1.rewards.registry.RewardComposer", lambda rewards, *_: rewards)
    assert build_composer(settings)["traj"].metres == 2.0  # type: ignore[index]


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ({"reconstructor": "da3"}, "hf download depth-anything/DA3-BASE"),
        ({"judge": {"name": "qwen3-vl", "revision": "r1"}}, "hf download Qwen/Qwen3-VL-8B-Instruct --revision r1"),
        ({"preference": {"name": "hpsv3"}}, "hf download MizzenAI/HPSv3"),
    ],
)
def test_missing_weights_name_their_command(
    changes: dict[str, Any], command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"{command}$"):
        build_composer(_settings(**changes))


def test_depth_anything_gets_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        DepthAnythingReconstructor, "from_pretrained", lambda path, **rest: seen.update(path=path, **rest)
    )
    (tmp_path / "model.safetensors").touch()
    da3 = {"weights": str(tmp_path), "process_res": 280, "ref_view_strategy": "first", "splat_frames": 5}
    build_reconstructor(_settings(reconstructor="da3", da3=da3))
    assert seen == {
        "path": str(tmp_path),
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "process_res": 280,
        "ref_view_strategy": "first",
        "splat_frames": 5,
    }


def test_depth_anything_s_scenes_stay_on_the_device_and_stereo_s_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The meta device stands for a GPU."""
    monkeypatch.setattr(DepthAnythingReconstructor, "from_pretrained", lambda path, **rest: rest["device"])
    (tmp_path / "model.safetensors").touch()
    da3 = {"reconstructor": "da3", "da3": {"weights": str(tmp_path)}}
    composer = build_composer(_settings(meta=0, general=0, **da3), "meta")
    assert composer.reconstructor == composer.device == torch.device("meta")
    assert {str(part.device) for part in composer.rewards["recon"].lpips.parameters()} == {"meta"}  # type: ignore[attr-defined]
    assert build_composer(_settings(meta=0, general=0), "meta").device == torch.device("cpu")
    assert build_composer(_settings(meta=0, general=0, **da3)).device == torch.device("cpu")
