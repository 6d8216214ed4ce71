"""Many at once: order, batches, the queue, idempotency keys, draining, a reward that hangs."""

from __future__ import annotations

import asyncio

import pytest
import torch
from serving import OTHER, TOKEN, Telling, post, post_keyed, raw, refused, service, serving

from worldr1.camera.trajectory import Trajectory
from worldr1.rewards.types import Sample
from worldr1.serve.batcher import Batcher
from worldr1.serve.metrics import Metrics

pytestmark = pytest.mark.anyio


async def test_200_at_once_each_get_their_own_score() -> None:
    reward = Telling()
    async with serving(service(reward, batch=8)) as client:

        async def ask(number: int) -> tuple[int, float, float]:
            use_3d = number % 3 != 0
            answer = (await post(client, raw((number % 256) / 255), f"video {number}", use_3d=use_3d)).json()
            assert set(answer["components"]) == ({"mean", "number"} if use_3d else {"number"})
            mean = answer["components"].get("mean", (number % 256) / 255)
            return number, answer["components"]["number"], mean * 255

        answers = await asyncio.gather(*(ask(number) for number in range(200)))
    assert all(told == number for number, told, _ in answers)
    assert all(round(mean, 3) == number % 256 for number, _, mean in answers)
    assert sorted(prompt for call in reward.calls for prompt in call) == sorted(f"video {i}" for i in range(200))
    assert max(len(call) for call in reward.calls) <= 8


async def test_those_that_wait_are_scored_together_in_their_order() -> None:
    reward = Telling()
    reward.hold.clear()
    running = service(reward, batch=4, batch_wait=0.0)
    async with serving(running) as client:
        first = asyncio.create_task(post(client, raw(), "video 0"))
        await asyncio.to_thread(reward.entered.wait, 10)
        others = []
        for number in range(1, 7):
            others.append(asyncio.create_task(post(client, raw(), f"video {number}")))
            await _until(lambda number=number: running.waiting == number)
        reward.hold.set()
        await asyncio.gather(first, *others)
    assert reward.calls == [["video 0"], [f"video {i}" for i in range(1, 5)], ["video 5", "video 6"]]


async def test_one_bad_video_spoils_no_other_of_its_batch() -> None:
    reward = Telling()
    async with serving(service(reward, batch=6, batch_wait=5.0)) as client:
        prompts = ["video 1", "video 2", "fail 3", "video 4", "missing 5", "video 6"]
        answers = [r.json() for r in await asyncio.gather(*(post(client, raw(), prompt) for prompt in prompts))]
    assert len(reward.calls[0]) == 6
    assert [answer["components"].get("number") for answer in answers] == [1, 2, None, 4, 5, 6]
    assert [answer["total"] is None for answer in answers] == [False, False, True, False, True, False]


async def test_a_full_queue_is_told_by_503_and_frees_itself() -> None:
    reward = Telling()
    reward.hold.clear()
    running = service(reward, queue=3)
    async with serving(running) as client:
        held = [asyncio.create_task(post(client, raw(), f"video {i}")) for i in range(3)]
        await _until(lambda: running.at_work == 3)
        full = await post(client, raw())
        assert refused(full, 503, "3 places")
        assert int(full.headers["Retry-After"]) >= 1
        sent = 0

        async def body():
            nonlocal sent
            for _ in range(50):
                sent += 1
                yield bytes(1000)

        assert refused(await client.post("/v1/scores", content=body()), 503, "3 places")
        assert sent == 50, "it is read on, so that the client sees the refusal and no broken connection"
        assert (await client.get("/healthz")).status_code == 200
        assert "worldr1_requests_at_work 3.0" in (await client.get("/metrics")).text
        reward.hold.set()
        assert [response.status_code for response in await asyncio.gather(*held)] == [200] * 3
        assert (await post(client, raw())).status_code == 200
        assert running.at_work == 0


async def test_draining_answers_those_at_work_and_no_others() -> None:
    reward = Telling()
    reward.hold.clear()
    running = service(reward, batch=2)
    async with serving(running) as client:
        held = [asyncio.create_task(post(client, raw(), f"video {i}")) for i in range(5)]
        await _until(lambda: running.at_work == 5 and running.waiting >= 3)
        running.drain()
        late = await post(client, raw())
        assert refused(late, 503, "shutting down")
        assert int(late.headers["Retry-After"]) >= 1
        health = await client.get("/healthz")
        assert (health.status_code, health.json()) == (503, {"status": "draining"})
        reward.hold.set()
        answers = [response.json() for response in await asyncio.gather(*held)]
    assert [answer["components"]["number"] for answer in answers] == [0, 1, 2, 3, 4]


