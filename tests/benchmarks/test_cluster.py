"""The simulated step against closed forms; the costs against the plan that they come from."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.cluster_costs import Instant, dispatch_seconds
from benchmarks.cluster_sim import Pool, Service, Step, simulate_step


def served(ready, seconds, pool: Pool, seed: int = 0):
    return Service(np.asarray(ready, float), np.asarray(seconds, float), pool, np.random.default_rng(seed)).run()


def test_one_worker_takes_the_sum_and_many_the_longest() -> None:
    seconds = np.random.default_rng(1).uniform(1, 5, 40)
    assert served(np.zeros(40), seconds, Pool(1)).end == pytest.approx(seconds.sum())
    ready = np.random.default_rng(2).uniform(0, 20, 40)
    assert served(ready, seconds, Pool(40)).end == pytest.approx((ready + seconds).max())


def test_a_slow_network_is_the_whole_time_and_a_fast_one_hides() -> None:
    slow = served(np.zeros(30), np.full(30, 0.1), Pool(30, transfer=2.0))
    assert slow.end == pytest.approx(30 * 2.0 + 0.1)
    hidden = served(np.zeros(30), np.full(30, 1.0), Pool(1, in_flight=2, transfer=0.2, dispatch=0.1))
    assert hidden.end == pytest.approx(0.3 + 30 * 1.0)
    unhidden = served(np.zeros(30), np.full(30, 1.0), Pool(1, in_flight=1, transfer=0.2, dispatch=0.1))
    assert unhidden.end == pytest.approx(30 * 1.3)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_random_arrivals_wait_as_pollaczek_and_khinchine_say(load: float) -> None:
    rng = np.random.default_rng(3)
    ready = np.cumsum(rng.exponential(1 / load, 40_000))
    waits = served(ready, np.ones(40_000), Pool(1, in_flight=1)).scored - ready - 1
    assert waits.mean() == pytest.approx(load / (2 * (1 - load)), rel=0.06)


def test_attempts_are_a_truncated_geometric_number() -> None:
    count, chance = 20_000, 0.3
    done = served(np.zeros(count), np.full(count, 1.0), Pool(50, attempts=3, death=chance, restart=5.0))
    lost = np.isnan(done.scored).mean()
    assert abs(lost - chance**3) < 5 * math.sqrt(chance**3 / count)
    tries = 1 + chance + chance**2
    assert done.deaths / count == pytest.approx(chance * tries, rel=0.05)
    assert done.busy == pytest.approx(count - np.isnan(done.scored).sum())


def test_every_batch_is_scored_once_whatever_dies() -> None:
    pool = Pool(7, attempts=1000, death=0.5, restart=3.0, transfer=0.1, dispatch=0.05)
    done = served(np.arange(500) / 10, np.full(500, 2.0), pool)
    assert np.isfinite(done.scored).all()
    assert done.busy == pytest.approx(1000.0)
    assert done.end > 1000.0 / 7
    assert served(np.arange(500) / 10, np.full(500, 2.0), pool).end == done.end, "equal seeds"


STEP = Step(videos=12, ranks=1, sample=10.0, score=3.0, update=5.0, pool=Pool(1))


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({"pool": None}, 12 * (10 + 3 + 5)),
        ({"overlap": False}, 12 * (10 + 3 + 5)),
        ({}, 12 * 10 + 3 + 12 * 5),
        ({"score": 30.0}, 10 + 12 * 30 + 12 * 5),
        ({"ranks": 12, "pool": Pool(12)}, 10 + 3 + 5),
        ({"ranks": 5, "pool": None}, 3 * (10 + 3 + 5)),
        ({"ranks": 12, "pool": Pool(3), "batch": 4, "overlap": False}, 10 + 4 * 3 + 5),
        ({"ranks": 4, "pool": Pool(4), "pools": 4, "overlap": False}, 3 * (10 + 3 + 5)),
    ],
)
def test_a_step_without_chance_is_a_sum(changes: dict, seconds: float) -> None:
    outcome = simulate_step(replace(STEP, **changes))
    assert outcome.seconds == pytest.approx(seconds)
    assert outcome.sampling + outcome.waiting + outcome.updating == pytest.approx(seconds)


def test_shares_of_time() -> None:
    outcome = simulate_step(replace(STEP, overlap=False))
    assert outcome.idle == pytest.approx(3 / 18)
    assert outcome.workers_busy == pytest.approx(3 / 18)


def test_a_step_that_cannot_be_is_refused() -> None:
    for changes in ({"ranks": 13}, {"pools": 2}, {"ranks": 2, "pools": 2}):
        with pytest.raises(ValueError, match="each pool a rank and a worker"):
            simulate_step(replace(STEP, **changes))


def test_the_real_dispatcher_is_timed_over_workers_that_speak_one_at_a_time() -> None:
    workers = Instant()
    assert [workers.start(), workers.start()] == [1, 2]
    assert len(workers.poll(0.0)) == 1
    assert 0 < dispatch_seconds(3, batches=20) < 1
