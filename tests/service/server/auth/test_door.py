"""The door: who is admitted, how many, and which connection is still the same."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from onlinesvm import Limits
from onlinesvm.service.server.auth.access import Access
from onlinesvm.service.server.auth.users import Users
from onlinesvm.service.server.router import Router, Sender
from tests.daemons import ANY_PORT, DEADLINE_S, HOUSE, eventually, raw, send
from tests.keyring import Keyring
from tests.zmtp import Peer


@contextlib.contextmanager
def bound(access: Access | None = None, bind: str = ANY_PORT) -> Iterator[Router]:
    router = Router(bind, Limits(), access)
    try:
        yield router
    finally:
        router.close()


def next_sender(router: Router) -> Sender:
    """The sender of the next message, which is the only one."""
    [(sender, _)] = eventually(lambda: router.turn(0.0), "a message")
    return sender


def await_end(router: Router, sender: Sender) -> None:
    """Wait for the end of a connection, as the door and the socket know it. The socket gives its
    identity free last: a peer that claims it before would not be served.
    """

    def has_ended() -> bool:
        return not (router.turn(0.0) or router.is_open(sender) or is_known(router, sender.identity))

    eventually(has_ended, "the end of it")


def is_known(router: Router, identity: bytes) -> bool:
    """True if the socket has a connection of that identity."""
    try:
        router.socket.send_multipart([identity, b""], zmq.NOBLOCK)
    except zmq.Again:
        return True
    except zmq.ZMQError as error:
        assert error.errno == zmq.EHOSTUNREACH
        return False
    return True


def test_each_connection_has_a_number_of_its_own(tmp_path: Path) -> None:
    for bind in (ANY_PORT, f"ipc://{tmp_path}/socket"):
        with bound(bind=bind) as router:
            users = set()
            for _ in range(5):
                with raw(router.endpoint, routing_id=b"same") as peer:
                    send(peer, b"hello")
                    sender = next_sender(router)
                    assert router.is_open(sender)
                    send(peer, b"again")
                    assert next_sender(router).user == sender.user
                assert sender.key == ""
                users.add(sender.user)
                await_end(router, sender)
            assert len(users) == 5


def test_an_ipc_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with bound(bind=f"ipc://{tmp_path}/socket"):
            assert (tmp_path / "socket").stat().st_mode & 0o777 == 0o600
        os.close(os.open(tmp_path / "file", os.O_CREAT | os.O_WRONLY, 0o666))
        assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666  # the mask is as it was
    finally:
        os.umask(before)


def test_a_descriptor_that_is_used_again_is_another_connection() -> None:
    """The first one's message is read when the second has the descriptor already."""
    with bound() as router:
        again = 0
        for _ in range(1000):
            if again == 5:
                break
            with Peer(router.endpoint) as peer:
                peer.send({"v": 1, "op": "ping"})
            with Peer(router.endpoint) as heir:
                heir.send({"v": 1, "op": "ping"})
                senders: list[Sender] = []
                while len(senders) < 2:
                    turn = eventually(lambda: router.turn(0.0), "both messages")
                    senders += [sender for sender, _ in turn]
                older, newer = sorted(senders, key=lambda sender: sender.number)
                assert router.is_open(newer)
                if older.descriptor == newer.descriptor:
                    again += 1
                    assert not router.is_open(older)
                await_end(router, older)
                assert router.is_open(newer)
        assert again == 5


def test_an_answer_that_is_late_is_not_for_the_heir_of_an_identity() -> None:
    with bound() as router:
        with raw(router.endpoint, rcvhwm=1, rcvbuf=4096, routing_id=b"claimed") as glutton:
            send(glutton, b"hello")
            sender = next_sender(router)
            while not router.keeps:
                router.send(sender, [b"a secret", bytes(50_000)])
        await_end(router, sender)
        with Peer(router.endpoint, b"claimed", 0.5) as heir:
            assert router.keeps
            router.retry()
            assert not router.keeps
            with pytest.raises(TimeoutError):
                heir.receive()


def test_a_client_cannot_claim_a_user_or_a_descriptor() -> None:
    """Properties of its handshake that have the names of ours."""
    claims = {b"User-Id": b"1 " + b"0" * 40, b"__fd": b"0", b"Peer-Address": b"10.0.0.1"}
    with bound() as router, Peer(router.endpoint, more=claims) as peer:
        peer.send({"v": 1, "op": "ping"})
        sender = next_sender(router)
        assert (sender.key, sender.descriptor == 0) == ("", False)
        assert router.is_open(sender)
        assert sender.frame.get("Peer-Address") == "127.0.0.1"


