"""Endpoints where no daemon is: each is reported as it is, long before the timeout."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from onlinesvm.service import AsyncClient, Client
from onlinesvm.service.client.probe import Kind, probe
from onlinesvm.service.errors import DaemonLost, DaemonUnreachable
from tests.daemons import DEADLINE_S, on_a_thread, serve, thread
from tests.service.client.test_client import free_endpoint

# No test waits for it: an endpoint that is not reported at once fails by the suite's deadline.
LONG_S = 600.0


def ask(endpoint: str, asynchronous: bool, **options: Any) -> str:
    """The text of the DaemonLost that a ping raises."""

    async def ping() -> None:
        async with AsyncClient(endpoint, **options) as client:
            await client.ping()

    with pytest.raises(DaemonLost) as caught:
        if asynchronous:
            asyncio.run(ping())
        else:
            with Client(endpoint, **options) as client:
                client.ping()
    assert isinstance(caught.value, ConnectionError)
    return str(caught.value)


both = pytest.mark.parametrize("asynchronous", [False, True], ids=["threads", "asyncio"])


@contextlib.contextmanager
def listening(reply: bytes | None = b"", closes: bool = False) -> Iterator[str]:
    """A listener that sends `reply` to each connection, and closes it or keeps it open."""
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as kept:
        stopping = threading.Event()

        def run() -> None:
            while not stopping.is_set():
                peer, _ = server.accept()
                with contextlib.suppress(OSError):
                    peer.sendall(reply or b"")
                if closes:
                    peer.close()
                else:
                    kept.callback(peer.close)

        with thread(run):
            try:
                yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
            finally:
                stopping.set()
                socket.create_connection(server.getsockname(), DEADLINE_S).close()


@both
def test_a_closed_port(asynchronous: bool) -> None:
    endpoint = free_endpoint()
    said = ask(endpoint, asynchronous, timeout_s=LONG_S)
    assert said == f"no daemon at {endpoint}: connection refused"


@both
def test_a_path_without_a_socket(asynchronous: bool, tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/none"
    said = ask(endpoint, asynchronous, timeout_s=LONG_S)
    assert said == f"no daemon at {endpoint}: no such file or directory"


@both
def test_a_host_without_an_address(asynchronous: bool) -> None:
    said = ask("tcp://host.invalid:5577", asynchronous, timeout_s=LONG_S)
    assert said.startswith("no daemon at tcp://host.invalid:5577: ")


class Quiet(http.server.BaseHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing."""


@both
def test_an_http_server(asynchronous: bool) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        endpoint = f"tcp://127.0.0.1:{server.server_address[1]}"
        with thread(lambda: server.serve_forever(0.01)):
            try:
                said = ask(endpoint, asynchronous, timeout_s=LONG_S)
            finally:
                server.shutdown()
    assert said == f"expected a daemon at {endpoint}, got an HTTP server"


@both
def test_a_service_that_sends_first(asynchronous: bool) -> None:
    with listening(b"SSH-2.0-OpenSSH_9.2\r\n") as endpoint:
        said = ask(endpoint, asynchronous, timeout_s=LONG_S)
    assert said.startswith(
        f"expected a daemon at {endpoint}, got another service, which sends b'SSH"
    )


@both
def test_a_peer_that_closes(asynchronous: bool) -> None:
    with listening(closes=True) as endpoint:
        said = ask(endpoint, asynchronous, timeout_s=LONG_S)
    assert said == f"expected a daemon at {endpoint}, got a peer that closes the connection"


@both
def test_a_silent_peer(asynchronous: bool) -> None:
    with listening() as endpoint:
        said = ask(endpoint, asynchronous, timeout_s=LONG_S)
    assert said.startswith(
        f"expected a daemon at {endpoint}, got a peer without a ZeroMQ handshake"
    )


@both
@pytest.mark.parametrize("kind", [zmq.PUB, zmq.PULL, zmq.DEALER, zmq.REP])
def test_another_zeromq_socket(kind: int, asynchronous: bool) -> None:
    """DEALER and REP shake hands as a daemon does: they are probed when no answer comes."""
    with zmq.Context() as context, context.socket(kind) as peer:
        peer.linger = 0
        peer.bind("tcp://127.0.0.1:*")
        endpoint = peer.get_string(zmq.LAST_ENDPOINT)
        said = ask(endpoint, asynchronous, timeout_s=LONG_S)
        name = zmq.SocketType(kind).name
        assert said == f"expected a daemon at {endpoint}, got a ZeroMQ {name} socket"


def test_the_probe_knows_a_daemon(tmp_path: Path) -> None:
    with on_a_thread(tmp_path) as endpoint:
        assert probe(endpoint, DEADLINE_S).kind is Kind.DAEMON
        with Client(endpoint) as client:
            assert client.ping()["mode"] == "leader"


def test_a_daemon_that_was_silent_at_first_is_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as kept:

        def run() -> None:
            for reply in (b"", b"\xff" + bytes(7) + b"\x01\x7f"):
                peer, _ = server.accept()
                kept.callback(peer.close)
                peer.sendall(reply)

        with thread(run):
            found = probe(f"tcp://127.0.0.1:{server.getsockname()[1]}", 0.5)
        assert found.kind is Kind.DAEMON


@both
def test_waiting_is_done_on_request(asynchronous: bool, tmp_path: Path) -> None:
    endpoint = free_endpoint()
    asked, answered = threading.Event(), threading.Event()

    async def ping() -> None:
        async with AsyncClient(endpoint, wait_s=DEADLINE_S, on_waiting=asked.set) as client:
            assert (await client.ping())["mode"] in ("loading", "leader")

    def wait() -> None:
        if asynchronous:
            asyncio.run(ping())
        else:
            with Client(endpoint, wait_s=DEADLINE_S, on_waiting=asked.set) as client:
                assert client.ping()["mode"] in ("loading", "leader")
        answered.set()

    with thread(wait):
        assert asked.wait(DEADLINE_S)
        with serve(tmp_path, bind=endpoint) as daemon:
            answered.wait(DEADLINE_S)
            assert daemon.endpoint == endpoint


@both
def test_a_wait_ends(asynchronous: bool) -> None:
    endpoint = free_endpoint()
    said = ask(endpoint, asynchronous, timeout_s=LONG_S, wait_s=0.2)
    assert said == f"no daemon at {endpoint}: connection refused"


def test_a_client_of_a_closed_port_is_usable_once_a_daemon_runs(tmp_path: Path) -> None:
    endpoint = free_endpoint()
    with Client(endpoint) as client:
        for ask_for in (client.ping, client.stats):
            with pytest.raises(DaemonUnreachable):
                ask_for()
        with pytest.raises(DaemonUnreachable):
            client.stream("p")
        with serve(tmp_path, bind=endpoint):
            assert client.ping()["mode"] == "leader"
            with client.stream("p") as stream:
                stream.learn(["a"], 1)
            assert stream.applied == 1
