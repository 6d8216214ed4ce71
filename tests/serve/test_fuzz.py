"""Uploads from a random generator with a fixed seed: each is refused with 4xx, never answered with 5xx, never hangs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections import Counter
from collections.abc import Callable

import httpx
import numpy as np
import pytest
import torch
from serving import TOKEN, form, live, mp4, pack, raw, service, serving

LIMITS = {"frames": 16, "pixels": 64 * 64, "upload_bytes": 200_000, "video_bytes": 500_000}
SECONDS_EACH = 10.0


class Uploads:
    """Makes bodies of requests that are wrong in some way, or may be."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._mp4 = [mp4(), mp4(frames=6, height=48, width=64), mp4(codec="libx264"), mp4(codec="mpeg1video")]
        self._raw = [raw(), raw(dtype=torch.float32), raw(dtype=torch.bfloat16)]
        self._kinds: list[Callable[[], tuple[bytes, dict[str, str]]]] = [
            self._noise_body,
            self._broken_form,
            self._broken_json,
            self._video,
            self._video,
            self._video,
        ]

    def next(self) -> tuple[bytes, dict[str, str]]:
        """Body and headers."""
        return self.choose(self._kinds)()

    def choose(self, of):
        """One of these."""
        return of[int(self._rng.integers(len(of)))]

    def _noise(self, most: int) -> bytes:
        return self._rng.bytes(int(self._rng.integers(0, most)))

    def damaged(self, payload: bytes) -> bytes:
        """The same with something cut out, put in or overwritten."""
        kind = int(self._rng.integers(5))
        place = int(self._rng.integers(0, len(payload)))
        if kind == 0:
            return payload[:place]
        if kind == 1:
            changed = np.frombuffer(payload, dtype=np.uint8).copy()
            places = self._rng.integers(0, len(changed), int(self._rng.integers(1, 40)))
            changed[places] = self._rng.integers(0, 256, len(places))
            return changed.tobytes()
        if kind == 2:
            return payload[:place] + self._noise(300) + payload[place:]
        if kind == 3:
            end = min(len(payload), place + int(self._rng.integers(1, 200)))
            return payload[:place] + payload[end:]
        boxes = [
            payload.find(name) for name in (b"moov", b"stsz", b"stts", b"stsc", b"avcC", b"mdhd", b"tkhd", b"esds")
        ]
        start = max(4, self.choose(boxes)) + int(self._rng.integers(-4, 40))
        extreme = self.choose([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0"])
        return payload[:start] + extreme + payload[start + 4 :]

    def _tensor_header(self) -> bytes:
        big = [0, 1, 3, 17, 31, 32, 65, 2**31, 2**63, 2**70, -1, 1.5, "3", None, [3]]
        shape = [self.choose([3, *big]) for _ in range(int(self._rng.integers(0, 6)))]
        entry = {"dtype": self.choose(["F32", "U8", "F64", 3, None]), "shape": shape, "data_offsets": [0, 99]}
        names = self.choose([["video"], ["clip"], ["video", "other"], ["__metadata__"], []])
        text = json.dumps({name: self.choose([entry, entry, [], "x", None]) for name in names}).encode()
        text = self.choose([text, text, b"{" * 3000, text[:-1]])
        length = self.choose([len(text), len(text), 0, 2**40, 2**63, len(text) + 5])
        return struct.pack("<Q", length) + text + self._noise(200)

    def _video(self) -> tuple[bytes, dict[str, str]]:
        payload = self.choose(
            [
                lambda: self._noise(2000),
                lambda: b"\0\0\0\x18ftypisom" + self._noise(500),
                lambda: self.damaged(self.choose(self._mp4)),
                lambda: self.damaged(self.choose(self._mp4)),
                lambda: self.damaged(self.choose(self._raw)),
                self._tensor_header,
                lambda: b"\x80\x02}U\x05videoK\x01s.",
                lambda: pack(torch.full((3, 3, 32, 32), self.choose([torch.nan, torch.inf, 2.0, -1.0]))),
                lambda: raw(frames=self.choose([1, 2, 17])),
                lambda: raw(height=self.choose([0, 1, 31, 129])),
                lambda: bytes(250_000),
            ]
        )()
        return _body(form(payload))

    def _noise_body(self) -> tuple[bytes, dict[str, str]]:
        kinds = ["multipart/form-data; boundary=b", "multipart/form-data", "application/json", "", "text/plain; a=\xff"]
        return self._noise(3000), {"Content-Type": self.choose(kinds)}

    def _broken_form(self) -> tuple[bytes, dict[str, str]]:
        body, headers = _body(form(raw()))
        head = body[:400]
        broken = self.damaged(head) + self.choose([body[400:], body[400:-30], b""])
        charset = self.choose(["", "; charset=utf-16", "; charset=nonsense", "; boundary=", "; boundary=" + "x" * 300])
        return broken[: self.choose([len(broken), 350])], {"Content-Type": headers["Content-Type"] + charset}

    def _broken_json(self) -> tuple[bytes, dict[str, str]]:
        texts = [
            "",
            "null",
            "[" * 50_000,
            '{"prompt": ' * 2000,
            '{"prompt": 3}',
            '{"prompt": "\\ud800"}',
            '{"prompt": "x", "camera": "\\u0000"}',
            '{"prompt": "x", "trajectory": {"c2w": []}}',
            '{"prompt": "x", "trajectory": {"c2w": [[[NaN]]]}}',
            '{"prompt": "x", "trajectory": {"c2w": [[[1e999]]]}}',
            '{"prompt": "x", "trajectory": {"c2w": [[], [], []]}}',
            '{"prompt": "x", "trajectory": {"c2w": [[[1e308, 1]], [[1]], [[1]]]}}',
            '{"prompt": "x", "use_3d": 7}',
            json.dumps({"prompt": "x" * 2001}),
            json.dumps({"prompt": "x" * 300_000}),
            self._noise(500).decode("latin-1"),
        ]
        return _body({"data": {"request": self.choose(texts)}, "files": {"video": raw()}})


def _body(arguments) -> tuple[bytes, dict[str, str]]:
    request = httpx.Request("POST", "http://test/", **arguments)
    return request.read(), {"Content-Type": request.headers["Content-Type"]}


async def bombard(seed: int, count: int) -> Counter[int]:
    """How often each status came. 200 is only allowed where damage left a video that the decoder reads by itself."""
    uploads, statuses = Uploads(seed), Counter[int]()
    async with serving(service(**LIMITS)) as client:
        for place in range(count):
            body, headers = uploads.next()
            wire = {"Authorization": f"Bearer {TOKEN}", "Content-Type": headers["Content-Type"].encode("latin-1")}
            request = client.post("/v1/scores", content=body, headers=wire)
            response = await asyncio.wait_for(request, SECONDS_EACH)
            statuses[response.status_code] += 1
            assert response.status_code == 200 or 400 <= response.status_code < 500, (seed, place, response.text)
            if response.status_code == 200:
                assert response.json()["problem"] is None, (seed, place)
                assert b"ftyp" in body or b"data_offsets" in body, (seed, place)
            else:
                assert set(response.json()) == {"detail"}, (seed, place)
        assert (await client.post("/v1/scores", **form(raw(), "video 9"))).json()["components"]["number"] == 9
    return statuses


@pytest.mark.anyio
async def test_500_uploads() -> None:
    statuses = await bombard(seed=7, count=500)
    assert statuses[200] < 100, "most damage is fatal"
    assert {400, 413, 415, 422} <= set(statuses)


@pytest.mark.slow
@pytest.mark.anyio
async def test_10000_refused_uploads() -> None:
    statuses = await bombard(seed=11, count=13_000)
    assert sum(statuses.values()) - statuses[200] >= 10_000, statuses


def test_requests_that_are_broken_below_the_form_end_with_4xx_or_a_closed_connection() -> None:
    uploads, statuses = Uploads(13), Counter[str]()
    lines = [f"POST /v1/scores HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode(), b""]
    running = service(**LIMITS, upload_seconds=1.0)
    with live(running) as (url, _):
        address = (httpx.URL(url).host, httpx.URL(url).port)
        for _ in range(300):
            body, headers = uploads.next()
            length = uploads.choose([len(body), len(body) + 9, max(0, len(body) - 9), -1, 10**30])
            framing = uploads.choose([f"Content-Length: {length}", "Transfer-Encoding: chunked"])
            lines[1] = f"Content-Type: {headers['Content-Type']}\r\n{framing}\r\n\r\n".encode("latin-1")
            head = uploads.choose([b"".join(lines), uploads.damaged(b"".join(lines))])
            statuses[_exchange(address, head + body)] += 1
        assert _exchange(address, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") == "200"
    assert running.at_work == 0, "no place of the queue is lost"
    assert set(statuses) <= {"", "200", "400", "401", "404", "405", "408", "413", "415", "422"}, statuses
    assert statuses["400"] > 20


def _exchange(address: tuple[str, int], sent: bytes) -> str:
    """The status that comes back for these bytes, after which nothing more is sent; empty where none does."""
    with socket.create_connection(address, timeout=SECONDS_EACH) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(sent)
        with contextlib.suppress(OSError):  # the server may have hung up already
            connection.shutdown(socket.SHUT_WR)
        return connection.recv(100).decode("latin-1")[9:12]
    return ""
