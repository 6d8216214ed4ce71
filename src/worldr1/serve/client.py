"""Asking a reward service: typed answers, retries that honour Retry-After, one idempotency key for each video."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError
from safetensors.torch import save

from worldr1.rewards.types import Sample
from worldr1.serve.wire import (
    KEY_HEADER,
    REWARD_PATH,
    SCORES_PATH,
    TENSOR_NAME,
    CameraPath,
    RewardInfo,
    ScoreAnswer,
    ScoreRequest,
)

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_PAUSE = 60.0
Answer = TypeVar("Answer", bound=BaseModel)


class RewardServiceError(RuntimeError):
    """A service that gave no score; `status` is its last status of HTTP, None when it could not be reached."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


class RewardClient:
    """A client of one service; may be used by several threads at once.

    Args:
        url: the service, such as "http://rewards:8000".
        token: an access token of the service.
        timeout: seconds that one attempt may take.
        retries: further attempts when the service is full, shutting down, broken or out of reach.
        pause: seconds before the first of them, doubled each time with some jitter; at least what Retry-After asks.
        transport: another way to the service, for tests.
        sleep: how to wait.

    Raises:
        ValueError: the URL is no http(s) address, or the token holds spaces or other than printable ASCII.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        timeout: float = 300.0,
        retries: int = 6,
        pause: float = 0.5,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is no service's address; it must look like http://localhost:8000")
        if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
            raise ValueError("the token of a reward service must be printable ASCII without spaces")
        self.url = url.rstrip("/")
        self._retries = retries
        self._pause = pause
        self._sleep = sleep
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=timeout, transport=transport, limits=limits
        )

    def __enter__(self) -> RewardClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def reward(self) -> RewardInfo:
        """The components of the service's reward. Raises RewardServiceError."""
        return self._ask(self._http.build_request("GET", REWARD_PATH), RewardInfo)

    def score(self, sample: Sample, use_3d: bool = True) -> ScoreAnswer:
        """Score one video; a score that is missing is None. Raises RewardServiceError when there is no answer."""
        path = CameraPath(
            c2w=sample.trajectory.c2w.tolist(), moves=list(sample.trajectory.moves), fov=sample.trajectory.fov
        )
        asked = ScoreRequest(prompt=sample.prompt, trajectory=path, use_3d=use_3d)
        video = save({TENSOR_NAME: sample.video.detach().cpu().contiguous()})
        request = self._http.build_request(
            "POST",
            SCORES_PATH,
            data={"request": asked.model_dump_json()},
            files={"video": ("video.safetensors", video, "application/octet-stream")},
            headers={KEY_HEADER: uuid.uuid4().hex},
        )
        request.read()
        return self._ask(request, ScoreAnswer)

    def _ask(self, request: httpx.Request, kind: type[Answer]) -> Answer:
        for attempt in range(self._retries):
            answer, failure, asked = self._attempt(request, kind)
            if answer is not None:
                return answer
            if failure.status is not None and failure.status not in _TRANSIENT:
                raise failure
            grown = self._pause * 2**attempt * random.uniform(0.75, 1.25)
            self._sleep(min(max(grown, asked), _LONGEST_PAUSE))
        answer, failure, _ = self._attempt(request, kind)
        if answer is None:
            raise failure
        return answer

    def _attempt(self, request: httpx.Request, kind: type[Answer]) -> tuple[Answer | None, RewardServiceError, float]:
        """An answer, or why there is none and the seconds that the service asks to wait."""
        try:
            response = self._http.send(request)
        except httpx.TransportError as error:
            reason = f"no answer from {self.url} ({error or type(error).__name__}); is the service up?"
            return None, RewardServiceError(reason), 0.0
        if response.status_code != 200:
            reason = f"{self.url} answers HTTP {response.status_code}: {response.text[:300]}"
            return None, RewardServiceError(reason, response.status_code), _retry_after(response)
        try:
            return kind.model_validate_json(response.content), RewardServiceError("", 200), 0.0
        except ValidationError:
            reason = f"{self.url} does not answer as a worldr1 reward service does"
            return None, RewardServiceError(reason, 200), 0.0


def _retry_after(response: httpx.Response) -> float:
    asked = response.headers.get("Retry-After", "")
    return float(asked) if asked.isascii() and asked.isdigit() else 0.0
