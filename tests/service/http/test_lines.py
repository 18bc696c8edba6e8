"""NDJSON: any length in constant memory, in order, and errors in the middle."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from onlinesvm import OnlineSVM
from tests.daemons import DEADLINE_S, serve, thread
from tests.service.http.doors import DoorProcess, problem

LINES = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DoorProcess]:
    with (
        serve(tmp_path_factory.mktemp("state"), rule="sgd", auto_create=True) as daemon,
        DoorProcess(daemon.endpoint) as door,
    ):
        yield door


def row(i: int) -> dict[str, object]:
    return {"features": [f"w{i % 97}", f"v{i % 31}"], "label": i % 3 == 0, "id": i}


def head_of(path: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
    return head.encode() + b"Transfer-Encoding: chunked\r\n\r\n"


def chunk(part: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(part), part)


def exchange(
    door: DoorProcess, path: str, body: Callable[[], Iterator[bytes]]
) -> list[dict[str, Any]]:
    """The lines of an answer, read while the body is sent."""
    with socket.create_connection(("127.0.0.1", door.port), DEADLINE_S) as peer:

        def run() -> None:
            peer.sendall(head_of(path))
            for part in body():
                peer.sendall(chunk(part))
            peer.sendall(chunk(b""))

        with thread(run):
            answer = http.client.HTTPResponse(peer, method="POST")
            answer.begin()
            assert answer.status == 200
            assert answer.headers["content-type"] == "application/x-ndjson"
            return [json.loads(line) for line in answer]


def test_a_hundred_thousand_lines_in_constant_memory(door: DoorProcess) -> None:
    count = 100_000
    own = OnlineSVM(rule="sgd")
    rows = [row(i) for i in range(count)]
    margins = own.learn([(each["features"], each["label"]) for each in rows])  # type: ignore[misc]

    def body() -> Iterator[bytes]:
        for start in range(0, count, 500):
            yield "".join(json.dumps(row(i)) + "\n" for i in range(start, start + 500)).encode()

    before = door.memory_bytes()
    learned = exchange(door, "/v1/models/default/learn", body)
    assert [line["id"] for line in learned] == list(range(count))
    assert [line["margin"] for line in learned] == margins.tolist()
    predicted = exchange(door, "/v1/models/default/predict?output=label", body)
    assert len(predicted) == count
    own_labels = own.predict([each["features"] for each in rows[:1000]])  # type: ignore[misc]
    assert [line["label"] for line in predicted[:1000]] == own_labels.tolist()
    assert door.memory_bytes() - before < 24 * 2**20


def test_an_error_after_the_first_lines_ends_the_answer(door: DoorProcess) -> None:
    good = "".join(json.dumps(row(i)) + "\n" for i in range(3))

    bad = '\n{"features": {"a": {}}, "label": true}\n' + good
    path = "/v1/models/broken"
    with socket.create_connection(("127.0.0.1", door.port), DEADLINE_S) as peer:
        peer.sendall(head_of(path + "/learn") + chunk(good.encode()))
        answer = http.client.HTTPResponse(peer, method="POST")
        answer.begin()
        lines = [json.loads(answer.readline()) for _ in range(3)]
        peer.sendall(chunk(bad.encode()) + chunk(b""))
        lines += map(json.loads, answer)
    learned, error = lines[:-1], lines[-1]["error"]
    assert error["code"] == "BAD_SAMPLE"
    assert (error["line"], error["sample"], error["at"]) == (5, 3, '$.features["a"]')
    assert len(learned) == door.http.get(path).json()["position"] == 3


@pytest.mark.parametrize(
    ("body", "status", "code", "line"),
    [
        (b'{"features": ["a"], "label": 1}\n{"features"\n', 400, "BAD_REQUEST", 2),
        (b"\xff\xfe\n", 400, "BAD_REQUEST", 1),
        (b"7\n", 422, "BAD_SAMPLE", 1),
        (b"\n\n[]", 422, "BAD_SAMPLE", 3),
        (b'{"features": {"a": NaN}, "label": 1}', 400, "BAD_REQUEST", 1),
        (b'{"label": ' + b" " * 2**20 + b"1}", 413, "TOO_LARGE", None),
    ],
)
def test_a_bad_first_line_is_the_answer(
    door: DoorProcess, body: bytes, status: int, code: str, line: int | None
) -> None:
    answer = door.http.post("/v1/models/default/learn", content=body, headers=LINES)
    assert problem(answer, status, code).get("line") == line


def test_lines_are_held_by_their_keys(door: DoorProcess) -> None:
    rows = [{"features": ["a"], "hold": f"k{i}", "id": i} for i in range(2000)]
    answer = door.http.post(
        "/v1/models/held/predict?output=label&ttl_s=60&default_label=no",
        content="".join(json.dumps(each) + "\n" for each in rows),
        headers=LINES,
    )
    problem(answer, 404, "NO_MODEL")  # to predict makes no model
    assert door.http.put("/v1/models/held").status_code == 201
    answer = door.http.post(
        "/v1/models/held/predict?output=label&ttl_s=60&default_label=no",
        content="".join(json.dumps(each) + "\n" for each in rows),
        headers=LINES,
    )
    assert [json.loads(line)["id"] for line in answer.text.splitlines()] == list(range(2000))
    assert door.http.get("/v1/models/held").json()["held"] == 2000
    refused = door.http.post("/v1/models/held/predict?top=x", content=b"{}", headers=LINES)
    assert problem(refused, 400, "BAD_REQUEST")["at"] == "top"


def test_no_lines_at_all(door: DoorProcess) -> None:
    answer = door.http.post("/v1/models/default/learn", content=b"\n \n", headers=LINES)
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_client_that_leaves_half_way(door: DoorProcess) -> None:
    head = b"POST /v1/models/left/learn HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Type: application/x-ndjson\r\nContent-Length: 1000000\r\n\r\n"
    line = b'{"features": ["a"], "label": 1}\n'
    with socket.create_connection(("127.0.0.1", door.port), 20) as peer:
        peer.sendall(head + line * 10 + line[:-3])
        received = b""
        while received.count(b"margin") < 10:
            received += peer.recv(65_536)
    assert door.http.get("/v1/models/left").json()["position"] == 10
