"""A small client for chat completions of any OpenAI-compatible server: bounded in time and size, patient, careful."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

MAX_RESPONSE_BYTES = 1_000_000
LONGEST_PAUSE = 30.0
_CHUNK = 65_536
_EXCERPT = 300
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


class NoAnswer(Exception):
    """Why there is no answer; whether asking again may help, and after how many seconds at the earliest."""

    def __init__(self, reason: str, transient: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.transient = transient
        self.wait = wait


class _NoRedirect(HTTPRedirectHandler):
    """A redirect would hand the token to another host."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


class ChatClient:
    """Asks for chat completions. May be used by several threads at once.

    Args:
        url: the server's base, such as "http://localhost:8000/v1".
        token: sent as bearer token, never logged and never sent on to another host.
        timeout: seconds that one attempt may take.
        retries: further attempts when the server is busy, broken or out of reach.
        pause: seconds before the first of them; doubled each time, at least what the server asks for, at most 30.

    Raises:
        ValueError: the URL is no http(s) address, the token holds spaces, or a number is out of range.
    """

    def __init__(
        self, url: str, token: str | None = None, timeout: float = 60.0, retries: int = 3, pause: float = 1.0
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no server's address; it must look like http://localhost:8000/v1.")
        if timeout <= 0 or retries < 0 or pause < 0:
            raise ValueError(f"timeout {timeout} must be above 0, retries {retries} and pause {pause} not below.")
        if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
            raise ValueError("The token of an OpenAI-compatible server must be printable ASCII without spaces.")
        self.url = url.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
        self.timeout = timeout
        self.retries = retries
        self.pause = pause
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._opener = build_opener(_NoRedirect)

    def ask(self, request: Mapping[str, Any]) -> Any:
        """The parsed JSON answer. Raises NoAnswer when every attempt failed, or one shows that another would too."""
        body = json.dumps(request).encode()
        for attempt in range(self.retries):
            try:
                return self._attempt(body)
            except NoAnswer as failure:
                if not failure.transient:
                    raise
                time.sleep(min(max(self.pause * 2**attempt, failure.wait), LONGEST_PAUSE))
        return self._attempt(body)

    def _attempt(self, body: bytes) -> Any:
        deadline = time.monotonic() + self.timeout
        try:
            with self._opener.open(Request(self.url, body, self._headers), timeout=self.timeout) as response:
                return json.loads(_read_bounded(response, deadline))
        except HTTPError as error:
            with error:
                reason = f"{_meaning(error.code)} (HTTP {error.code}) {_excerpt(error)}".rstrip()
                raise NoAnswer(reason, error.code in _TRANSIENT, _wait(error)) from error
        except (URLError, HTTPException, OSError) as error:
            raise NoAnswer(f"no connection ({error}); is the server up at {self.url}?", transient=True) from error
        except (ValueError, RecursionError) as error:
            raise NoAnswer("the answer is not JSON; is this an OpenAI-compatible server?") from error


def _meaning(code: int) -> str:
    """A status of HTTP in words that name the mend."""
    if code in (401, 403):
        return "the server refuses the token; give the one that it was started with"
    if code == 404:
        return "the server knows no such model or path; compare the model's name with GET /v1/models"
    if 300 <= code < 400:
        return "the server redirects; give the address that it redirects to"
    return "the server is busy or broken" if code in _TRANSIENT else "the server rejects the request"


def _excerpt(error: HTTPError) -> str:
    """The beginning of what the server says about an error."""
    try:
        return error.read(_EXCERPT).decode("utf-8", "replace").strip()
    except (HTTPException, OSError):
        return ""


def _wait(error: HTTPError) -> float:
    """Seconds that the server asks to wait; 0 when it does not say so as a number."""
    asked = error.headers.get("Retry-After", "")
    return float(asked) if asked.isascii() and asked.isdigit() else 0.0


def _read_bounded(response: HTTPResponse, deadline: float) -> bytes:
    """All of a response that is neither too long nor too slow."""
    parts, size = [], 0
    while part := response.read1(_CHUNK):
        parts.append(part)
        size += len(part)
        if size > MAX_RESPONSE_BYTES:
            raise NoAnswer(f"the answer exceeds {MAX_RESPONSE_BYTES} bytes")
        if time.monotonic() > deadline:
            raise NoAnswer("the answer takes too long", transient=True)
    if response.length:
        raise NoAnswer("the answer broke off", transient=True)
    return b"".join(parts)
