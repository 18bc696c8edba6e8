"""Bodies, heads and names of strangers: refused in words, and the door goes on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from onlinesvm.service.client.async_client import AsyncClient
from onlinesvm.service.http.app import application
from onlinesvm.service.http.bodies import MAX_BODY_BYTES, Bodies
from onlinesvm.service.http.server import MAX_HEAD_BYTES
from onlinesvm.service.http.tokens import Tokens
from tests.daemons import DEADLINE_S, serve
from tests.service.http.doors import DoorProcess, problem

JSON = {"Content-Type": "application/json"}
LEARN = "/v1/models/default/learn"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoorProcess]:
    with (
        serve(tmp_path_factory.mktemp("state"), auto_create=True) as daemon,
        DoorProcess(daemon.endpoint) as door,
    ):
        yield door


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"features": ' + b'{"a":' * 100_000,
        b'{"features": {"a": NaN}, "label": 1}',
        b'{"features": {"a": -Infinity}, "label": 1}',
        b'{"features": {"a": 1, "a": 2}, "label": 1}',
        b'{"features": ["a"], "label": 0, "label": 1}',
        b'{"features": {"a": ' + b"9" * 5000 + b'}, "label": 1}',
        b'{"features": ["\xff\xfe"], "label": 1}',
        b'{"features": ["a"], "label": 1',
        b'{"features": ["a"], "label": 1} {}',
        b"[]",
        b"7",
        b"\x00",
    ],
)
def test_a_body_that_is_no_object_of_json(door: DoorProcess, body: bytes) -> None:
    answer = door.http.post(LEARN, content=body, headers=JSON)
    found = problem(answer, 400, "BAD_REQUEST")
    assert found["detail"].startswith("expected")
    assert len(found["detail"]) < 300


@pytest.mark.parametrize("name", ["a\\u0000b", "\\u202e\\n", "<script>", "\\ud83d\\ude00"])
def test_any_name_of_unicode_is_a_feature(door: DoorProcess, name: str) -> None:
    body = f'{{"features": ["{name}"], "label": 1}}'.encode()
    assert door.http.post(LEARN, content=body, headers=JSON).status_code == 200
    body = f'{{"features": ["{name}"]}}'.encode()
    explained = door.http.post(LEARN.replace("learn", "explain"), content=body, headers=JSON)
    assert explained.headers["content-type"] == "application/json"
    assert explained.json()["contributions"][0]["known"] is True


def test_half_a_surrogate_is_no_name(door: DoorProcess) -> None:
    for body in (
        b'{"features": ["\\ud800"], "label": 1}',
        b'{"features": ["a"], "label": "\\ud800"}',
    ):
        answer = door.http.post(LEARN, content=body, headers=JSON)
        assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    "name",
    ["a%00b", "%0d%0aX-Evil:1", "..", "%2e%2e", "a%2fb", "%ff", "%ed%a0%80", "x" * 65, "%20"],
)
def test_a_name_that_is_no_models(door: DoorProcess, name: str) -> None:
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/learn")):
        answer = door.http.request(method, f"http://127.0.0.1:{door.port}/v1/models/{name}{path}")
        assert 400 <= answer.status_code < 500, (method, answer.text)
        assert "x-evil" not in answer.headers


def test_a_body_of_seventeen_mib(door: DoorProcess) -> None:
    body = b'{"features": "' + b"a" * (17 * 2**20) + b'"}'
    head = b"POST " + LEARN.encode() + b" HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Type: application/json\r\n"
    before = door.memory_bytes()
    sized = door.raw(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert b" 413 " in sized[:32] or sized == b""  # the connection may be reset before it is read
    chunks = b"".join(b"%x\r\n%b\r\n" % (2**20, b" " * 2**20) for _ in range(17)) + b"0\r\n\r\n"
    chunked = door.raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert b" 413 " in chunked[:32] or chunked == b""
    assert door.http.get("/healthz").status_code == 200
    assert door.memory_bytes() - before < 64 * 2**20


def test_a_body_of_sixteen_mib_is_read(door: DoorProcess) -> None:
    body = b'{"samples": []}'.ljust(MAX_BODY_BYTES)
    assert door.http.post(LEARN, content=body, headers=JSON).json() == {"margins": []}
    answer = door.http.post(LEARN, content=body + b" ", headers=JSON)
    problem(answer, 413, "TOO_LARGE")
    assert answer.headers["connection"] == "close"


def test_a_page_of_another_site_cannot_teach(door: DoorProcess) -> None:
    body = b'{"features": ["a"], "label": 1}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = door.http.post(LEARN, content=body, headers={"Content-Type": kind})
        problem(answer, 415, "BAD_REQUEST")
    for host in ("evil.example", f"evil.example:{door.port}", "127.0.0.1.evil.example", ""):
        problem(door.http.get("/v1/models", headers={"Host": host}), 403, "FORBIDDEN")
    for host in ("localhost", f"LOCALHOST:{door.port}", "127.0.0.1", "[::1]:8577", "[::1]"):
        assert door.http.get("/v1/models", headers={"Host": host}).status_code == 200
    options = door.http.options(LEARN, headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in options.headers


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"a" * 2 * MAX_HEAD_BYTES,
        b"GET / HTTP/1.1\r\nX: " + b"a" * 2 * MAX_HEAD_BYTES,
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * MAX_HEAD_BYTES,
        b"\x00\xff nonsense\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\n\r\n",
    ],
)
def test_an_endless_or_a_wrong_head_ends_the_connection(door: DoorProcess, sent: bytes) -> None:
    assert b" 200 " not in door.raw(sent)[:32]
    assert door.http.get("/healthz").status_code == 200


def test_slow_clients_hold_nobody_up(door: DoorProcess) -> None:
    head = b"POST " + LEARN.encode() + b" HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    with contextlib.ExitStack() as exit:
        for _ in range(50):
            peer = socket.create_connection(("127.0.0.1", door.port), DEADLINE_S)
            exit.enter_context(peer)
            peer.sendall(head)
        assert door.post("default/predict", {"features": ["a"]}).status_code == 200


# In this process, with bounds that a test can reach.


@contextlib.asynccontextmanager
async def at_door(bodies: Bodies) -> AsyncIterator[httpx.AsyncClient]:
    """A door to no daemon."""
    async with AsyncClient("tcp://127.0.0.1:1", timeout_s=1.0) as client:
        transport = httpx.ASGITransport(application(client, Tokens({}), bodies))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            yield http


def test_bodies_under_way_are_bounded_together() -> None:
    async def run() -> None:
        blocked, go = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b" " * 600
            blocked.set()
            await go.wait()
            yield b"{}"

        async with at_door(Bodies(max_total_bytes=1000)) as http:
            first = asyncio.create_task(http.post(LEARN, content=slow(), headers=JSON))
            await asyncio.wait_for(blocked.wait(), DEADLINE_S)
            refused = await http.post(LEARN, content=b" " * 500, headers=JSON)
            problem(refused, 503, "BUSY")
            assert int(refused.headers["retry-after"]) >= 1
            go.set()
            problem(await first, 422, "BAD_SAMPLE")
            again = await http.post(LEARN, content=b" " * 998 + b"{}", headers=JSON)
            problem(again, 422, "BAD_SAMPLE")  # there is room again

    asyncio.run(run())


def test_a_client_that_sends_nothing_is_sent_away() -> None:
    async def run() -> None:
        async def silent() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.sleep(DEADLINE_S)

        began = time.monotonic()
        async with at_door(Bodies(piece_s=0.05)) as http:
            answer = await http.post(LEARN, content=silent(), headers=JSON)
            problem(answer, 408, "TIMEOUT")
        assert time.monotonic() - began < DEADLINE_S

    asyncio.run(run())
