"""What stands before the application: tokens, admission, and bounds on the body, in this order."""

from __future__ import annotations

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worldr1.serve.refusal import Refused
from worldr1.serve.service import Service
from worldr1.serve.settings import ServiceSettings
from worldr1.serve.wire import HEALTH_PATH, METRICS_PATH, REWARD_PATH, SCORES_PATH

_DISCARD_SECONDS = 5.0
_PATHS = frozenset({SCORES_PATH, REWARD_PATH, HEALTH_PATH, METRICS_PATH})


class Gate:
    """ASGI middleware: nothing but the health is answered without a token, and no body is read before admission."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        counted = self._counted(scope, send)
        try:
            await self._answer(scope, receive, counted)
        except Refused as refusal:
            await refusal.response()(scope, receive, counted)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == HEALTH_PATH:
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        caller = self._service.tokens.identify(headers.get(b"authorization"))
        if caller is None:
            raise Refused(401, "a valid token is needed: Authorization: Bearer TOKEN")
        scope.setdefault("state", {})["caller"] = caller
        if scope["path"] != SCORES_PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, send, self._service.settings)
        try:
            _check_length(headers.get(b"content-length"), self._service.settings)
            await self._admitted(scope, body, caller)
        except Refused:
            await body.discard()
            raise

    async def _admitted(self, scope: Scope, body: _Body, caller: int) -> None:
        self._service.admit(caller)
        try:
            await self._app(scope, body.receive, body.send)
        finally:
            self._service.leave()
        if body.refusal is not None:
            raise body.refusal

    def _counted(self, scope: Scope, send: Send) -> Send:
        path = scope["path"] if scope["path"] in _PATHS else "other"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._service.metrics.answered(path, message["status"])
            await send(message)

        return counted


class _Body:
    """A body that ends when it is too long or too slow; what the application answers then is dropped."""

    def __init__(self, receive: Receive, send: Send, settings: ServiceSettings) -> None:
        self.refusal: Refused | None = None
        self._receive = receive
        self._send = send
        self._settings = settings
        self._deadline = time.monotonic() + settings.upload_seconds
        self._size = 0
        self._complete = False

    async def receive(self) -> Message:
        if self.refusal is not None:
            return {"type": "http.disconnect"}
        if self._complete:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._deadline - time.monotonic()))
        except asyncio.TimeoutError:
            return self._end(Refused(408, f"the body took more than {self._settings.upload_seconds:g} seconds"))
        self._size += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        return self._end(_too_long(self._settings)) if self._size > self._settings.upload_bytes else message

    async def send(self, message: Message) -> None:
        if self.refusal is None:
            await self._send(message)

    async def discard(self) -> None:
        """Read on for a while: a connection closed on a client that still sends would lose it the refusal."""
        left, deadline = self._settings.upload_bytes, time.monotonic() + _DISCARD_SECONDS
        while left > 0 and not self._complete:
            try:
                message = await asyncio.wait_for(self._receive(), max(0.0, deadline - time.monotonic()))
            except asyncio.TimeoutError:
                return
            left -= len(message.get("body", b""))
            self._complete = not message.get("more_body", False)

    def _end(self, refusal: Refused) -> Message:
        self.refusal = refusal
        return {"type": "http.disconnect"}


def _check_length(header: bytes | None, settings: ServiceSettings) -> None:
    if header is None:
        return
    if not header.isdigit():
        raise Refused(400, "Content-Length must be a number")
    if len(header) > 18 or int(header) > settings.upload_bytes:
        raise _too_long(settings)


def _too_long(settings: ServiceSettings) -> Refused:
    return Refused(413, f"the body is longer than the {settings.upload_bytes} bytes that are accepted")