async def test_a_reward_that_hangs_is_told_and_its_queue_skipped() -> None:
    reward = Telling()
    reward.hold.clear()
    running = service(reward, score_seconds=1.0, batch=1)
    async with serving(running) as client:
        responses = await asyncio.gather(*(post(client, raw(), f"video {i}") for i in range(3)))
        assert all(refused(response, 503, "no score within 1 ") for response in responses)
        assert all("Retry-After" in response.headers for response in responses)
        await _until(lambda: running.status == "stuck")
        assert (await client.get("/healthz")).json() == {"status": "stuck"}
        reward.hold.set()
        assert (await post(client, raw(), "video 9")).json()["components"]["number"] == 9
        assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert len(reward.calls) == 2, "those that waited were given up"


def test_a_closed_batcher_has_scored_what_waited() -> None:
    reward = Telling()
    reward.hold.clear()
    batcher = Batcher(reward, batch=2, wait=0.0, metrics=Metrics())
    batcher.start()
    sample = Sample(torch.full((3, 3, 32, 32), 51, dtype=torch.uint8), "video 3", Trajectory.from_moves((), 3))
    jobs = [batcher.submit(sample, use_3d=True) for _ in range(5)]
    assert not batcher.close(timeout=0.05), "it tells that the reward is not done"
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit(sample, use_3d=True)
    reward.hold.set()
    assert batcher.close(timeout=10)
    assert [job.result(0).components for job in jobs] == [{"mean": pytest.approx(0.2), "number": 3.0}] * 5


async def test_a_repeated_key_is_scored_once_even_at_the_same_time() -> None:
    reward = Telling()
    async with serving(service(reward)) as client:
        same = await asyncio.gather(*(post_keyed(client, "k", raw(), "video 5") for _ in range(5)))
        later = await post_keyed(client, "k", raw(), "video 5")
        assert {response.text for response in (*same, later)} == {same[0].text}
        assert reward.calls == [["video 5"]]
        assert refused(await post_keyed(client, "k", raw(), "video 6"), 422, "idempotency key")
        assert refused(await post_keyed(client, "k", raw(0.1), "video 5"), 422, "idempotency key")
        assert refused(await post_keyed(client, "k" * 129, raw(), "video 5"), 422, "128")
        assert refused(await post_keyed(client, "\t", raw(), "video 5"), 422, "printable")
        foreign = await client.post(
            "/v1/scores", **_form("video 8"), headers={"Idempotency-Key": "k", "Authorization": f"Bearer {OTHER}"}
        )
        assert foreign.json()["components"]["number"] == 8, "keys of one token say nothing to another"


async def test_answers_are_kept_up_to_a_bound_and_failures_not() -> None:
    reward = Telling()
    running = service(reward, answers=2)
    async with serving(running) as client:
        for key in ("a", "b", "c"):
            await post_keyed(client, key, raw(), "video 1")
        await post_keyed(client, "c", raw(), "video 1")
        await post_keyed(client, "a", raw(), "video 1")
        assert len(reward.calls) == 4, "a was forgotten, c was kept"
        assert len(running.answers) == 2
        for _ in range(2):
            assert (await post_keyed(client, "f", raw(), "fail")).json()["problem"]
        assert len([call for call in reward.calls if call == ["fail"]]) == 2
        assert (await post_keyed(client, "g", b"junk", "video 1")).status_code == 415
        assert (await post_keyed(client, "g", raw(), "video 1")).status_code == 200


async def test_metrics_count_answers_batches_and_missing_scores() -> None:
    async with serving(service()) as client:
        await post(client, raw(), "video 1")
        await post(client, raw(), "missing")
        await post(client, b"junk")
        await client.get("/no/such/path")
        text = (await client.get("/metrics")).text
    assert 'worldr1_requests_total{path="/v1/scores",status="200"} 2.0' in text
    assert 'worldr1_requests_total{path="/v1/scores",status="415"} 1.0' in text
    assert 'worldr1_requests_total{path="other",status="404"} 1.0' in text
    assert "worldr1_videos_scored_total 2.0" in text
    assert "worldr1_scores_missing_total 1.0" in text
    assert "worldr1_batch_videos_count 2.0" in text
    assert TOKEN not in text


def _form(prompt: str):
    from serving import form

    return form(raw(), prompt)


async def _until(true) -> None:
    async def poll() -> None:
        while not true():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(poll(), 10)
