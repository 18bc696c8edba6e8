"""Many clients at once: a thousand that idle and a hundred that learn, in flat memory."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
import zmq

from tests.daemons import DEADLINE_S, raw, serve
from tests.keyring import Keyring

IDLE, BUSY, REQUESTS, WINDOW = 1000, 100, 40, 4


@pytest.fixture
def many_files() -> Iterator[None]:
    """Leave to have some thousand files open, here and in the daemon."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 8192:
        pytest.skip("the system allows fewer open files than a thousand clients need")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("keys", ["keys", "no keys"])
def test_a_thousand_idle_and_a_hundred_busy(tmp_path: Path, keys: str) -> None:
    """Each busy one learns its own numbered requests, and is answered in order."""
    body = msgpack.packb([[1, ["a", f"word{i}"]] for i in range(5)])
    ring = Keyring(tmp_path / "ring") if keys == "keys" else None
    if ring is not None:
        ring.permit("alice")
    served, own = (ring.served, ring.of("alice")) if ring is not None else ({}, {})
    with (
        serve(tmp_path / "state", **served) as daemon,
        daemon.client(**own) as client,
        zmq.Context() as context,
    ):
        context.max_sockets = 4096
        context.linger = 0
        ping = msgpack.packb({"v": 1, "op": "ping"})
        sockets = [context.socket(zmq.DEALER) for _ in range(IDLE + BUSY)]
        try:
            for socket in sockets:
                if ring is not None:
                    ring.arm(socket, "alice")
                socket.connect(daemon.endpoint)
                socket.send(ping)
            for socket in sockets:
                assert socket.poll(DEADLINE_S * 1000), "no answer to a ping"
                assert msgpack.unpackb(socket.recv())["ok"]
            before = client.stats()["memory_bytes"]
            poller = zmq.Poller()
            sent, answered = [0] * BUSY, [0] * BUSY
            names = {socket: i for i, socket in enumerate(sockets[IDLE:])}

            def send(socket: zmq.Socket[bytes]) -> None:
                i = names[socket]
                sent[i] += 1
                header = {"v": 1, "op": "learn", "id": sent[i], "producer": f"p{i}"}
                socket.send_multipart([msgpack.packb({**header, "sequence": sent[i]}), body])

            for socket in names:
                poller.register(socket, zmq.POLLIN)
                for _ in range(WINDOW):
                    send(socket)
            while min(answered) < REQUESTS:
                ready = poller.poll(DEADLINE_S * 1000)
                assert ready, f"no answer after {sum(answered)}"
                for socket, _ in ready:
                    header = msgpack.unpackb(socket.recv_multipart()[0])
                    i = names[socket]
                    answered[i] += 1
                    assert (header["ok"], header["id"]) == (True, answered[i]), header
                    if sent[i] < REQUESTS:
                        send(socket)
            assert answered == [REQUESTS] * BUSY
            stats = client.stats()
            assert stats["position"] == BUSY * REQUESTS * 5
            assert stats["producers"] == BUSY
            assert (stats["errors"], stats["dropped_requests"]) == ({}, 0)
            assert stats["memory_bytes"] - before < 32 * 2**20
        finally:
            for socket in sockets:
                socket.close()


def test_a_producer_without_patience_is_slowed_not_stored(tmp_path: Path) -> None:
    """One that sends without reading fills its own queues, and nobody else's memory."""
    body = msgpack.packb([[1, [f"word{i}" for i in range(1000)]]] * 20)
    header = msgpack.packb({"v": 1, "op": "learn"})
    with (
        serve(tmp_path) as daemon,
        daemon.client() as client,
        raw(daemon.endpoint, sndhwm=10, rcvhwm=1, rcvbuf=4096) as glutton,
    ):
        client.learn([(["a"], 1)])
        before = client.stats()["memory_bytes"]
        blocked = 0
        for _ in range(2000):
            try:
                glutton.send_multipart([header, body], zmq.NOBLOCK)
            except zmq.Again:
                blocked += 1
                assert client.ping()
        assert blocked > 100
        stats = client.stats()
        assert stats["memory_bytes"] - before < 64 * 2**20
        assert stats["position"] < 1 + 20 * 2000
