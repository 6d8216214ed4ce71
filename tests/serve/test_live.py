"""A real server on a free port: client, composer, signals, the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import torch
from serving import TOKEN, Telling, form, live, raw, service

from worldr1.camera.trajectory import Trajectory
from worldr1.cli.main import main
from worldr1.rewards.types import Sample
from worldr1.serve.client import RewardClient, RewardServiceError
from worldr1.serve.remote import RemoteComposer
from worldr1.serve.server import listen


def sample(number: int) -> Sample:
    video = torch.full((4, 3, 32, 32), (number % 256) / 255)
    return Sample(video, f"video {number}", Trajectory.from_moves(("orbit left",), 4))


def test_a_trainer_scores_through_the_wire_as_in_its_process() -> None:
    samples = [sample(number) for number in range(60)]
    local = Telling()(samples)
    with live(service(batch=8)) as (url, _), RewardClient(url, TOKEN) as client:
        scores = RemoteComposer(client, parallel=16)(samples)
        flat = RemoteComposer(client)(samples[:3], use_3d=False)
    assert torch.equal(scores.total, local.total)
    assert all(torch.equal(scores.components[name], values) for name, values in local.components.items())
    assert flat.total.tolist() == [0.0, 1.0, 2.0]


def test_a_wrong_token_is_told_before_training() -> None:
    with live(service()) as (url, _), RewardClient(url, "wrong", sleep=_never) as client:
        with pytest.raises(RewardServiceError, match="HTTP 401") as told:
            RemoteComposer(client)
        assert told.value.status == 401


def test_a_full_service_answers_large_uploads_and_the_client_waits_for_its_place() -> None:
    reward = Telling()
    reward.hold.clear()
    large = raw(frames=40, height=256, width=256)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        reward.hold.set()
        time.sleep(0.05)

    with live(service(reward, queue=1)) as (url, _), ThreadPoolExecutor(1) as pool:
        held = pool.submit(httpx.post, f"{url}/v1/scores", **form(raw(), "video 1"), headers=headers, timeout=20)
        assert reward.entered.wait(10)
        full = httpx.post(f"{url}/v1/scores", **form(large), headers=headers, timeout=20)
        assert (full.status_code, full.headers["Retry-After"]) == (503, "1"), "8 MB unread lose no refusal"
        with RewardClient(url, TOKEN, sleep=pause) as client:
            assert client.score(sample(2)).components["number"] == 2
        assert held.result().json()["components"]["number"] == 1
    assert pauses
    assert pauses[0] >= 1.0


def test_sigterm_answers_what_is_at_work_then_ends() -> None:
    reward = Telling()
    reward.hold.clear()
    running = service(reward, batch=2)
    with live(running) as (url, server), ThreadPoolExecutor(5) as pool, RewardClient(url, TOKEN) as client:
        held = [pool.submit(client.score, sample(number)) for number in range(5)]
        _until(lambda: running.at_work == 5)
        server.handle_exit(signal.SIGTERM, None)
        _until(lambda: _refuses(url))
        assert not any(answer.done() for answer in held)
        assert running.status == "draining", "connections that are open already get no further request in"
        reward.hold.set()
        assert [answer.result(20).components["number"] for answer in held] == [0, 1, 2, 3, 4]


def test_the_command_refuses_to_start_open_to_others(capsys, tmp_path: Path) -> None:
    assert main(["serve", "--host", "0.0.0.0"]) == 1
    assert "--token-file" in capsys.readouterr().err
    assert main(["serve", "--host", "0.0.0.0", "--token-file", str(tmp_path / "none")]) == 1
    assert "no token file" in capsys.readouterr().err
    assert main(["serve", "--queue", "0"]) == 1
    assert "queue is 0" in capsys.readouterr().err
    assert main(["serve", "--recipe", "tinny"]) == 1
    assert "did you mean 'tiny'" in capsys.readouterr().err
    with listen("127.0.0.1", 0) as taken:
        assert main(["serve", "--port", str(taken.getsockname()[1])]) == 1
        assert "--port" in capsys.readouterr().err


@pytest.mark.slow
def test_the_tiny_reward_as_a_process_of_its_own(tmp_path: Path) -> None:
    from worldr1.recipes import load_recipe
    from worldr1.rewards.registry import build_composer

    tokens, log = tmp_path / "tokens", tmp_path / "log"
    tokens.write_text(TOKEN + "\n")
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    words = ["-m", "worldr1.cli.main", "serve", "--port", str(port), "--token-file", str(tokens)]
    with log.open("w") as stream:
        process = subprocess.Popen([sys.executable, *words], stderr=stream, env=dict(os.environ))
    try:
        _until(lambda: not _refuses(f"http://127.0.0.1:{port}"), 300)
        clip = torch.rand(9, 3, 64, 64)
        asked = Sample(clip, "camera orbit left. a red box", Trajectory.from_moves(("orbit left",), 9))
        with RewardClient(f"http://127.0.0.1:{port}", TOKEN) as client:
            remote = RemoteComposer(client)([asked])
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    finally:
        process.kill()
    local = build_composer(load_recipe("tiny").reward)([asked])
    assert set(remote.components) == set(local.components)
    torch.testing.assert_close(remote.total, local.total, atol=1e-4, rtol=1e-4, equal_nan=True)


def _refuses(url: str) -> bool:
    try:
        httpx.get(f"{url}/healthz", timeout=1)
    except httpx.TransportError:
        return True
    return False


def _until(true, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _never(seconds: float) -> None:
    raise AssertionError("no retry can help")
