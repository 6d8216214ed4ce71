"""Longer prompts from any OpenAI-compatible model; what they ask of the camera stays word for word."""

from __future__ import annotations

import http.client
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from worldr1.camera.language import parse_moves
from worldr1.data.promptset import ScenePrompt

KEY_VARIABLE = "WORLDR1_API_KEY"
"""Name of the environment variable with the endpoint's key, where it wants one."""

_LARGEST_REPLY = 1 << 20
_LONGEST_PROMPT = 2000
_BUSY = (408, 429, 500, 502, 503, 504)
_INSTRUCTION = (
    "You expand prompts of a text-to-video model. Describe the same scene in two to four sentences: the same subject, "
    "place and light, with concrete detail of materials, surroundings and atmosphere. Add no people or events that the "
    "prompt does not name. Say nothing about the camera, the view or its movement. Answer with the description alone."
)


class RewriteError(ValueError):
    """The endpoint could not be asked, or its answer could not be used."""


@dataclass(frozen=True)
class Endpoint:
    """A chat endpoint that speaks OpenAI's protocol.

    Attributes:
        url: its base, such as ``http://localhost:8000/v1``.
        model: name of the model as the server knows it.
        timeout: seconds to wait for an answer.
        attempts: how often a busy or unreachable server is asked.
        pause: seconds before it is asked again; twice as long each time.

    Raises:
        ValueError: the address is not http or https, or the model has no name.
    """

    url: str
    model: str
    timeout: float = 60.0
    attempts: int = 3
    pause: float = 1.0

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(f"'{self.url}' is no endpoint; give an address such as http://localhost:8000/v1")
        if not self.model.strip():
            raise ValueError("name the model that rewrites, as its server knows it")

    @property
    def address(self) -> str:
        """Where a chat is asked for."""
        base = self.url.rstrip("/")
        return base if base.endswith("/chat/completions") else f"{base}/chat/completions"


@dataclass(frozen=True)
class Rewritten:
    """The prompts after rewriting.

    Attributes:
        prompts: as many as before, in their order.
        kept: how many stayed as they were because the answer would have asked something else of the camera.
    """

    prompts: list[ScenePrompt]
    kept: int


def rewrite_prompts(
    prompts: Sequence[ScenePrompt], endpoint: Endpoint, report: Callable[[int], None] = lambda done: None
) -> Rewritten:
    """Expand each prompt with a language model.

    The sentences about the camera are kept word for word; sentences about the camera in the answer are dropped.

    Args:
        prompts: moves, scene and domain of each stay as they are.
        endpoint: the model to ask, once a prompt.
        report: called with the number of prompts that are done.

    Raises:
        RewriteError: the endpoint cannot be reached, refuses, or answers with something that is no chat completion.
    """
    rewritten: list[ScenePrompt] = []
    kept = 0
    for prompt in prompts:
        text = join_camera(prompt.prompt, ask(endpoint, prompt.prompt))
        if parse_moves(text) != prompt.moves:
            text = prompt.prompt
            kept += 1
        rewritten.append(replace(prompt, prompt=text))
        report(len(rewritten))
    return Rewritten(rewritten, kept)


def join_camera(prompt: str, description: str) -> str:
    """The description with the prompt's own camera sentences, where they stood: before or after the scene.

    The prompt itself, when the description says nothing but what the camera does.
    """
    sentences = _sentences(prompt)
    start, end = _camera_span(sentences)
    camera = " ".join(sentences[start:end])
    scene = " ".join(sentence for sentence in _sentences(description) if not _names_camera(sentence))
    if not scene:
        return prompt
    first = start == 0 and end < len(sentences)
    return " ".join(part for part in ((camera, scene) if first else (scene, camera)) if part)


def _camera_span(sentences: Sequence[str]) -> tuple[int, int]:
    """Start and end of the fewest sentences that ask for all that the whole text asks of the camera."""
    moves = parse_moves(" ".join(sentences))
    for length in range(len(sentences) + 1):
        for start in range(len(sentences) - length + 1):
            if parse_moves(" ".join(sentences[start : start + length])) == moves:
                return start, start + length
    return 0, len(sentences)


def ask(endpoint: Endpoint, prompt: str) -> str:
    """The model's description for one prompt, on one line.

    Raises:
        RewriteError: see `rewrite_prompts`.
    """
    chat = [{"role": "system", "content": _INSTRUCTION}, {"role": "user", "content": prompt}]
    body = json.dumps({"model": endpoint.model, "messages": chat, "max_tokens": 400, "temperature": 0.7})
    reply = _send(endpoint, body.encode())
    try:
        text = json.loads(reply)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        raise RewriteError(f"{endpoint.address} answered with something that is no chat completion") from error
    if not isinstance(text, str) or not text.strip():
        raise RewriteError(f"model '{endpoint.model}' at {endpoint.address} answered with an empty text")
    return " ".join(text.split())[:_LONGEST_PROMPT]


def _send(endpoint: Endpoint, body: bytes) -> bytes:
    last = ""
    for attempt in range(endpoint.attempts):
        if attempt:
            time.sleep(endpoint.pause * 2 ** (attempt - 1))
        try:
            with urllib.request.urlopen(_request(endpoint, body), timeout=endpoint.timeout) as answer:
                reply: bytes = answer.read(_LARGEST_REPLY + 1)
        except urllib.error.HTTPError as error:
            last = f"HTTP {error.code} {error.reason}"
            error.close()
            if error.code not in _BUSY:
                break
        except (OSError, http.client.HTTPException) as error:
            last = str(getattr(error, "reason", error)) or type(error).__name__
        else:
            if len(reply) > _LARGEST_REPLY:
                raise RewriteError(f"{endpoint.address} answered with more than {_LARGEST_REPLY >> 20} MiB")
            return reply
    raise RewriteError(f"cannot rewrite with '{endpoint.model}' at {endpoint.address}: {last}{_mend(last)}")


def _request(endpoint: Endpoint, body: bytes) -> urllib.request.Request:
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get(KEY_VARIABLE):
        headers["Authorization"] = f"Bearer {key}"
    return urllib.request.Request(endpoint.address, data=body, headers=headers)


def _mend(failure: str) -> str:
    if failure.startswith(("HTTP 401", "HTTP 403")):
        return f"; set {KEY_VARIABLE} to a key that it accepts"
    if failure.startswith("HTTP 404"):
        return "; check the address (it usually ends with /v1) and the model's name"
    return "" if failure.startswith("HTTP") else "; is the server running?"


def _sentences(text: str) -> list[str]:
    return [sentence for sentence in re.split(r"(?<=[.!?;])\s+|\n+", text.strip()) if sentence]


def _names_camera(sentence: str) -> bool:
    return bool(parse_moves(sentence)) or re.search(r"\b(?:camera|zoom|viewpoint)\b", sentence, re.I) is not None
