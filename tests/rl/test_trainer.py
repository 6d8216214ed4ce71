"""The trainer: learns, keeps to its phases, and goes on after any interruption as if there had been none."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from toy import PROMPTS, Brightness, ToyPolicy, toy_recipe, toy_trainer

from tiny_pipeline_parts import build_tiny_pipeline
from worldr1.policy.base import Conditioning
from worldr1.policy.wan import LoraSettings, WanPolicy
from worldr1.recipes.settings import NoiseSettings, OptimiserSettings
from worldr1.rewards.types import Sample, Scores
from worldr1.rl.batch import TrainingPrompts, fixed_batch, training_batch
from worldr1.rl.checkpoint import list_checkpoints, load_checkpoint
from worldr1.rl.metrics import TIME_PREFIX, read_metrics
from worldr1.rl.run import RunDirectory
from worldr1.rl.trainer import Trainer, learning_rate

_HERE = Path(__file__).parent


def _without_time(path: Path) -> list[str]:
    lines = []
    for line in path.read_text().splitlines():
        record = {key: value for key, value in json.loads(line).items() if not key.startswith(TIME_PREFIX)}
        lines.append(json.dumps(record))
    return lines


def _start(run: Path, how: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(_HERE / "toy.py"), str(run), how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize("objective", ["nft", "grpo"])
def test_the_reward_rises_on_held_out_prompts(objective: str, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    toy_trainer(toy_recipe(objective, total_steps=30), run).fit()
    values = [record["reward/total"] for record in read_metrics(run.metrics, "evaluation")]
    assert values[-1] > values[0] + 0.05
    assert [record["step"] for record in read_metrics(run.metrics, "evaluation")] == list(range(0, 31, 3))


def test_phases_use_their_own_prompts_and_rewards(tmp_path: Path) -> None:
    run, reward = RunDirectory(tmp_path), Brightness()
    toy_trainer(toy_recipe(), run, reward=reward).fit()
    records = read_metrics(run.metrics, "train")
    assert [record["phase"] for record in records] == ["main"] * 3 + ["dynamic"] * 2 + ["main"] * 3
    assert all(("reward/recon" in record) == (record["phase"] == "main") for record in records)
    evaluations = [True] * 4  # before steps 0, 3 and 6, and at the end
    assert sorted(reward.asked) == sorted([record["phase"] == "main" for record in records] + evaluations)


def test_what_a_run_leaves_behind(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    policy = ToyPolicy()
    toy_trainer(toy_recipe(), run, policy).fit()
    assert [path.name for path in list_checkpoints(run.checkpoints)] == ["step-00000006", "step-00000008"]
    assert sorted(path.name for path in run.samples.iterdir()) == [
        "prompts.json",
        *(f"step-{step:08d}" for step in (0, 3, 6, 8)),
    ]
    assert any(run.tensorboard.iterdir())
    saved = load_file(run.lora / "toy.safetensors")
    averaged = load_checkpoint(list_checkpoints(run.checkpoints)[-1]).tensors
    for name, tensor in saved.items():
        assert torch.equal(tensor, averaged[f"ema/{name}"])
        assert not torch.equal(tensor, policy.state_dict()[name])


def test_training_noise_moves_with_the_camera_as_that_of_sampling(tmp_path: Path) -> None:
    """Both losses see noised videos as sampling does: a fixed camera at strength 1 has one noise in all frames."""
    seen = []

    class Watching(ToyPolicy):
        def velocity(self, latents: Tensor, sigma: Tensor, conditioning: Conditioning) -> Tensor:
            if torch.is_grad_enabled():
                seen.extend(latents[sigma > 0.8].detach())
            return super().velocity(latents, sigma, conditioning)

    prompts = TrainingPrompts(["camera fixed. a red box"], ["camera fixed. a blue box falling"])
    recipe = toy_recipe(total_steps=5)
    recipe = recipe.model_copy(update={"noise": recipe.noise.model_copy(update={"strength": 1.0})})
    trainer = toy_trainer(recipe, RunDirectory(tmp_path), Watching(), prompts=prompts)
    trainer.fit()
    alike = [float(torch.corrcoef(sample.transpose(0, 1).flatten(1))[0, 1]) for sample in seen]
    assert len(alike) >= 10
    assert sum(alike) / len(alike) > 0.8


def test_the_result_is_extrapolated_and_training_does_not_know(tmp_path: Path) -> None:
    weights, states = {}, {}
    base = ToyPolicy().state_dict()
    for scale in (1.0, 2.5):
        run, policy = RunDirectory(tmp_path / str(scale)), ToyPolicy()
        recipe = toy_recipe()
        optimiser = recipe.optimiser.model_copy(update={"extrapolate": scale})
        toy_trainer(recipe.model_copy(update={"optimiser": optimiser}), run, policy).fit()
        weights[scale], states[scale] = load_file(run.lora / "toy.safetensors"), policy.state_dict()
    for name, average in weights[1.0].items():
        torch.testing.assert_close(weights[2.5][name], base[name] + 2.5 * (average - base[name]))
        assert torch.equal(states[2.5][name], states[1.0][name])
    ended = RunDirectory(tmp_path / "1.0")  # a run at its end goes elsewhere without another step
    toy_trainer(recipe.model_copy(update={"optimiser": optimiser}), ended, ToyPolicy()).fit(resume=True)
    for name, tensor in load_file(ended.lora / "toy.safetensors").items():
        assert torch.equal(tensor, weights[2.5][name])


@pytest.mark.parametrize("objective", ["nft", "grpo"])
@pytest.mark.parametrize("stop", [1, 2, 5, 7])
def test_resuming_repeats_the_uninterrupted_run_bit_for_bit(objective: str, stop: int, tmp_path: Path) -> None:
    recipe, whole, cut = toy_recipe(objective), RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "cut")
    whole.root.mkdir()
    cut.root.mkdir()
    toy_trainer(recipe, whole).fit()

    class Interrupting(Brightness):
        def __call__(self, samples: list[Sample], use_3d: bool = True) -> Scores:  # type: ignore[override]
            if len(self.asked) == stop:
                raise KeyboardInterrupt
            return super().__call__(samples, use_3d)

    with pytest.raises(KeyboardInterrupt):
        toy_trainer(recipe, cut, reward=Interrupting()).fit()
    assert len(_without_time(cut.metrics)) < len(_without_time(whole.metrics))
    toy_trainer(recipe, cut).fit(resume=True)
    assert _without_time(cut.metrics) == _without_time(whole.metrics)
    assert all(
        torch.equal(tensor, load_file(cut.lora / "toy.safetensors")[name])
        for name, tensor in load_file(whole.lora / "toy.safetensors").items()
    )


def test_a_run_asked_to_stop_saves_what_is_done_and_goes_on(tmp_path: Path) -> None:
    recipe, whole, cut = toy_recipe(total_steps=4), RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "cut")
    assert not toy_trainer(recipe, whole).fit()
    for done in (0, 1, 3, 4):
        asked = iter([False] * (done - _steps(cut)) + [True])
        assert toy_trainer(recipe, cut, stopping=lambda asked=asked: next(asked)).fit(resume=done > 0)
        assert _steps(cut) == done
        assert not cut.lora.exists()
    assert not toy_trainer(recipe, cut).fit(resume=True)
    assert _without_time(cut.metrics) == _without_time(whole.metrics)
    assert cut.lora.exists()


def _steps(run: RunDirectory) -> int:
    checkpoints = list_checkpoints(run.checkpoints)
    return load_checkpoint(checkpoints[-1]).step if checkpoints else 0


def test_a_process_cut_off_at_random_moments_ends_with_the_same_metrics(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    reference = _start(whole, "fresh")
    seed = random.SystemRandom().randrange(10**6)
    moments = random.Random(seed)
    for sent in (signal.SIGINT, signal.SIGKILL):
        process = _start(cut, "resume" if cut.exists() else "fresh")
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        time.sleep(moments.uniform(0.0, 0.5))
        process.send_signal(sent)
        _, errors = process.communicate(timeout=60)
        assert process.returncode in (0, -sent, 130), errors
        for path in list_checkpoints(cut / "checkpoints"):
            load_checkpoint(path)
    for process in (_start(cut, "resume"), reference):
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert _without_time(cut / "metrics.jsonl") == _without_time(whole / "metrics.jsonl"), f"moments of seed {seed}"


def _wan_policy(pipeline: Path) -> WanPolicy:
    from diffusers import WanPipeline

    torch.manual_seed(1)
    loaded = WanPipeline.from_pretrained(str(pipeline))
    return WanPolicy(loaded, max_sequence_length=32, lora=LoraSettings(rank=2, alpha=4))


def _fit_until_alarm(trainer: Trainer, resume: bool, seconds: float) -> None:
    """Train until Ctrl-C comes, after some seconds of the clock and at any place in the code."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        trainer.fit(resume=resume)
    except KeyboardInterrupt:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_wan_pipeline_interrupted_at_random_moments_ends_with_the_same_metrics(tmp_path: Path) -> None:
    recipe, whole, cut = toy_recipe(total_steps=5), RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "cut")
    for run in (whole, cut):
        run.root.mkdir()
    build_tiny_pipeline().save_pretrained(str(tmp_path / "pipeline"))
    trainer = toy_trainer(recipe, whole, _wan_policy(tmp_path / "pipeline"))
    started = time.monotonic()
    trainer.fit()
    duration = time.monotonic() - started
    seed = random.SystemRandom().randrange(10**6)
    moments = random.Random(seed)
    for resume in (False, True):
        trainer = toy_trainer(recipe, cut, _wan_policy(tmp_path / "pipeline"))
        _fit_until_alarm(trainer, resume, moments.uniform(0.01, duration))
    toy_trainer(recipe, cut, _wan_policy(tmp_path / "pipeline")).fit(resume=True)
    assert _without_time(cut.metrics) == _without_time(whole.metrics), f"moments of seed {seed}"
    names = {path.name for path in (whole.lora.iterdir())}
    assert names == {path.name for path in cut.lora.iterdir()} == {"pytorch_lora_weights.safetensors"}


