"""Loaded by the process of schemathesis: where videos come from, and what must be accepted."""

from __future__ import annotations

import os
from pathlib import Path

import schemathesis
from hypothesis import strategies
from schemathesis.transport.serialization import Binary

_VIDEOS = sorted(Path(os.environ["VIDEOS"]).iterdir())
schemathesis.openapi.format("binary", strategies.sampled_from([Binary(path.read_bytes()) for path in _VIDEOS]))


@schemathesis.check
def valid_requests_are_scored(ctx, response, case) -> None:
    """What no schema can tell is whether poses are rigid, words name a camera move, or a key came before."""
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if not positive or "Idempotency-Key" in (case.headers or {}) or not isinstance(case.body, dict):
        return
    request = case.body["request"]
    if request.get("camera") is None and request.get("trajectory") is None:
        assert response.status_code == 200, response.text