def test_connections_are_counted_and_bounded() -> None:
    with bound(Access(max_connections=3)) as router:
        with contextlib.ExitStack() as exit:
            peers = [exit.enter_context(raw(router.endpoint)) for _ in range(3)]
            for peer in peers:
                send(peer, b"hello")
                next_sender(router)
            assert router.door.connections == 3
            with raw(router.endpoint) as fourth:
                monitor = fourth.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
                assert monitor.poll(DEADLINE_S * 1000)
                fourth.disable_monitor()
                monitor.close()
            eventually(lambda: router.door.connections == 3, "the end of the fourth")
            assert router.door.refused == 1
            for peer in peers:
                send(peer, b"still here")
                next_sender(router)
        eventually(lambda: router.door.connections == 0, "the end of all")
        with raw(router.endpoint) as another:
            send(another, b"hello")
            assert router.is_open(next_sender(router))


def has_ended(peer: socket.socket) -> bool:
    """True if the other side has closed a connection."""
    peer.setblocking(False)
    try:
        while peer.recv(100):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


def test_what_never_shakes_hands_is_cut_off_far_above_the_bound() -> None:
    host_port = lambda endpoint: ("127.0.0.1", int(endpoint.rpartition(":")[2]))  # noqa: E731
    with bound(Access(max_connections=5)) as router, contextlib.ExitStack() as exit:
        silent = [
            exit.enter_context(socket.create_connection(host_port(router.endpoint), DEADLINE_S))
            for _ in range(120)
        ]
        eventually(lambda: router.door.refused == 120 - (5 + 32), "the cut")
        eventually(lambda: router.door.connections == 5 + 32, "the end of those cut off")
        assert sum(has_ended(peer) for peer in silent) == 120 - (5 + 32)


def test_without_a_permitted_key_nobody_comes_in(tmp_path: Path) -> None:
    ring = Keyring(tmp_path / "ring")
    alice, _ = ring.permit("alice"), ring.make("eve")
    access = Access(Users(ring.permits), ring.pair("daemon"))
    with bound(access) as router, zmq.Context() as context:
        for user, admitted in (("alice", True), ("eve", False), ("", False)):
            with context.socket(zmq.DEALER) as peer:
                peer.linger = 0
                if user:
                    ring.arm(peer, user)
                monitor = peer.get_monitor_socket()
                peer.connect(router.endpoint)
                peer.send(b"hello")
                if admitted:
                    sender = next_sender(router)
                    assert sender.key == alice.public
                else:
                    assert monitor.poll(DEADLINE_S * 1000)
                    assert router.turn(0.2) == []
                peer.disable_monitor()
                monitor.close()
        assert router.door.refused == 1  # a peer without CURVE does not get that far


def test_a_router_without_its_door_lets_nobody_in() -> None:
    with bound() as router:
        router.door.close()
        with raw(router.endpoint) as peer:
            peer.send(b"hello")
            assert router.turn(0.3) == []


def test_identities_start_at_a_number_of_the_systems() -> None:
    """Two processes hand out different ones; without a seed they would be the same."""
    script = (
        "import zmq; from onlinesvm import Limits\n"
        "from onlinesvm.service.server.router import Router\n"
        "r = Router('tcp://127.0.0.1:*', Limits()); c = zmq.Context(); s = c.socket(zmq.DEALER)\n"
        "s.linger = 0; s.connect(r.endpoint); s.send(b'hello')\n"
        "print(r.turn(10.0)[0][0].identity.hex()); s.close(); c.term(); r.close()"
    )
    first = {
        subprocess.run(
            [sys.executable, "-c", script], cwd=HOUSE, capture_output=True, text=True, timeout=60,
            check=True,
        ).stdout
        for _ in range(2)
    }  # fmt: skip
    assert len(first) == 2


@pytest.mark.parametrize("count", [1, 3])
def test_routers_of_one_process_have_doors_of_their_own(count: int) -> None:
    with contextlib.ExitStack() as exit:
        routers = [exit.enter_context(bound()) for _ in range(count)]
        for router in routers:
            with raw(router.endpoint) as peer:
                send(peer, b"hello")
                assert router.is_open(next_sender(router))
