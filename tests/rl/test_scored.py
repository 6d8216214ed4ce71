"""Videos are scored while the next ones are sampled, and nothing else changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from threaded_pool import Shades, ThreadWorkers, Watched, threaded_pool
from torch import Tensor
from toy import PROMPTS, ToyPolicy, objective_of, toy_recipe, toy_trainer

from tiny_pipeline_parts import build_tiny_pipeline
from worldr1.policy.base import Policy
from worldr1.recipes import Recipe
from worldr1.recipes.settings import EvaluationSettings
from worldr1.rewards.compose import InBatches
from worldr1.rewards.types import Composer, Sample, Scores
from worldr1.rl import scored
from worldr1.rl.batch import training_batch
from worldr1.rl.distributed import World
from worldr1.rl.draws import step_draws
from worldr1.rl.held_out import HeldOut
from worldr1.rl.metrics import TIME_PREFIX, read_metrics
from worldr1.rl.run import RunDirectory
from worldr1.rl.scored import Scored, sample_and_score
from worldr1.rl.seeds import Stream

PATIENCE = 60.0
"""Seconds until a test that waits in vain fails; those that pass do not depend on it."""


def _recipe(objective: str = "nft", micro_batch: int | None = 2, total_steps: int = 5) -> Recipe:
    recipe = toy_recipe(objective, total_steps)
    return recipe.model_copy(update={"sampling": recipe.sampling.model_copy(update={"micro_batch": micro_batch})})


def _step(recipe: Recipe, policy: Policy, composer: Composer, step: int = 0) -> Scored:
    """One step's 8 videos."""
    clip, count = recipe.clip, recipe.schedule.groups * recipe.schedule.group_size
    shape = policy.latent_shape(clip.frames, clip.height, clip.width)
    batch = training_batch(PROMPTS.main, recipe.schedule.groups, 4, clip.frames, shape, recipe.noise, 0, step)
    return sample_and_score(
        policy,
        objective_of(recipe, policy),
        composer,
        batch,
        policy.encode(batch.prompts),
        step_draws(Stream.ROLLOUT, 0, step, count),
        step,
        use_3d=True,
        micro_batch=recipe.sampling.micro_batch,
    )


class _Decoding(ToyPolicy):
    """Calls `before` with the number of the part that is about to be there."""

    def __init__(self, before: Callable[[int], None]) -> None:
        super().__init__()
        self._before, self._count = before, 0

    def decode(self, latents: Tensor) -> Tensor:
        number, self._count = self._count, self._count + 1
        self._before(number)
        return super().decode(latents)


def test_each_part_is_scored_before_the_next_is_sampled_when_scoring_is_quick() -> None:
    told, scored_parts = [], [threading.Event() for _ in range(4)]

    def before_sampled(part: int) -> None:
        if part:
            assert scored_parts[part - 1].wait(PATIENCE), f"part {part - 1} is not scored while part {part} is sampled"
        told.append(f"sampled {part}")

    def after_scored(part: int) -> None:
        told.append(f"scored {part}")
        scored_parts[part].set()

    workers = ThreadWorkers(Watched(lambda part: None, after_scored))
    made = _step(_recipe(), _Decoding(before_sampled), threaded_pool(workers, batch=2))
    assert told == [f"{what} {part}" for part in range(4) for what in ("sampled", "scored")]
    assert 0.0 <= made.hidden <= 1.0


def test_sampling_never_waits_when_scoring_is_slow() -> None:
    told, all_sampled = [], threading.Event()

    def before_sampled(part: int) -> None:
        told.append(f"sampled {part}")
        if part == 3:
            all_sampled.set()

    def before_scored(part: int) -> None:
        assert all_sampled.wait(PATIENCE)
        told.append(f"scored {part}")

    workers = ThreadWorkers(Watched(before_scored))
    _step(_recipe(), _Decoding(before_sampled), threaded_pool(workers, batch=2))
    assert told == [f"{what} {part}" for what in ("sampled", "scored") for part in range(4)]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    build_tiny_pipeline().save_pretrained(str(folder))
    return folder


@pytest.mark.parametrize("objective", ["nft", "grpo"])
@pytest.mark.parametrize("micro_batch", [1, 3, None])
def test_a_wan_pipeline_samples_the_same_bits(objective: str, micro_batch: int | None, pipeline: Path) -> None:
    from diffusers import WanPipeline

    from worldr1.policy.wan import LoraSettings, WanPolicy

    torch.manual_seed(1)
    loaded = WanPipeline.from_pretrained(str(pipeline))
    policy = WanPolicy(loaded, max_sequence_length=32, lora=LoraSettings(rank=2, alpha=4))
    recipe = _recipe(objective, micro_batch)
    local, pooled = (_step(recipe, policy, composer) for composer in (Shades(), _pool(batch=2)))
    for name in ("latents", "states", "log_probs", "sigmas"):
        assert torch.equal(getattr(pooled.rollout, name), getattr(local.rollout, name)), name
    assert pooled.rollout.steps == local.rollout.steps
    assert len(pooled.rollout.states) == (3 if objective == "grpo" else 0)
    assert pooled.scores.components.keys() == local.scores.components.keys()
    for name, values in local.scores.components.items():
        assert torch.equal(pooled.scores.components[name].view(torch.int32), values.view(torch.int32)), name
    assert len(local.scores.components["general"].unique()) == 8
    assert local.hidden == 0.0


