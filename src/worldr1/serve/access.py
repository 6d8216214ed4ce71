"""Who may ask, and how often."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from pathlib import Path

SHORTEST_TOKEN = 16


class Tokens:
    """The tokens that a service accepts; without any, everyone may ask (only sensible on the loopback interface)."""

    def __init__(self, tokens: Sequence[str] = ()) -> None:
        for token in tokens:
            if len(token) < SHORTEST_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
                raise ValueError(f"a token must be at least {SHORTEST_TOKEN} printable ASCII characters without spaces")
        self._digests = [_digest(token.encode()) for token in tokens]

    @classmethod
    def from_file(cls, path: Path) -> Tokens:
        """One token a line; empty lines and lines that begin with # are left out.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it holds no token, or one that is too short.
        """
        if not path.is_file():
            raise FileNotFoundError(f"no token file {path}; write one token a line, such as of `openssl rand -hex 32`")
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        tokens = [line for line in lines if line and not line.startswith("#")]
        if not tokens:
            raise ValueError(f"{path} holds no token; write one token a line, such as of `openssl rand -hex 32`")
        return cls(tokens)

    def identify(self, authorization: bytes | None) -> int | None:
        """Place of the token in an Authorization header, in time that does not depend on it; None for a wrong one."""
        if not self._digests:
            return 0
        scheme, _, token = (authorization or b"").partition(b" ")
        given = _digest(token.strip())
        matches = [hmac.compare_digest(given, digest) for digest in self._digests]
        return matches.index(True) if any(matches) and scheme.lower() == b"bearer" else None


class RateLimit:
    """A token bucket for each caller: `burst` at once, `rate` a second in the long run."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: dict[int, tuple[float, float]] = {}

    def take(self, caller: int) -> float:
        """Take one request: 0.0 if the caller may send it, else the seconds until there is room for one."""
        now = self._clock()
        left, seen = self._buckets.get(caller, (float(self._burst), now))
        left = min(float(self._burst), left + (now - seen) * self._rate)
        allowed = left >= 1.0
        self._buckets[caller] = (left - 1.0 if allowed else left, now)
        return 0.0 if allowed else (1.0 - left) / self._rate


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
