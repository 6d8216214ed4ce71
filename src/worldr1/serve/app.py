"""The routes of the service."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from anyio import to_thread
from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.responses import JSONResponse

from worldr1.serve.document import FORM, Documented
from worldr1.serve.gate import Gate
from worldr1.serve.refusal import Refused
from worldr1.serve.sample import Upload
from worldr1.serve.service import Service
from worldr1.serve.upload import read_upload
from worldr1.serve.wire import (
    HEALTH_PATH,
    KEY_HEADER,
    METRICS_PATH,
    REWARD_PATH,
    SCORES_PATH,
    Health,
    Problem,
    RewardInfo,
    ScoreAnswer,
)

logger = logging.getLogger(__name__)

_REFUSALS = {
    400: "the form is broken",
    401: "no valid token",
    408: "the body takes too long to arrive",
    413: "the body or the video is too large",
    415: "neither form nor video of a kind that is read",
    422: "a field or the video is wrong",
    429: "too many requests with this token; see Retry-After",
    503: "full, shutting down or too slow; see Retry-After",
}

_KEY = Header(
    alias=KEY_HEADER,
    min_length=1,
    max_length=128,
    pattern="^[ -~]+$",
    description="one for each video: a repeated request gets the kept answer",
)


def build_app(service: Service) -> FastAPI:
    """The application of a service; it starts the service on startup and drains it on shutdown."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        if not await to_thread.run_sync(service.close):
            logger.warning("the reward did not finish within %g seconds", service.settings.drain_seconds)

    app = Documented(title="worldr1 reward service", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(Gate, service=service)
    app.add_exception_handler(Refused, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_header)
    _add_routes(app, service)
    return app


def _add_routes(app: FastAPI, service: Service) -> None:
    bearer = [Depends(HTTPBearer(auto_error=False, description="a token of the service's token file"))]

    @app.post(SCORES_PATH, responses=_problems(*_REFUSALS), openapi_extra=FORM, dependencies=bearer)
    async def scores(
        request: Request,
        idempotency_key: Annotated[str | None, _KEY] = None,
    ) -> ScoreAnswer:
        """Score one video."""
        upload = await read_upload(request, service.settings)
        if idempotency_key is None:
            return await service.score(upload)
        fingerprint = await to_thread.run_sync(_fingerprint, upload)
        key = (request.state.caller, idempotency_key)
        return await service.answers.once(key, fingerprint, lambda: service.score(upload))

    @app.get(REWARD_PATH, responses=_problems(401), dependencies=bearer)
    async def reward() -> RewardInfo:
        """The components of the reward, their weights and what they need."""
        return RewardInfo(components=service.components)

    @app.get(HEALTH_PATH, responses={503: {"model": Health, "description": "send no requests"}})
    async def health(response: Response) -> Health:
        """Whether to send requests here; needs no token."""
        status = service.status
        response.status_code = 200 if status == "ok" else 503
        return Health(status=status)

    text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}

    @app.get(METRICS_PATH, responses={**text, **_problems(401)}, response_class=Response, dependencies=bearer)
    async def metrics() -> Response:
        """Counters in Prometheus' text format."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _refuse(request: Request, refusal: Exception) -> JSONResponse:
    assert isinstance(refusal, Refused)
    return refusal.response()


async def _refuse_header(request: Request, error: Exception) -> JSONResponse:
    return Refused(422, f"{KEY_HEADER}: 1 to 128 printable ASCII characters are accepted").response()


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Problem, "description": _REFUSALS[status], **_headers(status)} for status in statuses}


def _headers(status: int) -> dict[str, Any]:
    """What `Refused` sends along."""
    if status == 401:
        return {"headers": {"WWW-Authenticate": {"schema": {"const": "Bearer"}}}}
    if status in (429, 503):
        return {"headers": {"Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}}}
    return {}


def _fingerprint(upload: Upload) -> bytes:
    digest = hashlib.sha256(upload.request.model_dump_json().encode())
    digest.update(b"\0")
    digest.update(upload.video)
    return digest.digest()
