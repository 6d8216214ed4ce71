"""The client against a service of canned answers: retries, Retry-After, keys, missing scores."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import httpx
import pytest
import torch
from safetensors.torch import load

from worldr1.camera.trajectory import Trajectory
from worldr1.rewards.types import Sample
from worldr1.serve.client import RewardClient, RewardServiceError
from worldr1.serve.remote import RemoteComposer

INFO = {
    "components": {
        "recon": {"weight": 1.0, "needs_reconstruction": True},
        "general": {"weight": 1.0, "needs_reconstruction": False},
    }
}


class Canned:
    """Answers in turn; the last one again and again. An exception is raised. The reward's description always comes."""

    def __init__(self, *answers: httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.pauses: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/reward":
            return httpx.Response(200, json=INFO)
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    def client(self, **settings) -> RewardClient:
        transport = httpx.MockTransport(self)
        return RewardClient("http://test/", "secret", transport=transport, sleep=self.pauses.append, **settings)


def good(recon: float | None = 0.5, general: float | None = 0.25, total: float | None = 0.75) -> httpx.Response:
    return httpx.Response(200, json={"components": {"recon": recon, "general": general}, "total": total})


def busy(status: int, after: str | None = None) -> httpx.Response:
    return httpx.Response(status, json={"detail": "busy"}, headers={} if after is None else {"Retry-After": after})


def sample(value: float = 0.5, prompt: str = "a box") -> Sample:
    trajectory = Trajectory.from_moves(("orbit left",), 3, fov=50.0)
    return Sample(torch.full((3, 3, 32, 32), value), prompt, trajectory)


def test_the_request_holds_the_whole_sample() -> None:
    canned = Canned(good())
    with canned.client() as client:
        answer = client.score(sample(0.3), use_3d=False)
    assert (answer.components, answer.total) == ({"recon": 0.5, "general": 0.25}, 0.75)
    request = canned.requests[0]
    assert request.headers["Authorization"] == "Bearer secret"
    assert str(request.url) == "http://test/v1/scores"
    asked, video = _parts(request)
    assert (asked["prompt"], asked["use_3d"]) == ("a box", False)
    assert torch.equal(torch.tensor(asked["trajectory"]["c2w"]), sample().trajectory.c2w)
    assert (asked["trajectory"]["moves"], asked["trajectory"]["fov"]) == (["orbit left"], 50.0)
    assert torch.equal(video, sample(0.3).video)


@pytest.mark.parametrize("failure", [busy(408), busy(429), busy(500), busy(502), busy(503), busy(504)])
def test_a_passing_failure_is_retried_with_the_same_key(failure: httpx.Response) -> None:
    canned = Canned(failure, failure, good())
    assert canned.client(pause=0.5).score(sample()).total == 0.75
    keys = {request.headers["Idempotency-Key"] for request in canned.requests}
    assert (len(canned.requests), len(keys)) == (3, 1)
    assert 0.37 < canned.pauses[0] < 0.63
    assert 0.75 < canned.pauses[1] < 1.26


@pytest.mark.parametrize(
    "failure", [httpx.ConnectError("refused"), httpx.ReadTimeout("late"), httpx.ReadError("reset")]
)
def test_a_lost_connection_is_retried(failure: Exception) -> None:
    canned = Canned(failure, good())
    assert canned.client().score(sample()).total == 0.75
    assert len({request.content for request in canned.requests}) == 1


@pytest.mark.parametrize(("after", "least", "most"), [("7", 7, 7), ("3600", 60, 60), ("soon", 0, 1), ("0", 0, 1)])
def test_retry_after_is_honoured_up_to_a_minute(after: str, least: float, most: float) -> None:
    canned = Canned(busy(503, after), good())
    canned.client(pause=0.5).score(sample())
    assert least <= canned.pauses[0] <= most


def test_other_videos_have_other_keys() -> None:
    canned = Canned(good())
    client = canned.client()
    client.score(sample())
    client.score(sample())
    assert len({request.headers["Idempotency-Key"] for request in canned.requests}) == 2


@pytest.mark.parametrize("status", [400, 401, 404, 413, 415, 422, 307])
def test_a_refusal_is_told_at_once(status: int) -> None:
    canned = Canned(busy(status))
    with pytest.raises(RewardServiceError, match=f"HTTP {status}: .*busy") as told:
        canned.client().score(sample())
    assert told.value.status == status
    assert canned.pauses == []


def test_retries_end() -> None:
    canned = Canned(httpx.ConnectError("refused"))
    with pytest.raises(RewardServiceError, match="is the service up") as told:
        canned.client(retries=3).score(sample())
    assert told.value.status is None
    assert (len(canned.requests), len(canned.pauses)) == (4, 3)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b'{"components": {"a": "high"}, "total": 1}', b'{"total": NaN}']
)
def test_another_kind_of_server_is_told(body: bytes) -> None:
    with pytest.raises(RewardServiceError, match="does not answer as"):
        Canned(httpx.Response(200, content=body)).client().score(sample())


@pytest.mark.parametrize(("url", "token"), [("rewards:8000", None), ("http://x", "two words"), ("http://x", "a\nb")])
def test_wrong_settings_are_told(url: str, token: str | None) -> None:
    with pytest.raises(ValueError, match=r"address|printable"):
        RewardClient(url, token)


def test_the_composer_keeps_order_and_misses_what_failed() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        number = float(_parts(request)[0]["prompt"])
        if number == 2:
            return busy(422)
        if number == 4:
            return good(None, 4.0, None)
        return good(number, 2 * number, 3 * number)

    composer = RemoteComposer(Canned(answer).client(), parallel=4)
    scores = composer([sample(prompt=str(number)) for number in range(8)])
    nan = math.nan
    expected = {"recon": [0, 1, nan, 3, nan, 5, 6, 7], "general": [0, 2, nan, 6, 4, 10, 12, 14]}
    assert list(scores.components) == ["recon", "general"]
    for name, values in expected.items():
        torch.testing.assert_close(scores.components[name], torch.tensor(values, dtype=torch.float32), equal_nan=True)
    total = torch.tensor([0, 3, nan, 9, nan, 15, 18, 21])
    torch.testing.assert_close(scores.total, total, equal_nan=True)


def test_a_total_without_all_its_components_is_missing() -> None:
    lying = httpx.Response(200, json={"components": {"recon": 0.5}, "total": 1.0})
    scores = RemoteComposer(Canned(lying).client())([sample()])
    assert scores.components["recon"].tolist() == [0.5]
    assert scores.components["general"].isnan().all()
    assert scores.total.isnan().all()


def test_the_composer_without_3d_and_with_nothing_to_score() -> None:
    composer = RemoteComposer(Canned(good()).client())
    assert list(composer([sample()], use_3d=False).components) == ["general"]
    empty = composer([])
    assert empty.total.shape == (0,)
    with pytest.raises(ValueError, match="parallel"):
        RemoteComposer(Canned(good()).client(), parallel=0)


def _parts(request: httpx.Request) -> tuple[dict, torch.Tensor]:
    boundary = request.headers["Content-Type"].partition("boundary=")[2].encode()
    parts = request.read().split(b"--" + boundary)[1:-1]
    bodies = [part.partition(b"\r\n\r\n")[2][:-2] for part in parts]
    return json.loads(bodies[0]), load(bodies[1])["video"]
