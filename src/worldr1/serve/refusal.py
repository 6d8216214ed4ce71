"""How a request is refused."""

from __future__ import annotations

import math

from starlette.responses import JSONResponse


class Refused(Exception):
    """A status of HTTP, one sentence for the caller, and for 429 and 503 the seconds after which to try again."""

    def __init__(self, status: int, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after

    def response(self) -> JSONResponse:
        """The refusal as a response."""
        headers = {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        return JSONResponse({"detail": self.detail}, self.status, headers)
