"""Tokens and rates."""

from __future__ import annotations

import hmac

import pytest
from serving import OTHER, TOKEN, post, raw, refused, service, serving

from worldr1.serve import access
from worldr1.serve.access import RateLimit, Tokens
from worldr1.serve.app import build_app
from worldr1.serve.settings import is_loopback

WRONG = [
    None,
    "",
    "Bearer",
    f"Bearer {TOKEN[:-1]}",
    f"Bearer {TOKEN}x",
    f"Bearer {TOKEN.upper()}",
    f"Basic {TOKEN}",
    TOKEN,
    f"Bearer {TOKEN} {OTHER}",
    "Bearer \xff",
]


@pytest.mark.anyio
@pytest.mark.parametrize("header", WRONG)
async def test_nothing_but_the_health_is_readable_without_the_token(header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    running = service()
    app = build_app(running)
    routes = {route.path for route in app.routes} - {"/healthz"}
    assert {"/v1/scores", "/v1/reward", "/metrics", "/openapi.json"} <= routes, "a new route comes here by itself"
    async with serving(running, token=None) as client:
        for path in [*sorted(routes), "/", "/docs", "/redoc", "/healthz/", "//healthz", "/%68ealthz/x"]:
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"):
                response = await client.request(method, path, headers=headers)
                assert response.status_code == 401, (method, path)
                assert response.headers["WWW-Authenticate"] == "Bearer"
                assert method == "HEAD" or set(response.json()) == {"detail"}
        healthy = await client.get("/healthz", headers=headers)
        assert (healthy.status_code, healthy.json()) == (200, {"status": "ok"})


@pytest.mark.anyio
async def test_a_wrong_token_is_told_before_the_body_is_read() -> None:
    async def unread():
        raise AssertionError("the body was read")
        yield b""

    async with serving(service(), token="x" * 20) as client:
        assert refused(await client.post("/v1/scores", content=unread()), 401, "token")


@pytest.mark.anyio
async def test_each_token_opens_and_none_is_needed_without_tokens() -> None:
    for tokens, token in (((TOKEN, OTHER), TOKEN), ((TOKEN, OTHER), OTHER), ((), None)):
        async with serving(service(tokens=tokens), token) as client:
            assert (await post(client, raw())).status_code == 200
            assert (await client.get("/metrics")).status_code == 200


def test_tokens_are_compared_in_constant_time(monkeypatch) -> None:
    compared = []
    original = hmac.compare_digest

    def compare(given: bytes, held: bytes) -> bool:
        compared.append((len(given), len(held)))
        return original(given, held)

    monkeypatch.setattr(access.hmac, "compare_digest", compare)
    tokens = Tokens([TOKEN, OTHER])
    compared.clear()
    assert tokens.identify(f"Bearer {TOKEN}".encode()) == 0
    assert tokens.identify(b"Bearer x") is None
    assert compared == [(32, 32)] * 4, "every token is compared, by digests of one length"


def test_token_files(tmp_path) -> None:
    file = tmp_path / "tokens"
    with pytest.raises(FileNotFoundError, match="no token file"):
        Tokens.from_file(file)
    file.write_text("# nobody\n\n")
    with pytest.raises(ValueError, match="holds no token"):
        Tokens.from_file(file)
    file.write_text("short\n")
    with pytest.raises(ValueError, match="at least 16"):
        Tokens.from_file(file)
    file.write_text(f"# team a\n{TOKEN}\n\n  {OTHER}  \n")
    assert Tokens.from_file(file).identify(f"bearer {OTHER}".encode()) == 1


def test_a_token_bucket_gives_its_burst_then_its_rate() -> None:
    now = 0.0
    limit = RateLimit(rate=2.0, burst=3, clock=lambda: now)
    assert [limit.take(0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert limit.take(1) == 0.0, "another token has its own bucket"
    now = 0.25
    assert limit.take(0) == pytest.approx(0.25)
    now = 0.5
    assert limit.take(0) == 0.0
    now = 1000.0
    assert [limit.take(0) for _ in range(4)].count(0.0) == 3, "no more than the burst is saved up"


@pytest.mark.anyio
async def test_the_rate_is_told_by_429_and_retry_after() -> None:
    async with serving(service(rate=0.1, burst=2)) as client:
        statuses = [(await post(client, raw())).status_code for _ in range(2)]
        third = await post(client, raw())
        other = await client.post("/v1/scores", headers={"Authorization": f"Bearer {OTHER}"})
        healthy = await client.get("/healthz")
    assert statuses == [200, 200]
    assert refused(third, 429, "0.1 requests a second")
    assert 8 <= int(third.headers["Retry-After"]) <= 10
    assert other.status_code == 415, "the other token is not held up"
    assert healthy.status_code == 200


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