def test_time_bounds_a_run_and_it_stays_ended(tmp_path: Path) -> None:
    recipe = toy_recipe(total_steps=1000)
    recipe = recipe.model_copy(update={"schedule": recipe.schedule.model_copy(update={"max_minutes": 0.5 / 60})})
    run = RunDirectory(tmp_path)
    started = time.monotonic()
    toy_trainer(recipe, run, reward=Brightness(delay=0.05)).fit()
    assert 0.5 <= time.monotonic() - started < 10
    steps = len(read_metrics(run.metrics, "train"))
    assert 1 <= steps < 20
    assert read_metrics(run.metrics)[-1]["kind"] == "evaluation"


class _Constant:
    def __init__(self, total: float) -> None:
        self.total = total

    def __call__(self, samples: list[Sample], use_3d: bool = True) -> Scores:
        total = torch.full((len(samples),), self.total)
        return Scores({"general": total}, total)


def test_a_step_without_any_reward_fails_loudly(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="step 0: none of 8 videos has a reward"):
        toy_trainer(toy_recipe(), RunDirectory(tmp_path), reward=_Constant(torch.nan)).fit()  # type: ignore[arg-type]


def test_groups_that_tell_nothing_are_counted_and_change_nothing(tmp_path: Path) -> None:
    run, policy = RunDirectory(tmp_path), ToyPolicy()
    before = {name: tensor.clone() for name, tensor in policy.state_dict().items()}
    toy_trainer(toy_recipe(), run, policy, _Constant(1.0)).fit()  # type: ignore[arg-type]
    assert all(record["groups/skipped"] == 2 for record in read_metrics(run.metrics, "train"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.state_dict().items())


def _batch(seed: int = 0, step: int = 0, groups: int = 2) -> Any:
    return training_batch(PROMPTS.main, groups, 3, 5, (4, 2, 2, 2), NoiseSettings(strength=0.5), seed, step)


def test_a_group_does_not_depend_on_how_many_others_there_are_before_it_is_drawn() -> None:
    few, many = _batch(groups=2), _batch(groups=4)
    assert few.prompts == many.prompts[:6]
    assert torch.equal(few.noise, many.noise[:6])


@pytest.mark.parametrize("here", [range(3), range(3, 6), range(1, 5), range(5, 6)])
def test_a_part_of_a_step_is_the_same_videos_where_it_cuts_groups_or_not(here: range) -> None:
    whole = _batch()
    part = training_batch(PROMPTS.main, 2, 3, 5, (4, 2, 2, 2), NoiseSettings(strength=0.5), 0, 0, here)
    expected = whole.rows(slice(here.start, here.stop))
    assert part.prompts == expected.prompts
    assert torch.equal(part.noise, expected.noise)


def test_with_a_shared_prefix_a_group_starts_from_the_noise_of_its_first() -> None:
    noise = NoiseSettings(strength=0.5)
    shared = training_batch(PROMPTS.main, 2, 3, 5, (4, 2, 2, 2), noise, 0, 0, same_noise=True)
    assert torch.equal(shared.noise, _batch().noise[[0, 0, 0, 3, 3, 3]])


def test_members_and_steps_and_seeds_have_their_own_noise() -> None:
    noises = torch.cat([_batch(seed, step).noise for seed in (0, 1) for step in (0, 1)]).flatten(1)
    assert len(torch.unique(noises, dim=0)) == len(noises)
    assert len(set(_batch().prompts)) == 2


def test_every_prompt_comes_up_equally_often() -> None:
    seen = [prompt for step in range(6) for prompt in _batch(step=step).prompts[::3]]
    assert sorted(seen) == sorted(list(PROMPTS.main) * 3)


def test_held_out_noise_is_the_same_every_time() -> None:
    first = fixed_batch(["a", "b"], 5, (4, 2, 2, 2), NoiseSettings(), seed=3)
    second = fixed_batch(["a", "b", "c"], 5, (4, 2, 2, 2), NoiseSettings(), seed=3)
    assert torch.equal(first.noise, second.noise[:2])
    assert not torch.equal(first.noise[0], first.noise[1])


def test_the_learning_rate_rises_then_falls_to_its_share() -> None:
    settings = OptimiserSettings(lr=2.0, warmup_steps=4, final_lr=0.25)
    rates = [learning_rate(settings, step, 101) for step in range(101)]
    assert rates[0] == pytest.approx(2.0 / 5)
    assert max(rates) == rates[4] == pytest.approx(2.0 * (1 - 0.75 * 0.04))
    assert rates[100] == pytest.approx(0.5)
    assert rates[52] == pytest.approx(2.0 * (1 - 0.75 * 0.52))
