"""Every limit, at its value and one beyond."""

from __future__ import annotations

import asyncio
import json
import struct
import time

import pytest
import torch
from serving import form, mp4, pack, post, raw, refused, service, serving

from worldr1.serve.settings import ServiceSettings

_OPENING = b'--b\r\nContent-Disposition: form-data; name="video"; filename="v"\r\n\r\n'
pytestmark = pytest.mark.anyio


async def test_upload_bytes_with_and_without_a_length() -> None:
    video = raw()
    size = len(_body(video)[0])
    for limit, status in ((size, 200), (size - 1, 413)):
        async with serving(service(upload_bytes=limit)) as client:
            whole, headers = _body(video)
            assert (await client.post("/v1/scores", content=whole, headers=headers)).status_code == status
            told = await client.post("/v1/scores", content=_pieces(whole), headers=headers)
            assert told.status_code == status
            if status == 413:
                assert refused(told, 413, f"{limit} bytes")


async def test_nothing_is_read_beyond_the_limit() -> None:
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 1000
            yield b"x" * 1000 if sent > 1000 else _OPENING

    async with serving(service(upload_bytes=10_000)) as client:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        assert refused(await client.post("/v1/scores", content=endless(), headers=headers), 413, "10000")
    assert sent <= 25_000, "the limit, and as much again to let the client see the refusal"


async def test_a_slow_body_ends_with_408() -> None:
    async def slow():
        yield b"--b\r\n"
        await asyncio.sleep(20)

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    running = service(upload_seconds=0.05, queue=1)
    began = time.monotonic()
    async with serving(running) as client:
        assert refused(await client.post("/v1/scores", content=slow(), headers=headers), 408, "0.05 seconds")
        assert (await post(client, raw())).status_code == 200, "its place in the queue is free again"
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("make", [raw, mp4])
@pytest.mark.parametrize(("frames", "status"), [(2, 422), (3, 200), (6, 200), (7, 413)])
async def test_frames(make, frames: int, status: int) -> None:
    async with serving(service(frames=6, fewest_frames=3)) as client:
        assert (await post(client, make(frames=frames))).status_code == status


async def test_decoding_stops_at_the_first_frame_too_many() -> None:
    async with serving(service(frames=6)) as client:
        assert refused(await post(client, mp4(frames=60)), 413, "more than 6 frames")


@pytest.mark.parametrize("make", [raw, mp4])
@pytest.mark.parametrize(("height", "width", "status"), [(48, 64, 200), (50, 64, 413), (30, 64, 422), (64, 30, 422)])
async def test_pixels_and_sides(make, height: int, width: int, status: int) -> None:
    async with serving(service(pixels=48 * 64, smallest_side=32)) as client:
        assert (await post(client, make(frames=3, height=height, width=width))).status_code == status


@pytest.mark.parametrize("make", [raw, mp4])
async def test_decoded_bytes(make) -> None:
    size = 4 * 3 * 32 * 32
    for limit, status in ((size, 200), (size - 1, 413)):
        async with serving(service(video_bytes=limit)) as client:
            assert (await post(client, make(frames=4))).status_code == status


async def test_a_header_that_promises_more_than_it_holds_takes_no_memory() -> None:
    header = json.dumps({"video": {"dtype": "F32", "shape": [100, 3, 720, 1280], "data_offsets": [0, 1105920000]}})
    lying = struct.pack("<Q", len(header)) + header.encode() + b"\0" * 64
    async with serving(service(video_bytes=2**40)) as client:
        assert refused(await post(client, lying), 422, "do not fit")
    async with serving(service()) as client:
        assert refused(await post(client, lying), 413, "1105920000")


@pytest.mark.parametrize(("length", "status"), [(20, 200), (21, 422)])
async def test_prompt_length(length: int, status: int) -> None:
    async with serving(service(prompt_length=20)) as client:
        assert (await post(client, raw(), "x" * length)).status_code == status
        assert refused(await post(client, raw(), "  "), 422, "prompt is empty")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.1])
async def test_values_outside_the_range(value: float) -> None:
    video = torch.full((3, 3, 32, 32), 0.5)
    video[1, 2, 3, 4] = value
    async with serving(service()) as client:
        assert refused(await post(client, pack(video)), 422, "outside [0, 1]")


async def test_kinds_of_upload_that_are_not_read() -> None:
    async with serving(service()) as client:
        assert refused(await post(client, b"GIF89a" + b"\0" * 99), 415, "mp4")
        assert refused(await post(client, b""), 415, "mp4")
        assert refused(await post(client, mp4(codec="mpeg1video")), 415, "codec")
        assert refused(await post(client, pack(torch.zeros(3, 3, 32, 32), "clip")), 422, "'video'")
        assert refused(await post(client, pack(torch.zeros(3, 3, 32, 32, dtype=torch.int64))), 422, "type")
        assert refused(await post(client, pack(torch.zeros(3, 4, 32, 32))), 422, "[T, 3, H, W]")
        assert refused(await client.post("/v1/scores", json={"prompt": "x"}), 415, "multipart")
        assert refused(await client.post("/v1/scores", data={"request": "{}"}), 415, "multipart")
        broken = {"Content-Type": "multipart/form-data"}
        assert refused(await client.post("/v1/scores", content=b"x", headers=broken), 400, "form")
        twice = {"data": {"request": "{}"}, "files": [("video", b"1"), ("video", b"2")]}
        assert refused(await client.post("/v1/scores", **twice), 400, "form")
        named = {**form(raw()), "files": {"film": raw()}}
        assert refused(await client.post("/v1/scores", **named), 422, "video")
        assert refused(await client.post("/v1/scores", data={"request": "{"}, files={"video": raw()}), 422, "request")


async def test_a_playlist_cannot_name_files_of_the_server(tmp_path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(mp4())
    playlist = f"ffconcat version 1.0\nfile {secret}\n".encode()
    for upload in (playlist, b"\0\0\0\x18ftyp" + playlist, b"#EXTM3U\n#EXTINF:1,\n" + str(secret).encode()):
        async with serving(service()) as client:
            assert (await post(client, upload)).status_code in (415, 422)


@pytest.mark.parametrize("name", ["upload_bytes", "rate", "burst", "queue", "batch", "score_seconds", "answers"])
def test_settings_above_zero(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        ServiceSettings(**{name: 0})


def _body(video: bytes) -> tuple[bytes, dict[str, str]]:
    import httpx

    request = httpx.Request("POST", "http://test/", **form(video))
    return request.read(), {"Content-Type": request.headers["Content-Type"]}


async def _pieces(whole: bytes):
    for start in range(0, len(whole), 1000):
        yield whole[start : start + 1000]
