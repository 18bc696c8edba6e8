"""The client: requests, deadlines, and what it survives."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM
from onlinesvm.errors import ConfigError, LimitError, SampleError
from onlinesvm.service import Client
from onlinesvm.service.errors import DaemonLost, DaemonTimeout, DaemonUnreachable, RequestRefused
from tests.daemons import (
    DEADLINE_S,
    HOUSE,
    RawDaemon,
    digest_of,
    eventually,
    on_a_thread,
    refusal_to,
    reply_to,
    serve,
    thread,
)
from tests.strategies import WIDE, configurations, features, samples

SHORT_S = 0.15


def free_endpoint() -> str:
    """One where nobody listens."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.bind("tcp://127.0.0.1:*")
        return socket.get_string(zmq.LAST_ENDPOINT)


def op_of(frames: list[bytes]) -> str:
    op: str = msgpack.unpackb(frames[1])["op"]
    return op


# Requests.


@settings(max_examples=25)
@given(
    config=configurations(),
    requests=st.lists(st.lists(samples(), max_size=5), max_size=5),
    asked=st.lists(features(), max_size=4),
)
def test_a_daemon_is_a_model_elsewhere(
    config: dict[str, Any], requests: list[list[Any]], asked: list[Any]
) -> None:
    model = OnlineSVM(limits=WIDE, **config)
    with (
        tempfile.TemporaryDirectory() as folder,
        on_a_thread(Path(folder), limits=WIDE, **config) as endpoint,
        Client(endpoint) as client,
    ):
        for request in requests:
            margins = client.learn(request)
            assert margins.dtype == np.float64
            assert margins.tobytes() == model.learn(request).tobytes()
        assert client.decision_function(asked).tobytes() == model.decision_function(asked).tobytes()
        saved = client.snapshot()
        assert (saved["digest"], saved["position"]) == (digest_of(model), model.position)


def test_any_iterable_and_any_container_will_do(tmp_path: Path) -> None:
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client:
        model = OnlineSVM()
        rows = [(("a", b"b", 5), 1), [{"c": np.float64(2)}, np.int64(-1), 0.5], (iter("de"), 1.0)]
        plain = [(["a", "b", "5"], 1), ({"c": 2.0}, -1, 0.5), (["d", "e"], 1)]
        assert client.learn(iter(rows)).tobytes() == model.learn(plain).tobytes()
        asked = ({name for name in [name]} for name in "abc")
        assert (
            client.decision_function(asked).tobytes()
            == model.decision_function([["a"], ["b"], ["c"]]).tobytes()
        )


def test_a_refusal_says_what_and_where(tmp_path: Path) -> None:
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client:
        with pytest.raises(RequestRefused) as caught:
            client.learn([(["a"], 1), ({"len": float("nan")}, 1)])
        refusal = caught.value
        assert (refusal.code, refusal.at) == ("BAD_SAMPLE", '$[1][1]["len"]')
        assert refusal.message == "expected a finite number, got nan"
        assert str(refusal) == 'BAD_SAMPLE: expected a finite number, got nan at $[1][1]["len"]'
        assert isinstance(refusal, ValueError)
        assert (refusal.sample, refusal.applied) == (1, None)
        assert client.stats()["position"] == 0


def test_a_bad_sample_is_not_sent() -> None:
    with Client(free_endpoint(), timeout_s=SHORT_S) as client:
        for learned in (["free"], [(["a"],)], [(["a"], 1, 1, 1)], [(b"free", 1)]):
            with pytest.raises(TypeError, match=r"at \$\[0\]"):
                client.learn(learned)
        for asked in ("free", b"free", [b"free"], [["a"], 7]):
            with pytest.raises(TypeError, match="expected"):
                client.decision_function(asked)
        with pytest.raises(SampleError):
            client.learn([(["\ud800"], 1)])


def test_limits_are_checked_before_sending() -> None:
    limits = Limits(max_samples_per_batch=3, max_message_bytes=1000)
    with Client(free_endpoint(), timeout_s=SHORT_S, limits=limits) as client:
        with pytest.raises(LimitError, match="expected at most 3 samples a request, got 4"):
            client.decision_function([[]] * 4)
        with pytest.raises(LimitError, match="expected a message of at most 1000 bytes, got"):
            client.learn([(["n" * 1000], 1)])