@pytest.mark.parametrize("objective", ["nft", "grpo"])
@pytest.mark.parametrize(("micro_batch", "batch"), [(1, 3), (3, 2), (None, 4)])
def test_a_run_writes_the_same_metrics(objective: str, micro_batch: int | None, batch: int, tmp_path: Path) -> None:
    recipe = _recipe(objective, micro_batch)
    local, pooled = (_train(recipe, tmp_path / n, c) for n, c in (("local", Shades()), ("pooled", _pool(batch))))
    assert len(local) > 5
    assert any(record.get("missing") for record in local), "no video has failed: the test is too easy"
    assert pooled == local


def test_videos_that_no_worker_can_score_are_missing_and_change_nothing_else(tmp_path: Path) -> None:
    """The third batch of the first step, two members of the second group, fails; evaluation's 2 videos come before."""

    class Spoilt(Shades):
        def __init__(self) -> None:
            self.rows = 0

        def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
            scores = super().__call__(samples, use_3d)
            for row in range(len(samples)):
                if self.rows + row in (6, 7):
                    for values in (*scores.components.values(), scores.total):
                        values[row] = torch.nan
            self.rows += len(samples)
            return scores

    def fail(number: int) -> None:
        if number == 3:
            raise ValueError("out of memory")

    pool = threaded_pool(ThreadWorkers(Watched(fail)), batch=2, attempts=1)
    local, pooled = _train(_recipe(), tmp_path / "local", Spoilt()), _train(_recipe(), tmp_path / "pooled", pool)
    assert pooled == local
    assert local[1]["kind"] == "train"
    assert local[1]["missing"] >= 0.25


def test_workers_that_cannot_start_end_the_run_with_their_reason(tmp_path: Path) -> None:
    workers = ThreadWorkers(Shades(), starts=False)
    with pytest.raises(ChildProcessError, match="its models are missing"):
        _train(_recipe(), tmp_path / "run", threaded_pool(workers, batch=2))
    assert workers.alive == set()


def test_when_sampling_fails_the_workers_end() -> None:
    def break_down(part: int) -> None:
        if part == 2:
            raise RuntimeError("out of memory")

    workers = ThreadWorkers(Shades())
    with pytest.raises(RuntimeError, match="out of memory"):
        _step(_recipe(), _Decoding(break_down), threaded_pool(workers, batch=2))
    assert workers.alive == set()


def test_what_is_hidden_is_the_share_of_the_reward_that_nobody_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 0.0

    class Slow:
        """Scores for 8 seconds altogether, 2 of them after the last video has come."""

        seconds = 8.0

        def __init__(self) -> None:
            self.samples: list[Sample] = []

        def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
            return Shades()(samples, use_3d)

        @contextmanager
        def begin(self, use_3d: bool = True) -> Iterator[Slow]:
            yield self

        def add(self, samples: Sequence[Sample]) -> None:
            self.samples += samples
            Clock.now += 5.0

        def finish(self) -> Scores:
            Clock.now += 2.0
            return self(self.samples)

    monkeypatch.setattr(scored.time, "perf_counter", lambda: Clock.now)
    made = _step(_recipe(), ToyPolicy(), Slow())
    assert made.sampled == 20.0
    assert made.hidden == pytest.approx(0.75)


def _pool(batch: int) -> Composer:
    return threaded_pool(ThreadWorkers(Shades()), batch)


def _train(recipe: Recipe, root: Path, composer: Composer) -> list[dict[str, Any]]:
    """The metrics of a run, without times."""
    run = RunDirectory(root)
    root.mkdir()
    toy_trainer(recipe, run, reward=composer).fit()
    return [
        {name: value for name, value in record.items() if not name.startswith(TIME_PREFIX)}
        for record in read_metrics(run.metrics)
    ]


class _Bright:
    """Scores a video by its mean, and tells how many come at once."""

    def __init__(self) -> None:
        self.at_once: list[int] = []

    def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
        self.at_once.append(len(samples))
        values = torch.stack([sample.video.mean() for sample in samples])
        return Scores({"general": values}, values)


def test_no_more_videos_are_in_memory_than_are_scored_at_once() -> None:
    """8 videos in batches of 3 are decoded as they are scored, with the scores of all 8 together."""
    events: list[str] = []

    class Watched(ToyPolicy):
        def decode(self, latents: Tensor) -> Tensor:
            events.append(f"decoded {len(latents)}")
            return super().decode(latents)

    class Telling(_Bright):
        def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
            events.append(f"scored {len(samples)}")
            return super().__call__(samples, use_3d)

    recipe = _recipe(micro_batch=2)
    whole = _step(recipe, ToyPolicy(), _Bright())
    parts = _step(recipe, Watched(), InBatches(Telling(), 3))
    assert events == ["decoded 2", "decoded 1", "scored 3"] * 2 + ["decoded 2", "scored 2"]
    assert torch.equal(parts.scores.total, whole.scores.total)
    assert torch.equal(parts.rollout.latents, whole.rollout.latents)


def test_evaluation_scores_and_keeps_the_same_in_batches(tmp_path: Path) -> None:
    recipe = _recipe().model_copy(update={"evaluation": EvaluationSettings(prompts=4, videos=3)})
    found = {}
    for name, composer in (("whole", _Bright()), ("parts", InBatches(_Bright(), 2))):
        held_out = HeldOut(ToyPolicy(), recipe, PROMPTS.main, tmp_path / name, World())
        found[name] = held_out.evaluate(ToyPolicy(), composer, 0)
    assert found["whole"] == found["parts"]
    kept = {name: sorted((tmp_path / name / "step-00000000").glob("*.mp4")) for name in found}
    assert [len(files) for files in kept.values()] == [3, 3]
    for one, other in zip(*kept.values(), strict=True):
        assert one.read_bytes() == other.read_bytes()
