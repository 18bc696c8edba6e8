"""The daemon: real processes, real sockets, and everything that peers can do to them."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import resource
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import numpy as np
import pytest
import zmq

from onlinesvm import Limits, OnlineSVM
from onlinesvm.errors import LimitError
from onlinesvm.service import Client
from onlinesvm.service.config import ServeConfig
from onlinesvm.service.errors import DaemonLost, RequestRefused
from onlinesvm.service.protocol import CODES, OPERATIONS, RequestError
from onlinesvm.service.server.daemon import load_leader
from tests.daemons import (
    DEADLINE_S,
    DaemonProcess,
    HeldSnapshot,
    ask,
    digest_of,
    eventually,
    files_in,
    follow,
    following_on_a_thread,
    loaded,
    on_a_thread,
    raw,
    receive,
    refused_start,
    segment_name,
    send,
    serve,
    snapshot_path,
    thread,
)
from tests.logs import bench, newest_snapshot

LIMITS = {
    "max_message_bytes": 100_000,
    "max_samples_per_batch": 50,
    "max_features_per_sample": 20,
    "max_name_bytes": 30,
    "max_header_bytes": 300,
}


class Running(NamedTuple):
    """A daemon with small limits, its state folder, and a client that nothing may disturb."""

    daemon: DaemonProcess
    state: Path
    bystander: Client

    @property
    def endpoint(self) -> str:
        return self.daemon.endpoint


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    state = tmp_path_factory.mktemp("daemon") / "state"
    with serve(state, rule="sgd", eta0=0.5, **LIMITS) as daemon, daemon.client() as bystander:
        bystander.learn([(["free", "prize"], 1), ({"len": 2.5}, -1, 0.5)])
        yield Running(daemon, state, bystander)
        assert daemon.stop() == 0


@contextlib.contextmanager
def undisturbed(running: Running) -> Iterator[None]:
    """The model is afterwards what it was, and another client is served as before."""
    client = running.bystander
    before, features = client.snapshot(), [["free"], {"len": 1}, []]
    margins = client.decision_function(features)
    yield
    assert client.decision_function(features).tobytes() == margins.tobytes()
    after = client.snapshot()
    assert (after["digest"], after["position"]) == (before["digest"], before["position"])


# Good requests, by zmq and msgpack alone.


def test_ten_lines_are_a_client(tmp_path: Path) -> None:
    with serve(tmp_path / "state", rule="sgd", eta0=0.1) as daemon, zmq.Context() as context:
        with context.socket(zmq.REQ) as req:
            req.connect(daemon.endpoint)
            req.send_multipart(
                [
                    msgpack.packb({"v": 1, "op": "learn"}),
                    msgpack.packb([[1, ["free", "prize"]], [-1, {"len": 2.5}, 0.5]]),
                ]
            )
            assert req.poll(DEADLINE_S * 1000)
            header, body = map(msgpack.unpackb, req.recv_multipart())
        assert header == {"v": 1, "id": None, "ok": True, "samples": 2, "position": 2}
        assert body == [0.0, 0.1]


@pytest.mark.parametrize(
    "id", [None, 0, -(2**63), 2**64 - 1, "", "7", b"7", b"\xff" * 64, "é" * 32]
)
@pytest.mark.parametrize("keys", [{"op": "ping"}, {"op": "no"}, {"op": "ping", "v": 7}])
def test_ids_come_back_as_they_were(running: Running, id: Any, keys: dict[str, Any]) -> None:
    with raw(running.endpoint) as dealer:
        header, _ = ask(dealer, id=id, **keys)
    assert header["id"] == id
    assert type(header["id"]) is type(id)


def test_the_frames_of_an_envelope_come_back(running: Running) -> None:
    ping = msgpack.packb({"v": 1, "op": "ping"})
    with raw(running.endpoint) as dealer:
        for envelope in ([b""], [b"proxy", b""], [b"x"] * 15 + [b""]):
            send(dealer, *envelope, ping)
            assert dealer.poll(DEADLINE_S * 1000)
            *echoed, header = dealer.recv_multipart()
            assert echoed == envelope
            assert msgpack.unpackb(header)["ok"]


@pytest.mark.parametrize(
    ("envelope", "code", "message"),
    [
        ([b"x"] * 16, "BAD_REQUEST", "expected an envelope of at most 16 frames, got 17"),
        ([b"x" * 301], "TOO_LARGE", "expected an envelope of at most 300 bytes, got 301"),
        ([b"x" * 90_000], "TOO_LARGE", "expected an envelope of at most 300 bytes, got 90000"),
    ],
)
def test_an_envelope_that_is_not_echoed(
    running: Running, envelope: list[bytes], code: str, message: str
) -> None:
    with raw(running.endpoint) as dealer, undisturbed(running):
        send(dealer, *envelope, b"", msgpack.packb({"v": 1, "op": "ping"}))
        header, _ = receive(dealer)
    assert (header["error"]["code"], header["error"]["message"]) == (code, message)


def test_an_empty_batch_learns_nothing(running: Running) -> None:
    with raw(running.endpoint) as dealer, undisturbed(running):
        for op in ("learn", "predict"):
            header, margins = ask(dealer, op, [])
            assert (header["ok"], header["samples"], margins) == (True, 0, [])


def test_an_empty_sample_has_the_bias_alone(tmp_path: Path) -> None:
    with on_a_thread(tmp_path, rule="sgd", eta0=0.5) as endpoint, raw(endpoint) as dealer:
        assert ask(dealer, "learn", [[1, []], [1, {}]])[1] == [0.0, 0.5]
        assert ask(dealer, "predict", [[], {}, {"a": 0}])[1] == [1.0, 1.0, 1.0]


def test_stats_describe_the_daemon(running: Running) -> None:
    stats = running.bystander.stats()
    model = OnlineSVM.load(running.bystander.snapshot()["path"])
    assert stats["position"] == model.position == 2
    assert stats["features"] == len(model.lookup) == 3
    assert stats["progressive_error"] == model.progressive.error
    assert stats["progressive_hinge_loss"] == model.progressive.hinge_loss
    assert stats["recent_error"] == model.progressive.recent_error
    assert stats["recent_hinge_loss"] == model.progressive.recent_hinge_loss
    assert stats["config"] == model.config.as_dict()
    assert stats["rule"] == "sgd"
    assert stats["kernel"] == model.kernel.NAME
    assert stats["mode"] == "leader"
    assert stats["snapshot_path"].startswith(str(running.state))
    assert stats["memory_bytes"] > 2**20
    for key in ("uptime_s", "samples_per_s", "requests_per_s", "snapshot_age_s"):
        assert stats[key] >= 0


def test_figures_are_nil_before_the_first_sample(tmp_path: Path) -> None:
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client:
        client.learn([(["a"], 1, 0)])
        stats = client.stats()
        assert stats["position"] == 1
        for key in ("progressive_error", "progressive_hinge_loss"):
            assert stats[key] is None
            assert stats[key.replace("progressive", "recent")] is None


# Bad requests.

INF, NAN = float("inf"), float("nan")
SAMPLE = "expected a sample as [label, features] or [label, features, importance]"
VALUE = "expected a number, text, true, false, null or an array of names"
FEATURES = "expected features as an array of names or a map from name to value"
NAME = "expected a feature name (text, bytes or an integer)"
NOT_WHOLE = (
    "expected a body of one whole msgpack object, got {} bytes that are not msgpack or end early"
)
GOOD = [1, ["good"]]


def nested(depth: int) -> bytes:
    return b"\x91" * depth + b"\x01"


# op, body (bytes as they are, else packed), code, message, at.
BAD_BODIES: dict[str, tuple[str, Any, str, str, str | None]] = {
    "nothing": (
        "learn", [GOOD, None], "BAD_SAMPLE", f"{SAMPLE}, got nil", "$[1]"
    ),
    "not msgpack": (
        "learn", b"\xc1\xc1", "BAD_REQUEST",
        NOT_WHOLE.format(2),
        None,
    ),
    "cut short": (
        "predict", b"\x92\x90", "BAD_REQUEST",
        NOT_WHOLE.format(2),
        None,
    ),
    "two objects": (
        "learn", b"\x90\x90", "BAD_REQUEST",
        "expected a body of one msgpack object, got 1 bytes after its end", None,
    ),
    "a map": ("learn", {"a": 1}, "BAD_SAMPLE", "expected an array of samples, got a map", "$"),
    "a number": (
        "predict", 7, "BAD_SAMPLE", "expected an array of samples' features, got 7", "$"
    ),
    "label nan": (
        "learn", [[NAN, []]], "BAD_SAMPLE",
        "expected a label as text, integer or boolean, got nan", "$[0][0]",
    ),
    "features first": (  # an array may be a set of labels
        "learn", [[["a"], 1]], "BAD_SAMPLE",
        "expected features as an array of names or a map from name to value, got 1",
        "$[0][1]",
    ),
    "nan": (
        "learn", [GOOD, GOOD, [1, {"a": 1, "len": NAN}]], "BAD_SAMPLE",
        "expected a finite number, got nan", '$[2][1]["len"]',
    ),
    "infinity": (
        "predict", [{"len": -INF}], "BAD_SAMPLE", "expected a finite number, got -inf",
        '$[0]["len"]',
    ),
    "a huge value": (
        "predict", [{b"\xff": 1e51}], "BAD_SAMPLE",
        "expected a number of magnitude at most 1e+50, got 1e+51", '$[0]["\\xff"]',
    ),
    "a value of a map": (
        "learn", [[1, {"len": {}}]], "BAD_SAMPLE", f"{VALUE}, got a map", '$[0][1]["len"]',
    ),
    "a list of lists": (
        "learn", [[1, {"len": [[]]}]], "BAD_SAMPLE",
        "expected a feature name (text, bytes or an integer), got an array",
        '$[0][1]["len"][0]',
    ),
    "negative importance": (
        "learn", [[1, [], -0.5]], "BAD_SAMPLE",
        "expected an importance from 0 to 32 (max_importance), got -0.5",
        "$[0][2]",
    ),
    "importance of infinity": (
        "learn", [[1, [], INF]], "BAD_SAMPLE",
        "expected an importance from 0 to 32 (max_importance), got inf",
        "$[0][2]",
    ),
    "importance of text": (
        "learn", [[1, [], "1"]], "BAD_SAMPLE",
        'expected an importance from 0 to 32 (max_importance), got text "1"', "$[0][2]",
    ),
    "a long name": (
        "learn", [GOOD, [1, ["a", "n" * 31]]], "TOO_LARGE",
        "expected at most 30 bytes a feature name, got 31", "$[1][1][1]",
    ),
    "a long name in a map": (
        "predict", [{"n" * 31: 1}], "TOO_LARGE",
        "expected at most 30 bytes a feature name, got 31", "$[0]",
    ),
    "a name of 1.5": ("learn", [[1, [1.5]]], "BAD_SAMPLE", f"{NAME}, got 1.5", "$[0][1][0]"),
    "a name of true": ("predict", [[True]], "BAD_SAMPLE", f"{NAME}, got true", "$[0][0]"),
    "a name of nil": ("predict", [{None: 1}], "BAD_SAMPLE", f"{NAME}, got nil", "$[0]"),
    "too many features": (
        "learn", [GOOD, [1, list(range(21))]], "TOO_LARGE",
        "expected at most 20 features a sample, got 21", "$[1][1]",
    ),
    "too many samples": (
        "learn", [GOOD] * 51, "TOO_LARGE", "expected at most 50 samples a batch, got 51", "$"
    ),
    "nesting": ("predict", nested(3), "BAD_SAMPLE", f"{NAME}, got an array", "$[0][0]"),
    "deeper nesting": (
        "learn", nested(90), "BAD_SAMPLE", f"{SAMPLE}, got an array of 1", "$[0]"
    ),
    "deepest nesting": (
        "learn", nested(90_000), "BAD_REQUEST",
        "expected a body nested a few levels deep, got one nested deeper than msgpack reads", None,
    ),
    "a head of more than there is": (
        "learn", b"\xdd\xff\xff\xff\xff", "BAD_REQUEST",
        NOT_WHOLE.format(5),
        None,
    ),
    "features of text": (
        "learn", [[1, "free"]], "BAD_SAMPLE",
        f'{FEATURES}, got text "free" (the model reads no text: its option text is off)',
        "$[0][1]",
    ),
    "features of nil": ("predict", [None], "BAD_SAMPLE", f"{FEATURES}, got nil", "$[0]"),
    "a sample of one": ("learn", [[1]], "BAD_SAMPLE", f"{SAMPLE}, got an array of 1", "$[0]"),
    "a sample of four": (
        "learn", [[1, [], 1, 1]], "BAD_SAMPLE", f"{SAMPLE}, got an array of 4", "$[0]"
    ),
    "an extension": (
        "predict", [msgpack.ExtType(5, b"")], "BAD_SAMPLE", f"{FEATURES}, got an extension", "$[0]"
    ),
    "the last of many": (
        "learn", [GOOD] * 49 + [[3, []]], "BAD_SAMPLE",
        "expected one of the model's two labels, -1 or 1, got 3; other labels need"
        " a model of their own, of --task multiclass if more than two",
        "$[49][0]",
    ),
    "over the message's limit": (
        "learn", b"\x90" * 150_000, "TOO_LARGE",
        "expected a message of at most 100000 bytes, got 150041", None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_BODIES)
def test_bad_bodies(running: Running, case: str) -> None:
    op, body, code, message, at = BAD_BODIES[case]
    packed = body if isinstance(body, bytes) else msgpack.packb(body)
    with raw(running.endpoint) as dealer, undisturbed(running):
        send(dealer, msgpack.packb({"v": 1, "op": op, "id": case}), packed)
        header, nothing = receive(dealer)
        sample = re.match(r"\$\[(\d+)\]", at or "")
        assert header["error"] == {
            "code": code, "message": message, "at": at, "sample": int(sample[1]) if sample else None
        }  # fmt: skip
        assert (header["v"], header["id"], header["ok"], nothing) == (1, case, False, None)
        # Its sender is still served.
        assert ask(dealer, "ping")[0]["ok"]


BAD_HEADERS = {
    "no map": ([b"\x90"], "BAD_REQUEST", "expected a header as a map, got an array"),
    "not msgpack": (
        [b"\xc1"], "BAD_REQUEST", "expected a header of one msgpack map, got 1 bytes that are none"
    ),
    "unknown operation": (
        [msgpack.packb({"v": 1, "op": "unlearn"})], "UNKNOWN_OP",
        f'expected one of {", ".join(OPERATIONS)}, got "unlearn"',
    ),
    "unknown key": (
        [msgpack.packb({"v": 1, "op": "learn", "eta": 1}), b"\x90"], "BAD_REQUEST",
        'expected no key "eta" for learn',
    ),
    "unknown version": (
        [msgpack.packb({"v": 2, "op": "ping"})], "BAD_REQUEST", "expected v = 1, got 2"
    ),
    "too long": (
        [msgpack.packb({"v": 1, "op": "ping", "x": "x" * 300})], "TOO_LARGE",
        "expected a header of at most 300 bytes, got 317",
    ),
    "frames": (
        [msgpack.packb({"v": 1, "op": "learn"}), b"\x90", b"\x90"], "BAD_REQUEST",
        "expected 1 or 2 frames after the envelope (all frames up to a first empty one), got 3",
    ),
    "a missing body": (
        [msgpack.packb({"v": 1, "op": "learn"})], "BAD_REQUEST",
        "expected a body for learn, got none",
    ),
    "a body too many": (
        [msgpack.packb({"v": 1, "op": "stats"}), b"\x90"], "BAD_REQUEST",
        "expected no body for stats, got one",
    ),
    "reload at a learner": (
        [msgpack.packb({"v": 1, "op": "reload"})], "BAD_REQUEST",
        "expected reload at a reader, or at a leader with keys, got it at one without",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_HEADERS)
@pytest.mark.parametrize("kind", [zmq.DEALER, zmq.REQ], ids=["dealer", "req"])
def test_bad_headers(running: Running, case: str, kind: int) -> None:
    frames, code, message = BAD_HEADERS[case]
    with raw(running.endpoint, kind) as peer, undisturbed(running):
        send(peer, *frames)
        assert peer.poll(DEADLINE_S * 1000)
        header = msgpack.unpackb(peer.recv_multipart()[-1])
        expected = {"code": code, "message": message, "at": None, "sample": None}
        assert header["error"] == expected
        if kind == zmq.REQ:
            assert ask(peer, "ping")[0]["ok"]


@pytest.mark.parametrize("envelope", [[b""], [b"x", b""], [b"x", b"", b""]])
def test_nothing_but_an_envelope(running: Running, envelope: list[bytes]) -> None:
    with raw(running.endpoint) as dealer, undisturbed(running):
        send(dealer, *envelope)
        assert dealer.poll(DEADLINE_S * 1000)
        header = msgpack.unpackb(dealer.recv_multipart()[-1])
        assert header["error"]["code"] == "BAD_REQUEST"


def test_errors_are_counted_by_code(running: Running) -> None:
    before = running.bystander.stats()["errors"]
    with raw(running.endpoint) as dealer:
        for _ in range(3):
            ask(dealer, "learn", [[0, []]])
        ask(dealer, "nonsense")
    after = running.bystander.stats()["errors"]
    assert after["BAD_SAMPLE"] == before.get("BAD_SAMPLE", 0) + 3
    assert after["UNKNOWN_OP"] == before.get("UNKNOWN_OP", 0) + 1
    assert set(after) <= set(CODES)


def test_a_message_over_twice_its_limit_cuts_its_sender_alone(running: Running) -> None:
    with (
        raw(running.endpoint) as glutton,
        raw(running.endpoint) as other,
        glutton.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor,
        undisturbed(running),
    ):
        assert ask(glutton, "ping")[0]["ok"]
        assert ask(other, "ping")[0]["ok"]
        header = msgpack.packb({"v": 1, "op": "learn"})
        send(glutton, header, bytes(200_000))
        assert receive(glutton)[0]["error"]["code"] == "TOO_LARGE"
        send(glutton, header, bytes(200_001))
        assert monitor.poll(DEADLINE_S * 1000), "the connection is not cut"
        assert ask(other, "ping")[0]["ok"]
        # ZeroMQ connects anew by itself; the answer to the message will never come.
        assert ask(glutton, "ping", id="again")[0]["id"] == "again"
        glutton.disable_monitor()


def test_the_client_does_not_send_what_is_too_large(running: Running) -> None:
    limits = Limits(**{**LIMITS, "max_samples_per_batch": 10_000})
    with running.daemon.client(limits=limits) as client, undisturbed(running):
        with pytest.raises(LimitError, match="at most 100000 bytes, got"):
            client.decision_function([["n" * 29]] * 4000)
        assert client.ping()
    with running.daemon.client() as client, undisturbed(running):
        with pytest.raises(RequestRefused, match="TOO_LARGE: expected a message"):
            client.decision_function([["n" * 29]] * 4000)
        for _ in range(20):
            with pytest.raises(DaemonLost):
                client.decision_function([["n" * 29]] * 8000)
            # Not lost with the connection, however soon it follows.
            assert client.ping()


GREETINGS = {
    "nothing": b"",
    "random bytes": bytes((i * 7919) % 251 for i in range(5000)),
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "half a greeting": b"\xff" + bytes(8) + b"\x7f\x03",
    "another mechanism": b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE" + bytes(48),
    "an endless frame": b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)
    + b"\x06" + struct.pack(">Q", 2**63 - 1) + b"x" * 100,
}  # fmt: skip


@pytest.mark.parametrize("case", GREETINGS)
def test_peers_that_speak_no_zeromq(running: Running, case: str) -> None:
    host, port = running.endpoint.removeprefix("tcp://").split(":")
    with undisturbed(running), contextlib.ExitStack() as stack:
        for _ in range(20):
            peer = stack.enter_context(socket.create_connection((host, int(port)), DEADLINE_S))
            with contextlib.suppress(ConnectionError):  # cut already
                peer.sendall(GREETINGS[case])
        with running.daemon.client() as newcomer:
            assert newcomer.ping()


# Many at once, and one that does not read.


def test_many_clients_at_once(tmp_path: Path) -> None:
    """Each sees its own answers, and all is learned once."""
    with (
        serve(tmp_path / "state", rule="sgd", eta0=0.5, bias=False) as daemon,
        contextlib.ExitStack() as stack,
    ):

        def work(name: str) -> None:
            # Features of its own: its margins are those of a model of its own.
            model = OnlineSVM(rule="sgd", eta0=0.5, bias=False)
            with daemon.client() as client:
                for i in range(30):
                    batch = [([f"{name}{j % 7}", name], 1 if (i + j) % 3 else -1) for j in range(9)]
                    assert client.learn(batch).tobytes() == model.learn(batch).tobytes()
                features = [[name], [f"{name}3"]]
                assert (
                    client.decision_function(features).tobytes()
                    == model.decision_function(features).tobytes()
                )

        for name in "abcdefgh":
            stack.enter_context(thread(lambda name=name: work(name)))
        stack.close()
        with daemon.client() as client:
            assert client.stats()["position"] == 8 * 30 * 9


def test_a_client_that_does_not_read_delays_no_other(tmp_path: Path) -> None:
    with (
        serve(tmp_path / "state", rule="sgd", eta0=0.5) as daemon,
        daemon.client() as client,
        raw(daemon.endpoint, rcvhwm=1, rcvbuf=4096, sndbuf=4096) as glutton,
    ):
        client.learn([(["a"], 1)])
        before = client.stats()["memory_bytes"]
        sent = 0

        def push(op: str, body: object = None) -> int:
            nonlocal sent
            sent += 1
            header = msgpack.packb({"v": 1, "op": op, "id": sent})
            send(glutton, header, *([] if body is None else [msgpack.packb(body)]))
            return sent

        def dropped() -> int:
            for _ in range(20):
                push("predict", [[]] * 1000)  # its answer takes 9 kB
            count = client.stats()["dropped_requests"]
            assert isinstance(count, int)
            return count

        eventually(dropped, "a request dropped")
        for _ in range(100):  # what the buffers of two systems take is not dropped
            first = dropped()
        push("learn", [[-1, ["a"]]])
        eventually(lambda: client.stats()["dropped_requests"] > first, "the last ones dropped")
        stats = client.stats()
        assert stats["memory_bytes"] - before < 32 * 2**20
        assert daemon.log.count("does not read its replies") >= 1
        # Once it reads, it gets every answer that was not dropped, and is served again.
        answered: list[int] = []

        def is_back() -> bool:
            last = push("ping")
            while glutton.poll(50):
                header, margins = receive(glutton)
                assert header["ok"]
                assert margins is None or len(margins) == 1000
                answered.append(header["id"])
                if header["id"] == last:
                    return True
            return False

        eventually(is_back, "an answer to a ping")
        assert answered == sorted(set(answered))
        assert len(answered) > 256
        stats = client.stats()
        assert sent == len(answered) + stats["dropped_requests"]
        assert stats["position"] == 1
        assert daemon.stop() == 0


def test_large_replies_that_nobody_reads_are_bounded(tmp_path: Path) -> None:
    """Each answer has 4 MB: 100 requests for 400 MB of them."""
    body = msgpack.packb([[b"%04d" % i + b"x" * 4000 for i in range(1000)]])
    asked = 100
    with (
        serve(tmp_path / "state", rule="sgd") as daemon,
        daemon.client() as client,
        raw(daemon.endpoint, rcvhwm=1, rcvbuf=4096) as glutton,
    ):
        client.learn([(["a"], 1)])
        client.features([["a"]])
        before = client.stats()["memory_bytes"]
        for i in range(asked):
            send(glutton, msgpack.packb({"v": 1, "op": "explain", "id": i}), body)
        eventually(lambda: client.stats()["errors"].get("BUSY", 0) > asked // 2, "refusals")
        eventually(lambda: client.stats()["requests"]["explain"] == asked, "all requests")
        assert client.stats()["memory_bytes"] - before < 150 * 2**20
        # Reading makes room; nothing was lost silently.
        served = 0
        for i in range(asked):
            header, explained = receive(glutton)
            assert header["id"] == i
            if header["ok"]:
                served += 1
                assert len(explained[0]["features"]) == 1000
            else:
                assert header["error"]["code"] == "BUSY"
                assert header["error"]["retry_after_s"] == 1.0
        assert 4 <= served < asked // 2
        send(glutton, msgpack.packb({"v": 1, "op": "explain", "id": "again"}), body)
        assert receive(glutton)[0]["ok"]
        assert client.stats()["dropped_requests"] == 0


def test_a_refused_request_leaves_no_cycle(tmp_path: Path) -> None:
    """Its message would stay in memory until the garbage collector runs."""
    with on_a_thread(tmp_path) as endpoint, raw(endpoint) as dealer:
        ask(dealer, "ping", None)
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for op, body in (("nothing", None), ("predict", 5), ("learn", [5]), ("explain", 5)):
                assert not ask(dealer, op, body)[0]["ok"]
            gc.collect()
            found = [each for each in gc.garbage if isinstance(each, RequestError)]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
    assert not found


def test_ten_thousand_frames_are_one_refused_message(running: Running) -> None:
    with raw(running.endpoint) as dealer, undisturbed(running):
        send(dealer, *[b"x"] * 10_000, msgpack.packb({"v": 1, "op": "ping"}))
        header, _ = receive(dealer)
        assert (header["ok"], header["error"]["code"]) == (False, "BAD_REQUEST")
        assert ask(dealer, "ping", None)[0]["ok"]
        assert not dealer.poll(50)


# Snapshots, ends and starts.


def batches(n: int, start: int = 0) -> list[list[tuple[Any, ...]]]:
    rng = np.random.default_rng(start)
    return [
        [
            (
                {f"f{rng.integers(0, 60)}": float(v) for v in rng.normal(size=5)},
                int(rng.choice([-1, 1])),
                float(rng.choice([1.0, 0.5, 0.0])),
            )
            for _ in range(int(rng.integers(0, 8)))
        ]
        for _ in range(n)
    ]  # fmt: skip


def test_a_snapshot_is_durable_when_it_is_answered(tmp_path: Path) -> None:
    with serve(tmp_path / "state", rule="sgd", alpha=0.01) as daemon, daemon.client() as client:
        model = OnlineSVM(rule="sgd", alpha=0.01)
        for batch in batches(10):
            assert client.learn(batch).tobytes() == model.learn(batch).tobytes()
            saved = client.snapshot()
            assert saved["path"] == str(snapshot_path(tmp_path / "state", saved["lsn"]))
            assert saved["size"] == os.path.getsize(saved["path"])
            loaded = OnlineSVM.load(saved["path"])
            assert digest_of(loaded) == saved["digest"] == digest_of(model)
            stats = client.stats()
            assert stats["snapshot_path"] == saved["path"]
            assert stats["snapshot_position"] == saved["position"] == model.position
        kept = sorted((tmp_path / "state").rglob("snapshot-*"))
        assert len(kept) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_everything_on_disk(tmp_path: Path, number: int) -> None:
    """Then another process goes on, bit for bit, as if nothing had been."""
    state = tmp_path / "state"
    config = {"rule": "sgd", "eta0": 0.3, "alpha": 0.001, "schedule": "invscaling"}
    model = OnlineSVM(**config)
    given: dict[str, Any] = config
    for life in range(3):
        with serve(state, **given) as daemon, daemon.client() as client:
            assert client.stats()["position"] == model.position
            for batch in batches(5, start=life):
                assert client.learn(batch).tobytes() == model.learn(batch).tobytes()
            daemon.signal(number)
            assert daemon.wait() == 0
        newest = newest_snapshot(state)
        assert digest_of(OnlineSVM.load(newest)) == digest_of(model)
        given = {}


def test_an_end_without_anything_learned_writes_nothing(tmp_path: Path) -> None:
    with serve(tmp_path) as daemon, daemon.client() as client:
        assert daemon.stop() == 0
    assert not list(tmp_path.rglob("snapshot-*"))
    with serve(tmp_path) as daemon, daemon.client() as client:
        client.learn([(["a"], 1)])
        assert daemon.stop() == 0
    with serve(tmp_path) as daemon, daemon.client() as client:
        client.decision_function([["a"]])
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("snapshot-*")}
        assert daemon.stop() == 0
    assert before
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("snapshot-*")} == before


def test_a_killed_daemon_comes_back_with_all_it_acknowledged(tmp_path: Path) -> None:
    model = OnlineSVM()
    with serve(tmp_path) as daemon, daemon.client() as client:
        for batch in batches(5):
            client.learn(batch)
            model.learn(batch)
        client.snapshot()
        for batch in batches(5, start=1):
            client.learn(batch)
            model.learn(batch)
        daemon.kill()
    with serve(tmp_path) as daemon, daemon.client() as client:
        assert client.stats()["position"] == model.position
        assert client.snapshot()["digest"] == digest_of(model)


def test_snapshots_are_periodic_if_anything_was_learned(tmp_path: Path) -> None:
    with serve(tmp_path, snapshot_every_s=0.05) as daemon, daemon.client() as client:
        for position in (1, 2):
            client.learn([(["a"], 1)])
            eventually(
                lambda position=position: client.stats()["snapshot_position"] == position,
                f"a snapshot of position {position}",
            )
            assert snapshot_path(tmp_path, 2 + position).exists()
        written = snapshot_path(tmp_path, 4).stat().st_mtime_ns
        client.decision_function([["a"]])
        age = client.stats()["snapshot_age_s"]
        eventually(lambda: client.stats()["snapshot_age_s"] > age + 0.2, "some turns more")
        assert snapshot_path(tmp_path, 4).stat().st_mtime_ns == written


def test_the_age_of_a_snapshot_is_that_of_its_file(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        found.snapshot()
    hour_ago = time.time() - 3600
    os.utime(newest_snapshot(tmp_path), (hour_ago, hour_ago))
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client:
        assert 3600 <= client.stats()["snapshot_age_s"] < 3700


def test_the_loop_serves_while_a_snapshot_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client, raw(endpoint) as dealer:
        client.learn([(["a"], 1)])
        held = HeldSnapshot(monkeypatch)
        send(dealer, msgpack.packb({"v": 1, "op": "snapshot", "id": "held"}))
        send(dealer, msgpack.packb({"v": 1, "op": "snapshot", "id": "joined"}))
        assert ask(dealer, "ping", id="meanwhile")[0]["id"] == "meanwhile"
        client.learn([(["b"], 1)])
        # Later samples are not in the one under way.
        send(dealer, msgpack.packb({"v": 1, "op": "snapshot", "id": "later"}))
        assert ask(dealer, "stats")[0]["position"] == 2
        held.release()
        for id in ("held", "joined"):
            header, _ = receive(dealer)
            assert header["id"] == id
            assert header["error"]["code"] == "INTERNAL"
            assert header["error"]["message"].startswith("the snapshot failed: [Errno 22]")
        header, _ = receive(dealer)
        assert (header["id"], header["ok"], header["position"]) == ("later", True, 2)
        model = OnlineSVM()
        model.learn([(["a"], 1), (["b"], 1)])
        assert header["digest"] == digest_of(model)
        stats = client.stats()
        assert (stats["snapshot_position"], stats["snapshot_error"]) == (2, None)
        assert newest_snapshot(tmp_path) == snapshot_path(tmp_path, 4)
        assert not list(tmp_path.rglob("*.tmp"))


def test_a_snapshot_that_is_asked_for_at_the_end_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ServeConfig(state=str(tmp_path))
    with (
        loaded(load_leader(config, Limits(), {}), Limits()) as daemon,
        Client(daemon.endpoint) as client,
        raw(daemon.endpoint) as dealer,
    ):
        client.learn([(["a"], 1)])
        held = HeldSnapshot(monkeypatch)
        send(dealer, msgpack.packb({"v": 1, "op": "snapshot", "id": 1}))
        assert ask(dealer, "ping")[0]["ok"]  # so it is under way
        client.learn([(["b"], 1)])
        send(dealer, msgpack.packb({"v": 1, "op": "snapshot", "id": 2}))
        assert ask(dealer, "ping")[0]["ok"]
        daemon.stop()
        held.release()
        assert [receive(dealer)[0]["ok"] for _ in range(2)] == [False, True]
    assert snapshot_path(tmp_path, 4).exists()


def test_requests_that_wait_for_a_snapshot_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with on_a_thread(tmp_path) as endpoint, Client(endpoint) as client, raw(endpoint) as dealer:
        client.learn([(["a"], 1)])
        held = HeldSnapshot(monkeypatch)
        for i in range(1100):
            send(dealer, msgpack.packb({"v": 1, "op": "snapshot", "id": i}))
        for _ in range(1100 - 1024):
            header, _ = receive(dealer)
            assert header["error"]["code"] == "BUSY"
            assert header["id"] >= 1024
        assert client.ping()
        held.release()
        assert sorted(receive(dealer)[0]["id"] for _ in range(1024)) == list(range(1024))


def leave_no_room(daemon: DaemonProcess) -> tuple[int, int]:
    """No file of the daemon may grow beyond 1000 bytes; what was allowed before."""
    pid = daemon.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1000, before[1]))
    return before


on_linux = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="no limits of others")


@on_linux
def test_a_full_disk_is_reported_and_survived(tmp_path: Path) -> None:
    with serve(tmp_path) as daemon, daemon.client() as client:
        client.learn([([str(i) for i in range(1000)], 1)])
        before = leave_no_room(daemon)
        with pytest.raises(RequestRefused, match=r"INTERNAL: the snapshot failed: .*too large"):
            client.snapshot()
        assert "too large" in client.stats()["snapshot_error"]
        assert files_in(tmp_path) == {"LOCK", f"log/{segment_name(1)}"}
        client.learn([(["a"], 1)])
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, before)
        assert client.snapshot()["position"] == 2
        assert client.stats()["snapshot_error"] is None


@on_linux
def test_an_end_on_a_full_disk_fails(tmp_path: Path) -> None:
    with serve(tmp_path) as daemon, daemon.client() as client:
        client.learn([([str(i) for i in range(1000)], 1)])
        leave_no_room(daemon)
        assert daemon.stop() == 1
        assert daemon.lines[-1] == "onlinesvm: File too large\n"


def test_a_state_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"state\xff")
    with on_a_thread(folder) as endpoint, Client(endpoint) as client:
        client.learn([(["a"], 1)])
        assert client.snapshot()["position"] == 1
        path = client.stats()["snapshot_path"]
        assert path.startswith(f"{tmp_path}/state\\udcff/models/default/snapshot-")


# Starts that fail.


def test_a_taken_port(running: Running, tmp_path: Path) -> None:
    code, errors = refused_start(bind=running.endpoint, state=tmp_path)
    assert code == 1
    assert errors.startswith(f"onlinesvm: cannot bind {running.endpoint}: Address already in use; ")
    assert errors.endswith(", --bind names another endpoint\n")


def test_a_taken_state_folder(running: Running) -> None:
    with undisturbed(running):
        code, errors = refused_start(state=running.state)
    assert (code, errors) == (
        1,
        f"onlinesvm: state folder {running.state}: another daemon holds it"
        f" (process {running.daemon.process.pid})\n",
    )


def test_another_configuration(tmp_path: Path) -> None:
    OnlineSVM(rule="sgd", eta0=0.5).save(snapshot_path(tmp_path, 0))
    code, errors = refused_start(state=tmp_path, eta0=0.25)
    assert code == 1
    assert errors.splitlines()[-1] == (
        "onlinesvm: eta0: the model was created with 0.5, got 0.25; leave it out, or start a new"
        " model"
    )


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, errors = refused_start(state=tmp_path / "file")
    assert (code, errors) == (
        1,
        f"onlinesvm: state folder {tmp_path / 'file'}: expected a folder, got a file\n",
    )


def test_a_loop_on_a_thread_ends_when_it_is_stopped(tmp_path: Path) -> None:
    with (
        following_on_a_thread(tmp_path, reload_every_s=60) as daemon,
        Client(daemon.endpoint) as client,
    ):
        assert client.ping() == {"mode": "reader"}


def test_a_follower_needs_no_folder_yet(tmp_path: Path) -> None:
    with follow(tmp_path / "state") as daemon, daemon.client() as client:
        assert client.ping() == {"mode": "reader"}
        assert daemon.stop() == 0