@pytest.mark.parametrize(
    "endpoint", ["", "5577", "tcp://", "tcp://127.0.0.1", "udp://a:1", "x://y"]
)
def test_bad_endpoints_are_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match="expected tcp://HOST:PORT"):
        Client(endpoint)


def test_an_ipc_endpoint(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/socket"
    with serve(tmp_path / "state", bind=endpoint) as daemon:
        assert daemon.endpoint == endpoint
        with daemon.client() as client:
            assert client.learn([(["a"], 1)]).tolist() == [0.0]


# Deadlines.


def test_a_request_that_was_refused_is_not_sent_later() -> None:
    """A daemon that starts later must not learn samples whose sender has raised an error."""
    endpoint = free_endpoint()
    with Client(endpoint, timeout_s=SHORT_S) as client:
        with pytest.raises(DaemonUnreachable):
            client.learn([(["a"], 1)])
        daemon = RawDaemon(lambda s, frames: s.send_multipart(reply_to(frames)), endpoint)
        client.timeout_s = DEADLINE_S
        with daemon:
            client.ping()
        assert [op_of(frames) for frames in daemon.requests] == ["ping"]


def test_a_daemon_that_never_answers() -> None:
    with RawDaemon(lambda s, frames: None) as daemon:
        with Client(daemon.endpoint, timeout_s=SHORT_S) as client:
            for _ in range(3):
                with pytest.raises(
                    DaemonTimeout, match=r"no answer to ping from .* within 0\.15 s"
                ):
                    client.ping()
        assert len(daemon.requests) == 3


def test_a_late_answer_is_ignored() -> None:
    """Each request is answered, but only when the next has come."""
    late: list[list[bytes]] = []

    def answer(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        if op_of(frames) == "stats":
            for earlier in late:
                socket.send_multipart(reply_to(earlier, is_late=True))
            socket.send_multipart(reply_to(frames, is_late=False))
        else:
            late.append(frames)

    with RawDaemon(answer) as daemon, Client(daemon.endpoint, timeout_s=SHORT_S) as client:
        for _ in range(3):
            with pytest.raises(DaemonTimeout):
                client.ping()
        client.timeout_s = DEADLINE_S
        assert client.stats() == {"is_late": False}
        assert client.stats() == {"is_late": False}


def test_an_answer_that_comes_twice_is_ignored() -> None:
    def answer(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        for _ in range(2):
            socket.send_multipart(reply_to(frames, op=op_of(frames)))

    with RawDaemon(answer) as daemon, Client(daemon.endpoint) as client:
        assert [client.request(op)[0] for op in ("ping", "stats", "ping")] == [
            {"op": "ping"}, {"op": "stats"}, {"op": "ping"}
        ]  # fmt: skip


# Lost daemons.


def test_a_daemon_that_is_killed_is_lost_at_once(tmp_path: Path) -> None:
    with serve(tmp_path) as daemon, daemon.client(timeout_s=600) as client:
        client.ping()
        daemon.signal(signal.SIGSTOP)  # it takes the request and does not answer
        asked = threading.Event()

        def features() -> Iterator[list[str]]:
            yield ["a"]
            asked.set()

        def kill() -> None:
            assert asked.wait(DEADLINE_S)
            daemon.kill()

        with thread(kill), pytest.raises(DaemonLost, match=f"the connection to {daemon.endpoint}"):
            client.decision_function(features())


def test_a_client_survives_a_daemon(tmp_path: Path) -> None:
    model = OnlineSVM()
    with serve(tmp_path) as daemon:
        endpoint, client = daemon.endpoint, daemon.client()
        client.learn([(["a"], 1)])
        model.learn([(["a"], 1)])
        assert daemon.stop() == 0
    with client:
        for label in (1, -1):
            with serve(tmp_path, bind=endpoint) as daemon:
                assert client.learn([(["a"], label)]).tobytes() == model.learn(
                    [(["a"], label)]
                ).tobytes()  # fmt: skip
                assert daemon.stop() == 0
    with serve(tmp_path) as daemon, daemon.client() as other:
        assert other.snapshot()["digest"] == digest_of(model)


JUNK: list[list[bytes]] = [
    [b""], [b"\xc1"], [b"\x80"], [msgpack.packb({"id": 1})], [b"HTTP/1.1 200 OK"],
    [msgpack.packb({"id": 1, "ok": False})], [b"", msgpack.packb({"id": 1, "ok": True})],
    [msgpack.packb({"id": 1, "ok": True}), b"", b""],
]  # fmt: skip


@pytest.mark.parametrize("junk", JUNK)
def test_a_peer_of_another_protocol(junk: list[bytes]) -> None:
    def answer(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        socket.send_multipart([frames[0], *junk])

    lost = pytest.raises(DaemonLost, match="answers in another protocol")
    with RawDaemon(answer) as daemon, Client(daemon.endpoint) as client, lost:
        client.ping()


def test_a_refusal_of_what_the_daemon_could_not_read() -> None:
    def answer(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        refusal = refusal_to(frames, "TOO_LARGE", "expected less", None)
        header = msgpack.unpackb(refusal[1])
        header["id"] = None
        socket.send_multipart([frames[0], msgpack.packb(header)])

    refused = pytest.raises(RequestRefused, match="TOO_LARGE: expected less")
    with RawDaemon(answer) as daemon, Client(daemon.endpoint) as client, refused:
        client.ping()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"endpoint": None}, "endpoint: expected text, got None"),
        ({"timeout_s": "1"}, "timeout_s: expected seconds from 0, got '1'"),
        ({"timeout_s": math.nan}, "timeout_s: expected seconds from 0, got nan"),
        ({"wait_s": -1}, "wait_s: expected seconds from 0, got -1"),
    ],
)
def test_settings_of_the_wrong_kind_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Client(**{"endpoint": "tcp://127.0.0.1:1", **settings})


# Closing.


def test_close_at_any_time_and_again() -> None:
    client = Client(free_endpoint(), timeout_s=SHORT_S)
    client.close()
    client.close()
    for ask in (client.ping, client.stats, lambda: client.decision_function([[]])):
        with pytest.raises(DaemonLost, match="the client is closed"):
            ask()
    with pytest.raises(DaemonLost), client:
        client.ping()


def test_close_with_requests_in_flight() -> None:
    """Threads that wait for an answer raise at once, and not after their timeout."""
    with RawDaemon(lambda s, frames: None) as daemon:
        client = Client(daemon.endpoint, timeout_s=600)

        def ask() -> None:
            with pytest.raises(DaemonLost, match="the client is closed"):
                client.decision_function([["a"]])

        with contextlib.ExitStack() as stack:
            for _ in range(4):
                stack.enter_context(thread(ask))
            eventually(lambda: len(daemon.requests) == 4, "the requests")
            client.close()


def test_a_client_that_is_forgotten_leaves_nothing() -> None:
    """A warning of a socket that was not closed would fail this."""
    sockets = len(os.listdir("/dev/fd"))
    for _ in range(3):
        client = Client(free_endpoint(), timeout_s=SHORT_S)
        client.stream()
        del client
        gc.collect()
    assert len(os.listdir("/dev/fd")) <= sockets + 2


@pytest.mark.parametrize("ending", ["", "raise SystemExit", "stream.learn(['a'], 1)"])
def test_an_interpreter_ends_without_a_close(ending: str) -> None:
    code = f"""
import sys
from onlinesvm.service import Client
client = Client(sys.argv[1], timeout_s=60)
stream = client.stream()
stream.learn(["a"], 1)
keep = [client, stream]
{ending}
"""
    with RawDaemon(lambda s, frames: None) as daemon:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, daemon.endpoint],
            cwd=HOUSE,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_samples_that_are_packed_already(tmp_path: Path) -> None:
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client:
        model = OnlineSVM()
        body = msgpack.packb([[1, ["a", "b"]], [-1, {"b": 2.5}, 0.5]])
        margins = client.learn_packed(body)
        expected = model.learn([(["a", "b"], 1), ({"b": 2.5}, -1, 0.5)])
        assert margins.tobytes() == expected.tobytes()
        assert client.snapshot()["digest"] == model.snapshot().digest()
        with pytest.raises(RequestRefused, match="BAD_REQUEST"):
            client.learn_packed(b"\xc1")


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf, "5", None])
def test_a_time_that_is_no_number_of_seconds_leaves_the_old_one(seconds: Any) -> None:
    with Client(timeout_s=3) as client:
        with pytest.raises(ConfigError, match="timeout_s: expected seconds from 0, got"):
            client.timeout_s = seconds
        assert client.timeout_s == 3
