"""The judge behind a server: a real HTTP server in a thread, which also fails in every way that servers fail."""

from __future__ import annotations

import base64
import io
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import torch
from torch import Tensor

from worldr1.camera import Trajectory
from worldr1.rewards.openai_judge import OpenAIJudge, expected_digit_of_logprobs

Answer = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]
FIXED = Trajectory.from_moves((), 5)


def _send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in ({"Content_Length": str(len(body))} | headers).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def _completion(entries: Any) -> bytes:
    return json.dumps({"choices": [{"logprobs": {"content": [{"token": "5", "top_logprobs": entries}]}}]}).encode()


def _entries(probabilities: dict[str, float]) -> list[dict[str, Any]]:
    return [{"token": token, "logprob": math.log(p)} for token, p in probabilities.items()]


class _Server(ThreadingHTTPServer):
    """Keeps every request and answers it with `answers[request number]`, the last one for all later ones."""

    daemon_threads = True

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.tokens: list[str | None] = []
        self.paths: list[str] = []
        self.answers: list[Answer] = []
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            answer = self.server.answers[min(len(self.server.requests), len(self.server.answers) - 1)]
            self.server.requests.append(request)
            self.server.tokens.append(self.headers["Authorization"])
            self.server.paths.append(self.path)
        try:
            answer(self, request)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.paths.append("GET " + self.path)
        _send(self, _completion(_entries({"9": 1.0})))

    def log_message(self, format: str, *args: Any) -> None:
        return None


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = _Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def _judge(server: _Server, **settings: Any) -> OpenAIJudge:
    return OpenAIJudge(server.url, "qwen", **({"pause": 0.01, "timeout": 5.0, "retries": 2} | settings))


def _one(judge: OpenAIJudge) -> float:
    return float(judge(torch.full((1, 3, 8, 8), 0.5), ["a red box"], [FIXED]))


def _fixed_answer(body: bytes, status: int = 200, **headers: str) -> Answer:
    return lambda handler, request: _send(handler, body, status, **headers)


SEVEN = _fixed_answer(_completion(_entries({"7": 0.5, "The": 0.3})))


def _shown(request: dict[str, Any]) -> Tensor:
    """The picture [3,H,W] in 0..255 that a request carries."""
    import numpy as np
    from PIL import Image

    head, data = request["messages"][0]["content"][0]["image_url"]["url"].split(",")
    assert head == "data:image/png;base64"
    return torch.from_numpy(np.array(Image.open(io.BytesIO(base64.b64decode(data))))).permute(2, 0, 1)


def test_every_picture_gets_its_own_answer_however_they_arrive(server: _Server) -> None:
    """Digits d and d + 1 with odds 3 to 1 and a word besides, d and the delay by the picture: d + 1/4."""

    def by_picture(handler: BaseHTTPRequestHandler, request: dict[str, Any]) -> None:
        digit = int(_shown(request).float().mean()) // 25
        time.sleep(0.02 * (8 - digit))
        _send(handler, _completion(_entries({"Sure": 0.2, str(digit): 0.6, f" {digit + 1}": 0.2})))

    server.answers = [by_picture]
    digits = torch.arange(8)
    images = ((25 * digits + 12) / 255)[:, None, None, None].expand(8, 3, 6, 10)
    prompts = [f"scene {int(digit)}" for digit in digits]
    found = _judge(server)(images, prompts, [Trajectory.from_moves(("orbit left",), 5)] * 8)
    torch.testing.assert_close(found, digits + 0.25)
    for request in server.requests:
        digit = int(_shown(request).float().mean()) // 25
        text = request["messages"][0]["content"][1]["text"]
        assert f"scene {digit}\n" in text
        assert "on an arc around the scene" in text
        assert _shown(request).shape == (3, 6, 10)


