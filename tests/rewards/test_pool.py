"""The reward from workers that are killed, freeze, fail, and answer late, twice and out of order. No time passes."""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections.abc import Iterator, Sequence

import pytest
import torch
from unsteady_workers import FAULTS, UnsteadyWorkers, at_random, equal

from worldr1.camera.trajectory import Trajectory
from worldr1.recipes import load_recipe
from worldr1.rewards.compose import InBatches, RewardComposer, weighted_sum
from worldr1.rewards.pool.dispatcher import Dispatcher, Limits
from worldr1.rewards.pool.messages import Event
from worldr1.rewards.pool.pool import Group, RewardPool
from worldr1.rewards.registry import NEEDS_RECONSTRUCTION, build_composer
from worldr1.rewards.types import Sample, Scores

CAMERA = Trajectory.from_moves((), 1)
WEIGHTS = {"recon": 1.5, "traj": 1.0, "general": 0.3}
QUICK = Limits(timeout=20.0, start_timeout=30.0, health_timeout=2.0)


class Toy:
    """Scores that tell every video from every other; `names` says which; recon fails for dark videos."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
        means = torch.stack([sample.video.mean() for sample in samples])
        known = {
            "recon": torch.where(means < 0.2, torch.nan, means.sin()),
            "traj": means.cos(),
            "general": means.exp(),
        }
        chosen = [name for name in self.names if use_3d or not NEEDS_RECONSTRUCTION[name]]
        return weighted_sum({name: known[name] for name in chosen}, WEIGHTS)


def videos(count: int, seed: int = 0) -> list[Sample]:
    draws = torch.rand(count, generator=torch.Generator().manual_seed(seed))
    return [Sample(value.expand(1, 3, 2, 2), "", CAMERA) for value in draws]


def pool_of(workers: UnsteadyWorkers, limits: Limits = QUICK, batch: int = 2) -> tuple[RewardPool, Dispatcher]:
    dispatcher = Dispatcher(workers, limits, workers.clock)
    return RewardPool([Group({n: NEEDS_RECONSTRUCTION[n] for n in WEIGHTS}, dispatcher)], WEIGHTS, batch), dispatcher


def pool_with(
    *faults: str | None, starts: Sequence[str | None] = (), limits: Limits = QUICK, batch: int = 2
) -> tuple[RewardPool, Dispatcher, UnsteadyWorkers]:
    workers = UnsteadyWorkers(Toy(tuple(WEIGHTS)), iter(faults), iter(starts))
    return *pool_of(workers, limits, batch), workers


def assert_local(pool: RewardPool, samples: Sequence[Sample], use_3d: bool = True) -> None:
    scores, local = pool(samples, use_3d), Toy(tuple(WEIGHTS))(samples, use_3d)
    assert equal(scores.components, local.components)
    assert equal({"total": scores.total}, {"total": local.total})


@pytest.mark.parametrize("use_3d", [True, False])
@pytest.mark.parametrize("count", [0, 1, 5, 8])
def test_without_faults_scores_are_the_local_ones(count: int, use_3d: bool) -> None:
    pool, dispatcher, _ = pool_with(limits=Limits(workers=(1, 3)))
    if count:
        assert_local(pool, videos(count), use_3d)
    else:
        assert pool([], use_3d).total.shape == (0,)
    assert not dispatcher.told


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("killed", {"died": 1}),
        ("frozen", {"frozen": 1}),
        ("late", {"frozen": 1}),
        ("raises", {"failed": 1}),
        ("too few", {"malformed": 1}),
        ("other names", {"malformed": 1}),
        ("nan", {"silent": 1}),
        ("twice", {"doubled": 1}),
        ("out of order", {}),
    ],
)
def test_each_fault_is_survived_and_counted(fault: str, told: dict[str, int]) -> None:
    pool, dispatcher, _ = pool_with(None, fault, limits=Limits(workers=(2, 2), timeout=20.0))
    assert_local(pool, videos(12))
    assert dispatcher.told == told


def test_a_batch_that_failed_does_not_wait_for_a_worker_that_still_starts() -> None:
    slow = Limits(workers=(2, 2), start_timeout=1800.0)
    pool, dispatcher, workers = pool_with("raises", starts=["frozen at start"], limits=slow)
    assert_local(pool, videos(2))
    assert workers.now == pytest.approx(5.0 + 2 * 1.0)  # the other's start, and the batch twice
    assert dispatcher.told == {"failed": 1}


@pytest.mark.parametrize(("attempts", "sent"), [(1, 1), (2, 2), (5, 2)])
def test_nan_for_a_whole_batch_is_asked_for_once_more_and_then_believed(attempts: int, sent: int) -> None:
    def silent(samples: Sequence[Sample], use_3d: bool = True) -> Scores:
        scores = Toy(tuple(WEIGHTS))(samples, use_3d)
        return weighted_sum({name: values * torch.nan for name, values in scores.components.items()}, WEIGHTS)

    workers = UnsteadyWorkers(silent, iter(()), iter(()))
    pool, dispatcher = pool_of(workers, Limits(attempts=attempts))
    assert pool(videos(2)).total.isnan().all()
    assert len(workers.sent) == sent
    assert dispatcher.told == ({"silent": 1} if sent == 2 else {})


def test_an_answer_of_an_earlier_step_is_dropped_and_counted() -> None:
    pool, dispatcher, workers = pool_with("late", limits=Limits(workers=(1, 1), timeout=20.0))
    assert_local(pool, videos(4, seed=0))
    assert workers.now < 51.0
    for seed in range(1, 20):
        assert_local(pool, videos(4, seed))
    assert workers.now > 51.0
    assert dispatcher.told == {"frozen": 1, "late": 1}


def test_a_batch_is_tried_by_another_worker_though_the_first_is_free_sooner() -> None:
    pool, dispatcher, workers = pool_with("raises", None, limits=Limits(workers=(2, 2), in_flight=1))
    assert_local(pool, videos(4))
    (first, request), *_, (last, again) = workers.sent
    assert (request, dispatcher.told) == (again, {"failed": 1})
    assert first != last


def test_a_worker_holds_no_more_than_it_may_and_all_are_used() -> None:
    pool, _, workers = pool_with(limits=Limits(workers=(1, 3), in_flight=2), batch=1)
    assert_local(pool, videos(30))
    assert workers.most_held == 2
    assert {worker for worker, _ in workers.sent} == {1, 2, 3}


def test_workers_grow_with_the_work_and_end_when_they_have_been_idle() -> None:
    pool, _, workers = pool_with(limits=Limits(workers=(1, 4), idle=100.0), batch=1)
    pool(videos(1))
    assert len(workers.alive) == 1
    pool(videos(9))
    assert len(workers.alive) == 4
    pool(videos(1))
    assert len(workers.alive) == 4
    workers.now += 200.0
    pool(videos(1))
    assert workers.alive.keys() == {workers.sent[-1][0]}


def test_a_worker_that_still_starts_when_the_next_step_begins_is_left_to_it() -> None:
    pool, dispatcher, workers = pool_with(limits=Limits(workers=(1, 2), health_timeout=2.0), batch=1)
    for step, batches in enumerate((1, 2, 3, 4)):
        assert_local(pool, videos(batches, seed=step))
    assert not dispatcher.told
    assert {worker for worker, _ in workers.sent} == {1, 2}


@pytest.mark.parametrize("speaks", [True, False], ids=["dead", "frozen"])
def test_workers_lost_between_steps_cost_no_attempt(speaks: bool) -> None:
    pool, dispatcher, workers = pool_with(limits=Limits(workers=(5, 5), attempts=1, health_timeout=2.0))
    assert_local(pool, videos(20))
    for worker in list(workers.alive):
        if speaks:
            workers.kill_idle(worker)
        else:
            workers.alive[worker] = False
    assert_local(pool, videos(20, seed=1))
    assert dispatcher.told == {"died" if speaks else "frozen": 5}


def test_a_batch_that_always_fails_is_missing_and_told(caplog: pytest.LogCaptureFixture) -> None:
    pool, dispatcher, _ = pool_with("killed", "killed", "killed", limits=Limits(workers=(1, 1), in_flight=1))
    samples = videos(6)
    scores, local = pool(samples), Toy(tuple(WEIGHTS))(samples)
    assert scores.total.isnan().tolist()[:2] == [True, True]
    assert equal({"total": scores.total[2:]}, {"total": local.total[2:]})
    assert dispatcher.told == {"died": 3, "given up": 1}
    assert "2 videos have no score after 3 attempts: killed" in caplog.text
    assert "3 died, 1 given up" in caplog.text


def test_a_worker_that_keeps_failing_is_replaced() -> None:
    pool, dispatcher, workers = pool_with(*["raises"] * 2, limits=Limits(workers=(1, 1), in_flight=1))
    assert_local(pool, videos(2))
    assert dispatcher.told == {"failed": 2, "replaced": 1}
    assert [worker for worker, _ in workers.sent] == [1, 1, 2]


def test_workers_that_never_start_end_the_run_with_their_reason() -> None:
    pool, _, workers = pool_with(starts=["killed at start"] * 9)
    with pytest.raises(ChildProcessError, match=r"3 reward workers in a row .* models are missing"):
        pool(videos(2))
    assert workers.alive == {}


def test_starts_may_fail_again_once_something_was_scored() -> None:
    failing: list[str | None] = ["killed at start", "killed at start", None]
    pool, dispatcher, _ = pool_with(None, "killed", starts=failing * 2, limits=Limits(workers=(1, 1), in_flight=1))
    assert_local(pool, videos(6))
    assert dispatcher.told == {"died": 5}


def test_when_one_group_gives_up_the_others_end_at_once() -> None:
    class Standing(UnsteadyWorkers):
        """Time stands still: nothing is ever answered, and nothing is ever late."""

        def poll(self, seconds: float) -> Sequence[Event]:
            time.sleep(0.01)
            return []

    standing = Standing(Toy(["general"]), iter(()), iter(()))
    waiting = Group({"general": False}, Dispatcher(standing, QUICK, standing.clock))
    broken = UnsteadyWorkers(Toy(["recon"]), iter(()), iter(["killed at start"] * 3))
    failing = Group({"recon": True}, Dispatcher(broken, QUICK, broken.clock))
    pool = RewardPool([failing, waiting], {"recon": 1.0, "general": 1.0}, 1)
    with pytest.raises(ChildProcessError):
        pool(videos(2))
    assert standing.alive == {}
    with pytest.raises(InterruptedError, match="given up"):
        pool(videos(2))


def test_closing_ends_all_workers() -> None:
    pool, _, workers = pool_with(limits=Limits(workers=(2, 2)))
    pool(videos(4))
    pool.close()
    assert workers.alive == {}


def test_groups_that_do_not_fit_the_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="weights are given for"):
        RewardPool([], WEIGHTS, 1)


def test_without_a_general_reward_the_dynamic_phase_is_refused() -> None:
    dispatcher = Dispatcher(UnsteadyWorkers(Toy(["recon"]), iter(()), iter(())), QUICK)
    with pytest.raises(ValueError, match="leaves no reward"):
        RewardPool([Group({"recon": True}, dispatcher)], {"recon": 1.0}, 1)(videos(1), use_3d=False)


def test_hundreds_of_random_faults_change_no_score_and_lose_none(caplog: pytest.LogCaptureFixture) -> None:
    """60 steps over two groups of workers; a third of all batches and a tenth of all starts go wrong."""
    rng = random.Random(20)
    sending = [fault for fault in FAULTS if not fault.startswith("killed ")]

    def unsteady(names: Sequence[str]) -> tuple[Group, UnsteadyWorkers]:
        seed = rng.random()
        starts: Iterator[str | None] = at_random(random.Random(seed), ["killed at start"], 0.1)
        workers = UnsteadyWorkers(Toy(names), at_random(random.Random(seed + 1), sending, 0.3), starts)
        limits = Limits((2, 4), 2, timeout=20.0, start_timeout=30.0, health_timeout=2.0, attempts=12)
        return Group({n: NEEDS_RECONSTRUCTION[n] for n in names}, Dispatcher(workers, limits, workers.clock)), workers

    (scene, first), (general, second) = unsteady(["recon", "traj"]), unsteady(["general"])
    pool = RewardPool([general, scene], WEIGHTS, batch=2)
    missing = 0
    for step in range(60):
        for workers in (first, second):
            if rng.random() < 0.3:
                workers.kill_idle(rng.choice(sorted(workers.alive or {0})))
        samples = videos(15, seed=step)
        assert_local(pool, samples, use_3d=step % 5 != 0)
        missing += int(pool(samples).components["recon"].isnan().sum())
    met = first.met + second.met
    told = scene.dispatcher.told + general.dispatcher.told
    with caplog.at_level(logging.INFO):
        logging.getLogger(__name__).info("%d faults: %s; told %s; %d nan", met.total(), dict(met), dict(told), missing)
    assert met.keys() == set(FAULTS)
    assert min(met.values()) >= 5
    assert met.total() >= 200
    assert told.keys() >= {"died", "frozen", "failed", "malformed", "silent", "doubled", "late"}
    assert told["given up"] == 0
    assert missing > 50
    assert max(first.most_held, second.most_held) == 2


@pytest.mark.parametrize("sizes", [[11], [3, 1, 4, 3], [1] * 11, [4, 4, 3], [2, 0, 9]])
@pytest.mark.parametrize("seed", range(3))
def test_videos_that_come_in_parts_fill_the_same_batches_and_have_the_same_scores(sizes: list[int], seed: int) -> None:
    batches: list[int] = []

    class Counting(Toy):
        def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
            batches.append(len(samples))
            return super().__call__(samples, use_3d)

    faults = at_random(random.Random(seed), ["killed", "raises", "twice", "out of order"], 0.3 if seed else 0.0)
    workers = UnsteadyWorkers(Counting(tuple(WEIGHTS)), faults, iter(()))
    pool, _ = pool_of(workers, Limits(workers=(1, 2), timeout=20.0, start_timeout=30.0, attempts=12), batch=4)
    for step in range(3):
        samples, coming = videos(11, seed=step), iter(videos(11, seed=step))
        with pool.begin() as scoring:
            for size in sizes:
                scoring.add(list(itertools.islice(coming, size)))
            scores = scoring.finish()
        local = Toy(tuple(WEIGHTS))(samples)
        assert equal({**scores.components, "total": scores.total}, {**local.components, "total": local.total})
    if not seed:
        assert sorted(batches) == [3] * 3 + [4] * 6


def test_the_seconds_of_scoring_are_those_in_which_something_was_not_scored() -> None:
    pool, dispatcher, _ = pool_with(limits=Limits(workers=(1, 1)))
    pool(videos(8))
    assert dispatcher.busy == pytest.approx(5.0 + 4 * 1.0)  # the worker's start, and four batches
    pool(videos(8))
    assert dispatcher.busy == pytest.approx(4 * 1.0)
    assert pool([]).total.shape == (0,)
    assert dispatcher.busy == 0.0


def test_batches_change_nothing_but_how_many_are_scored_at_once() -> None:
    sizes: list[int] = []

    class Counting(Toy):
        def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
            sizes.append(len(samples))
            return super().__call__(samples, use_3d)

    samples = videos(7)
    scores, whole = InBatches(Counting(tuple(WEIGHTS)), 3)(samples), Toy(tuple(WEIGHTS))(samples)
    assert sizes == [3, 3, 1]
    assert equal({**scores.components, "total": scores.total}, {**whole.components, "total": whole.total})


def test_what_is_said_to_need_a_scene_is_what_needs_one() -> None:
    composer = build_composer(load_recipe("tiny").reward)
    assert isinstance(composer, RewardComposer)
    assert {n: reward.needs_reconstruction for n, reward in composer.rewards.items()} == dict(NEEDS_RECONSTRUCTION)
