"""The rewriter against a chat server in a thread: what it sends, what it keeps, and what it says when things fail."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from worldr1.camera.language import parse_moves
from worldr1.data.grammar import generate_prompts
from worldr1.data.promptset import ScenePrompt
from worldr1.data.rewrite import KEY_VARIABLE, Endpoint, RewriteError, join_camera, rewrite_prompts

PROMPT = ScenePrompt(
    "The camera slowly pushes in on the pear. A pear on a table.", ("push in",), "a pear", "still life"
)


def completion(text: object) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


@dataclass
class Chat:
    """What a server answers, and what it was asked."""

    answer: Callable[[str], tuple[int, bytes]] = lambda prompt: (200, completion("A ripe pear glows on dark oak."))
    asked: list[tuple[str, dict[str, str], dict[str, object]]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    state = Chat()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.asked.append((self.path, dict(self.headers), body))
            code, answer = state.answer(body["messages"][-1]["content"])
            self.send_response(code)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def endpoint(chat: Chat) -> Endpoint:
    return Endpoint(chat.url, "writer", timeout=5.0, pause=0.0)


def test_the_camera_sentence_stays_word_for_word(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    done: list[int] = []
    rewritten = rewrite_prompts([PROMPT], endpoint(chat), done.append)
    assert rewritten.prompts[0].prompt == "The camera slowly pushes in on the pear. A ripe pear glows on dark oak."
    assert (rewritten.prompts[0].moves, rewritten.prompts[0].scene, rewritten.kept) == (("push in",), "a pear", 0)
    assert done == [1]
    ((path, headers, body),) = chat.asked
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret"
    assert body["model"] == "writer"
    assert body["messages"][-1] == {"role": "user", "content": PROMPT.prompt}  # type: ignore[index]


def test_every_kind_of_prompt_keeps_its_moves(chat: Chat) -> None:
    chat.answer = lambda prompt: (200, completion("Velvet dusk.\n\nThe camera pans left! Fine dust; old brass."))
    prompts = generate_prompts("test", 60)
    rewritten = rewrite_prompts(prompts, endpoint(chat))
    assert rewritten.kept == 0
    for before, after in zip(prompts, rewritten.prompts, strict=True):
        assert "Velvet dusk. Fine dust; old brass." in after.prompt
        assert "pans left!" not in after.prompt
        assert parse_moves(after.prompt) == before.moves == after.moves


def test_an_answer_that_speaks_of_nothing_else_keeps_the_prompt(chat: Chat) -> None:
    chat.answer = lambda prompt: (200, completion("The camera orbits left."))
    rewritten = rewrite_prompts([PROMPT], endpoint(chat))
    assert rewritten.prompts == [PROMPT]


def test_moves_over_several_sentences_stay_together() -> None:
    camera = "First the camera pans left. Then it pushes in. Finally, it orbits right."
    assert join_camera(f"A fig. {camera}", "Ripe figs.") == f"Ripe figs. {camera}"
    assert join_camera(f"{camera} A fig.", "Ripe figs.") == f"{camera} Ripe figs."
    assert join_camera("A fig.", "Ripe figs.") == "Ripe figs."


def test_a_busy_server_is_asked_again(chat: Chat) -> None:
    codes = iter([503, 429, 200])
    chat.answer = lambda prompt: (next(codes), completion("A ripe pear."))
    assert rewrite_prompts([PROMPT], endpoint(chat)).prompts[0].prompt.endswith("A ripe pear.")
    assert len(chat.asked) == 3


@pytest.mark.parametrize(
    ("code", "answer", "told", "requests"),
    [
        (401, b"", "HTTP 401 Unauthorized; set WORLDR1_API_KEY", 1),
        (404, b"", "HTTP 404 Not Found; check the address", 1),
        (500, b"", "HTTP 500", 3),
        (200, b"<html>", "no chat completion", 1),
        (200, b'{"choices": []}', "no chat completion", 1),
        (200, b"\xff", "no chat completion", 1),
        (200, completion(None), "empty text", 1),
        (200, completion(" "), "empty text", 1),
        (200, b"x" * (2 << 20), "more than 1 MiB", 1),
    ],
)
def test_what_fails_is_told_in_one_sentence(chat: Chat, code: int, answer: bytes, told: str, requests: int) -> None:
    chat.answer = lambda prompt: (code, answer)
    with pytest.raises(RewriteError) as caught:
        rewrite_prompts([PROMPT], endpoint(chat))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(chat.asked) == requests


def test_a_server_that_is_silent_or_absent(chat: Chat) -> None:
    release = threading.Event()
    chat.answer = lambda prompt: (200, completion("late")) if release.wait(5.0) else (200, b"")
    with pytest.raises(RewriteError, match="timed out"):
        rewrite_prompts([PROMPT], Endpoint(chat.url, "writer", timeout=0.1, attempts=1))
    release.set()
    with pytest.raises(RewriteError, match="is the server running"):
        rewrite_prompts([PROMPT], Endpoint("http://127.0.0.1:1/v1", "writer", timeout=5.0, attempts=1))


@pytest.mark.parametrize("url", ["file:///etc/hosts", "localhost:8000", "", "http://"])
def test_only_web_addresses_are_asked(url: str) -> None:
    with pytest.raises(ValueError, match="is no endpoint"):
        Endpoint(url, "writer")
    with pytest.raises(ValueError, match="name the model"):
        Endpoint("http://localhost:8000/v1", " ")
