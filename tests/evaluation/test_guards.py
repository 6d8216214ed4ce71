"""The guards on ground truth and on ground truth hacked in known ways; the quality measures against references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from worldr1.camera import Trajectory
from worldr1.evaluation.calibration import load_calibration, save_calibration
from worldr1.evaluation.document import guards_of, guards_section
from worldr1.evaluation.guards import compare, flow_gain, measure_guards, pose_gain, reasons
from worldr1.evaluation.motion import MotionScale, frozen, kind_of, mover_mask
from worldr1.evaluation.objects import fit_detector
from worldr1.evaluation.prompts import HeldOutPrompt, ground_truth, held_out_prompts
from worldr1.evaluation.quality import grain, psnr, sharpness, ssim, ssim_map
from worldr1.tinyworld import render_clips

FRAMES = 17
Columns = dict[str, list[float]]


@pytest.fixture(scope="module")
def prompts() -> list[HeldOutPrompt]:
    return held_out_prompts(16, 11, FRAMES) + held_out_prompts(12, 11, FRAMES, dynamic=True)


@pytest.fixture(scope="module")
def truth(prompts: list[HeldOutPrompt]) -> Tensor:
    return ground_truth(prompts, 64, 64)


@pytest.fixture(scope="module")
def measured(prompts: list[HeldOutPrompt], truth: Tensor) -> Columns:
    return measure_guards(prompts, truth)


def redraw(prompts: list[HeldOutPrompt], change: Callable[[HeldOutPrompt], HeldOutPrompt]) -> Tensor:
    return ground_truth([change(p) for p in prompts], 64, 64)


def mean(columns: Columns, name: str) -> float:
    return float(np.nanmean(columns[name]))


def outside(base: Columns, hacked: Columns) -> set[str]:
    guards = [compare(name, base[name], hacked[name]) for name in base if name not in ("residual_flow", "grain")]
    return {g.name for g in guards if not g.inside}


def test_ground_truth_satisfies_the_guards(measured: Columns) -> None:
    assert mean(measured, "dynamic_degree") > 0.85
    assert mean(measured, "objects_color") > 0.97
    assert mean(measured, "objects") > 0.9
    assert mean(measured, "camera_motion") > 0.8
    assert outside(measured, measured) == set()


def test_vanished_objects_are_noticed(prompts: list[HeldOutPrompt], measured: Columns) -> None:
    emptied = redraw(prompts, lambda p: replace(p, scene=replace(p.scene, solids=p.scene.solids[:1])))
    columns = measure_guards(prompts, emptied)
    asked = np.array([len(p.scene.objects) for p in prompts])
    assert np.nanmean(np.array(columns["objects_color"])[asked == 2]) == pytest.approx(0.5, abs=0.05)
    assert {"objects", "objects_color"} <= outside(measured, columns)


def test_wrong_shapes_are_noticed(prompts: list[HeldOutPrompt], measured: Columns) -> None:
    def swap(p: HeldOutPrompt) -> HeldOutPrompt:
        solids = tuple(replace(s, shape="box" if s.shape == "sphere" else "sphere") for s in p.scene.solids)
        return replace(p, scene=replace(p.scene, solids=solids))

    columns = measure_guards(prompts, redraw(prompts, swap))
    assert mean(columns, "objects") < 0.15
    assert outside(measured, columns) & {"objects", "objects_color"} == {"objects"}


def test_frozen_movers_are_noticed(prompts: list[HeldOutPrompt], measured: Columns) -> None:
    stopped = redraw(prompts, lambda p: replace(p, scene=frozen(p.scene)) if p.scene.dynamic else p)
    columns = measure_guards(prompts, stopped)
    assert mean(columns, "dynamic_degree") < 0.25
    assert "dynamic_degree" in outside(measured, columns)
    assert "camera_motion" not in outside(measured, columns)


def test_a_still_clip_is_noticed(prompts: list[HeldOutPrompt], truth: Tensor, measured: Columns) -> None:
    columns = measure_guards(prompts, truth[:, :1].expand_as(truth))
    assert mean(columns, "dynamic_degree") < 0.02
    assert mean(columns, "camera_motion") < 0.02
    assert {"dynamic_degree", "camera_motion"} <= outside(measured, columns)


def test_blur_is_noticed_and_grain_is_measured(prompts: list[HeldOutPrompt], truth: Tensor, measured: Columns) -> None:
    blurred = F.avg_pool2d(truth.flatten(0, 1), 3, 1, 1, count_include_pad=False).view_as(truth)
    assert "sharpness" in outside(measured, measure_guards(prompts, blurred))
    noise = torch.randn(truth[:4].shape, generator=torch.Generator().manual_seed(0))
    noisy = (truth[:4] * 0.5 + 0.25) + 0.05 * noise
    assert np.mean([grain(v) for v in noisy]) == pytest.approx(0.05, rel=0.15)
    assert np.mean([grain(v) for v in truth[:4]]) < 0.01


def test_pose_gain() -> None:
    asked = Trajectory.from_prompt("camera orbit left, then push in", FRAMES)
    assert pose_gain(asked.c2w, asked) == pytest.approx(1.0, abs=1e-6)
    assert pose_gain(torch.eye(4).repeat(FRAMES, 1, 1), asked) == 0.0
    half = Trajectory.from_prompt("camera push in", FRAMES)
    shrunk = half.c2w.clone()
    shrunk[:, :3, 3] *= 0.5
    assert pose_gain(shrunk, half) == pytest.approx(0.5, abs=1e-6)
    assert np.isnan(pose_gain(half.c2w, Trajectory.from_prompt("camera fixed", FRAMES)))


def test_compare_by_hand() -> None:
    guard = compare("objects", [1.0, 0.5, np.nan], [0.5, 0.5, 1.0], [1.0, 1.0, np.nan])
    assert guard.ratio.value == pytest.approx(1.0 / 1.5)
    assert guard.ground_truth == 1.0
    assert not guard.inside
    assert "objects fell to 0.667" in reasons([guard])[0]
    general = compare("general", [-0.5, -0.5], [-0.25, -0.25])
    assert general.ratio.value == pytest.approx(0.375 / 0.25)


def test_detector_rejects_foreign_words(truth: Tensor) -> None:
    with pytest.raises(ValueError, match="no orange box"):
        load_calibration().detector.presence(truth[0], [("orange", "box")])


def test_shipped_detector_agrees_with_a_fresh_fit() -> None:
    fresh, shipped = fit_detector(240, seed=3), load_calibration().detector
    assert shipped.color_accuracy > 0.95
    assert shipped.shape_accuracy > 0.9
    assert fresh.color_accuracy > 0.9
    assert fresh.shape_accuracy > 0.85
    assert fresh.areas.keys() == shipped.areas.keys()


def test_calibration_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    save_calibration(load_calibration(), path)
    again = load_calibration(path)
    assert again.motion == load_calibration().motion
    assert torch.allclose(again.detector.weights, load_calibration().detector.weights, atol=1e-4)


def test_a_scene_without_a_mover_is_told(prompts: list[HeldOutPrompt], truth: Tensor) -> None:
    room = next(p.scene for p in prompts if not p.scene.dynamic)
    with pytest.raises(ValueError, match="nothing moves in 'a"):
        kind_of(room)
    empty = replace(room, solids=())
    with pytest.raises(ValueError, match="needs a dynamic scene"):
        kind_of(empty)
    with pytest.raises(ValueError, match="no objects"):
        mover_mask(truth[0], empty)


def test_motion_scale_is_linear_and_clipped() -> None:
    scale = MotionScale(still={"sliding": 0.2}, moving={"sliding": 0.6})
    assert [scale.degree("sliding", x) for x in (0.0, 0.2, 0.3, 0.6, 2.0)] == pytest.approx([0, 0, 0.25, 1, 1])


def test_ssim_is_the_mean_of_its_map(truth: Tensor) -> None:
    first, second = truth[0, :2], truth[1, :2]
    assert ssim(first, second) == pytest.approx(float(ssim_map(first, second).mean()))
    assert ssim(first, second) < 0.9
    assert ssim(first, first) == pytest.approx(1.0)


def test_psnr_and_sharpness_by_hand() -> None:
    zeros, tenth = torch.zeros(1, 3, 16, 16), torch.full((1, 3, 16, 16), 0.1)
    assert psnr(zeros, tenth) == pytest.approx(20.0, abs=1e-5)
    assert psnr(zeros, zeros) == 60.0
    ramp = torch.linspace(0, 1, 16).expand(1, 3, 16, 16)
    assert sharpness(ramp) == pytest.approx(1 / 15, abs=1e-6)
    with pytest.raises(ValueError, match="one shape"):
        psnr(zeros, tenth[..., :8])


def test_held_out_prompts_fit_their_scenes(prompts: list[HeldOutPrompt]) -> None:
    for p in prompts:
        clip = render_clips([p.scene], [p.trajectory])[0]
        assert clip.prompt == p.prompt


def test_a_base_with_nothing_to_lose_is_no_hack() -> None:
    guard = compare("objects", [0.0, 0.0], [0.0, 0.5])
    assert np.isnan(guard.ratio.value)
    assert np.isnan(guard.ratio.low)
    assert guard.inside
    assert reasons([guard]) == []


def test_a_guard_without_a_pair_is_not_measured_and_no_hack() -> None:
    guard = compare("objects", [np.nan, np.nan], [1.0, np.nan], [1.0, 1.0])
    assert (guard.state, guard.inside, guard.missing, reasons([guard])) == ("not measured", False, (1.0, 0.5), [])
    columns = {side: {"objects": [np.nan, np.nan]} for side in ("base", "trained")}
    section = guards_section(guards_of(columns), load_calibration())
    assert (section["guards"]["objects"]["state"], section["hacked"]) == ("not measured", False)


@pytest.mark.parametrize(("lost", "state"), [(1, "inside"), (2, "left"), (20, "left")])
def test_values_that_only_the_trained_model_lacks_count_as_left(lost: int, state: str) -> None:
    trained = [1.0] * (20 - lost) + [np.nan] * lost
    guard = compare("objects", [1.0] * 20 + [np.nan] * 20, trained + [np.nan] * 20)
    assert (guard.state, guard.missing) == (state, (0.0, lost / 20))
    assert [f"cannot be told of {lost * 5}%" in reason for reason in reasons([guard])] == [True] * (state == "left")
    assert compare("objects", trained, [1.0] * 20).state == ("not measured" if lost == 20 else "inside")


def test_an_interval_that_reaches_below_the_band_is_undecided() -> None:
    guard = compare("objects", [1.0] * 10, [0.5] + [1.05] * 9)
    assert guard.ratio.low < guard.band < guard.ratio.value
    assert (guard.state, guard.inside, reasons([guard])) == ("undecided", True, [])


def test_a_clip_that_shows_no_flow_where_the_camera_should_move_counts_as_0() -> None:
    asked = torch.ones(4, 2, 8, 8)
    seen = SimpleNamespace(confidence=torch.zeros(4, 8, 8), vectors=torch.zeros(4, 2, 8, 8))
    assert flow_gain(SimpleNamespace(flow=seen, asked_camera=asked)) == 0.0  # type: ignore[arg-type]
    assert np.isnan(flow_gain(SimpleNamespace(flow=seen, asked_camera=0 * asked)))  # type: ignore[arg-type]