def test_what_is_asked_of_the_server(server: _Server) -> None:
    server.answers = [SEVEN]
    assert _one(_judge(server, token="s3cret")) == pytest.approx(7.0)
    request = server.requests[0]
    asked = {key: request[key] for key in ("model", "max_tokens", "logprobs", "top_logprobs", "temperature", "top_p")}
    assert asked == {
        "model": "qwen",
        "max_tokens": 1,
        "logprobs": True,
        "top_logprobs": 20,
        "temperature": 1.0,
        "top_p": 1.0,
    }
    assert server.paths == ["/v1/chat/completions"]
    assert server.tokens == ["Bearer s3cret"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(server: _Server, status: int) -> None:
    server.answers = [_fixed_answer(b"busy", status), _fixed_answer(b"busy", status), SEVEN]
    assert _one(_judge(server)) == pytest.approx(7.0)
    assert len(server.requests) == 3


def test_it_waits_as_long_as_the_server_asks(server: _Server) -> None:
    server.answers = [_fixed_answer(b"busy", 429, Retry_After="1"), SEVEN]
    start = time.monotonic()
    assert _one(_judge(server)) == pytest.approx(7.0)
    assert time.monotonic() - start > 0.95


def test_a_server_that_stays_broken_gives_nan(server: _Server, caplog: pytest.LogCaptureFixture) -> None:
    server.answers = [_fixed_answer(b"out of memory", 500)]
    with caplog.at_level(logging.WARNING):
        assert math.isnan(_one(_judge(server)))
    assert len(server.requests) == 3
    assert "out of memory" in caplog.text


@pytest.mark.parametrize(
    ("status", "mend"), [(400, "rejects"), (401, "token"), (404, "/v1/models"), (302, "redirects")]
)
def test_what_asking_again_cannot_mend_is_not_repeated(
    server: _Server, status: int, mend: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [_fixed_answer(b"no", status, Location=server.url + "/elsewhere")]
    with caplog.at_level(logging.WARNING):
        assert math.isnan(_one(_judge(server, token="s3cret")))
    assert server.paths == ["/v1/chat/completions"], "no retry and no redirect followed"
    assert mend in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        b"<html>proxy</html>",
        b"[" * 100_000,
        b"{}",
        b'{"choices": [{"logprobs": null}]}',
        _completion([]),
        _completion([{"token": "7"}]),
        _completion([{"token": "7", "logprob": 2.0}]),
        _completion([{"token": "7", "logprob": None}]),
        _completion(_entries({"Seven": 0.9, "77": 0.05})),
        _completion([{"token": "7", "logprob": 0.0}]) + b" " * 1_000_001,
    ],
    ids=["html", "deep", "empty", "null", "none", "half", "positive", "nothing", "words", "huge"],
)
def test_an_answer_without_digits_is_nan_and_not_zero(server: _Server, body: bytes) -> None:
    server.answers = [_fixed_answer(body)]
    assert math.isnan(_one(_judge(server)))
    assert len(server.requests) == 1


def test_one_failure_costs_no_other_score(server: _Server) -> None:
    def dark_fails(handler: BaseHTTPRequestHandler, request: dict[str, Any]) -> None:
        dark = float(_shown(request).float().mean()) < 100
        _send(handler, b"no" if dark else _completion(_entries({"3": 0.4})), 400 if dark else 200)

    server.answers = [dark_fails]
    images = torch.tensor([0.9, 0.1, 0.8])[:, None, None, None].expand(3, 3, 4, 4)
    found = _judge(server)(images, ["a", "b", "c"], [FIXED] * 3)
    torch.testing.assert_close(found, torch.tensor([3.0, math.nan, 3.0]), equal_nan=True)


def test_a_truncated_answer_is_asked_for_again(server: _Server) -> None:
    body = _completion(_entries({"7": 0.5}))
    server.answers = [_fixed_answer(body[:40], Content_Length=str(len(body)), Connection="close"), SEVEN]
    assert _one(_judge(server)) == pytest.approx(7.0)
    assert len(server.requests) == 2


def test_silence_and_trickle_end_in_time(server: _Server) -> None:
    def silent(handler: BaseHTTPRequestHandler, request: dict[str, Any]) -> None:
        time.sleep(1.5)

    def trickle(handler: BaseHTTPRequestHandler, request: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(60):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)

    for answer in (silent, trickle):
        server.answers = [answer]
        start = time.monotonic()
        assert math.isnan(_one(_judge(server, timeout=0.4, retries=0)))
        assert time.monotonic() - start < 1.4


def test_no_server_gives_nan(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    gone = _Server()
    gone.server_close()
    with caplog.at_level(logging.WARNING):
        assert math.isnan(_one(_judge(gone)))
    assert "is the server up" in caplog.text


def test_expectation_over_the_digits_found() -> None:
    entries = _entries({"9": 0.4, " 9": 0.1, "2": 0.25, "12": 0.1, "٣": 0.05})
    entries.append({"token": "5", "logprob": -9999.0})
    assert expected_digit_of_logprobs(entries) == pytest.approx((9 * 0.5 + 2 * 0.25) / 0.75)
    assert expected_digit_of_logprobs([{"token": "4", "logprob": -2000.0}]) == pytest.approx(4.0)
    assert math.isnan(expected_digit_of_logprobs([{"token": "4", "logprob": -math.inf}]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"url": "localhost:8000"}, "must look like http://"),
        ({"url": "file:///etc/passwd"}, "must look like http://"),
        ({"timeout": 0}, "timeout 0 must be above 0"),
        ({"workers": 0}, "at least 1 worker"),
        ({"token": "two words\r\nX: y"}, "printable ASCII"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        OpenAIJudge(**({"url": "http://localhost:8000/v1", "model": "qwen"} | settings))
    assert "two words" not in str(raised.value)
