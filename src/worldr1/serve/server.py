"""Running the application under uvicorn until a signal ends it."""

from __future__ import annotations

import logging
import math
import socket
from types import FrameType

import uvicorn

from worldr1.serve.app import build_app
from worldr1.serve.service import Service

logger = logging.getLogger(__name__)

_KEEP_ALIVE = 30
"""Seconds; longer than clients keep idle connections (httpx: 5), so that they do not meet one that just closed."""


class Server(uvicorn.Server):
    """Drains on SIGTERM or SIGINT: no new requests, those at work are answered. A second signal ends at once."""

    def __init__(self, service: Service) -> None:
        config = uvicorn.Config(
            build_app(service),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            ws="none",
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=math.ceil(service.settings.drain_seconds),
        )
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by uvicorn in its signal handler."""
        self._service.drain()
        self.force_exit = self.should_exit
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises ValueError when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        raise ValueError(f"cannot listen at {host}:{port} ({error}); choose another --host or --port") from error


def run(service: Service, at: socket.socket) -> None:
    """Serve until a signal ends it."""
    host, port = at.getsockname()[:2]
    address = f"[{host}]" if ":" in host else host
    logger.info("serving the reward (%s) at http://%s:%d", ", ".join(service.components), address, port)
    Server(service).run(sockets=[at])
    logger.info("drained; every admitted request is answered")
