"""A reward without weights whose scores tell their input, and requests to a service that gives it."""

from __future__ import annotations

import io
import json
import signal
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import av
import httpx
import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from worldr1.rewards.types import Sample, Scores
from worldr1.serve.access import Tokens
from worldr1.serve.app import build_app
from worldr1.serve.server import Server, listen
from worldr1.serve.service import Service
from worldr1.serve.settings import ServiceSettings
from worldr1.serve.wire import ComponentInfo

TOKEN = "0123456789abcdef0123"
OTHER = "fedcba9876543210fedc"
COMPONENTS = {
    "mean": ComponentInfo(weight=1.0, needs_reconstruction=True),
    "number": ComponentInfo(weight=1.0, needs_reconstruction=False),
}


class Telling:
    """Scores: the video's mean, and the number in the prompt; a prompt with "missing" has no mean, one with "fail"
    makes the whole call fail. `hold` keeps calls waiting until it is set; `calls` has the prompts of each call."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.kinds: list[bool] = []
        self.hold = threading.Event()
        self.hold.set()
        self.entered = threading.Event()

    def __call__(self, samples: Sequence[Sample], use_3d: bool = True) -> Scores:
        self.calls.append([sample.prompt for sample in samples])
        self.kinds.append(use_3d)
        self.entered.set()
        self.hold.wait(20)
        if any("fail" in sample.prompt for sample in samples):
            raise RuntimeError("no such luck")
        number = torch.tensor([float("".join(c for c in sample.prompt if c.isdecimal()) or 0) for sample in samples])
        if not use_3d:
            return Scores({"number": number}, number)
        mean = torch.stack([sample.video.mean() for sample in samples])
        mean[[i for i, sample in enumerate(samples) if "missing" in sample.prompt]] = torch.nan
        return Scores({"mean": mean, "number": number}, mean + number)


def service(composer: Any = None, tokens: Sequence[str] = (TOKEN, OTHER), **settings: Any) -> Service:
    """A service with a wide rate limit unless told otherwise."""
    limits: dict[str, Any] = {"rate": 1e6, "burst": 10**6, "queue": 1000, "drain_seconds": 10.0, **settings}
    return Service(composer or Telling(), COMPONENTS, ServiceSettings(**limits), Tokens(tokens))


@asynccontextmanager
async def serving(running: Service, token: str | None = TOKEN) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service in this process; the service is drained at the end."""
    app = build_app(running)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", headers=headers) as client,
    ):
        yield client


@contextmanager
def live(running: Service) -> Iterator[tuple[str, Server]]:
    """The address of a service in a thread; it ends as by SIGTERM."""
    at = listen("127.0.0.1", 0)
    server = Server(running)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [at]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{at.getsockname()[1]}", server
    finally:
        server.handle_exit(signal.SIGTERM, None)
        thread.join(20)
    assert not thread.is_alive()


def raw(
    value: float = 0.5, frames: int = 3, height: int = 32, width: int = 32, dtype: torch.dtype = torch.uint8
) -> bytes:
    """An even video as safetensors bytes."""
    filled = round(value * 255) if dtype == torch.uint8 else value
    return pack(torch.full((frames, 3, height, width), filled, dtype=dtype))


def pack(video: Tensor, name: str = "video") -> bytes:
    return save({name: video})


def mp4(
    frames: int = 4, height: int = 32, width: int = 32, grey: int = 128, codec: str = "mpeg4", container: str = "mp4"
) -> bytes:
    """An even video as a file."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for _ in range(frames):
            image = np.full((height, width, 3), grey, dtype=np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode())
    return file.getvalue()


def form(video: bytes, prompt: str = "a red box", **fields: Any) -> dict[str, Any]:
    """The arguments of a client's post."""
    return {"data": {"request": json.dumps({"prompt": prompt, **fields})}, "files": {"video": ("clip", video)}}


async def post(client: httpx.AsyncClient, video: bytes, prompt: str = "a red box", **fields: Any) -> httpx.Response:
    return await client.post("/v1/scores", **form(video, prompt, **fields))


async def post_keyed(client: httpx.AsyncClient, key: str, video: bytes, prompt: str) -> httpx.Response:
    return await client.post("/v1/scores", **form(video, prompt), headers={"Idempotency-Key": key})


def refused(response: httpx.Response, status: int, word: str) -> bool:
    """Whether it is this refusal, told in a sentence with this word."""
    body: Mapping[str, Any] = response.json()
    assert response.status_code == status, (response.status_code, body)
    assert set(body) == {"detail"}, body
    assert word in body["detail"], body
    return True
