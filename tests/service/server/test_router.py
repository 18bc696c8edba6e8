"""The daemon's socket: turns, and replies that do not fit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import zmq

from onlinesvm import Limits
from onlinesvm.service.server.router import (
    MOST_FRAMES,
    TURN_BYTES,
    TURN_DROPS,
    TURN_MESSAGES,
    Frames,
    Router,
    Sender,
)
from onlinesvm.service.server.unsent import UNSENT_BYTES
from tests.daemons import ANY_PORT, DEADLINE_S, eventually, raw, send


@contextlib.contextmanager
def bound() -> Iterator[Router]:
    router = Router(ANY_PORT, Limits())
    try:
        yield router
    finally:
        router.close()


def next_turn(router: Router) -> list[tuple[Sender, Frames]]:
    """The messages of the next turn that has any."""
    return eventually(lambda: list(router.turn(0.0)), "a message")


def sender_of(router: Router, peer: zmq.Socket[bytes]) -> Sender:
    send(peer, b"hello")
    [(sender, frames)] = next_turn(router)
    assert frames == [b"hello"]
    return sender


def stuff(router: Router, sender: Sender) -> int:
    """Send replies until one does not fit; how many there were."""
    count = 0
    while not router.keeps:
        router.send(sender, [b"%d" % count, bytes(50_000)])
        count += 1
    return count


def test_a_turn_is_bounded_in_messages() -> None:
    with bound() as router, raw(router.endpoint) as peer:
        for i in range(3 * TURN_MESSAGES):
            send(peer, b"%d" % i)
        got: list[bytes] = []
        while len(got) < 3 * TURN_MESSAGES:
            turn = next_turn(router)
            assert len(turn) <= TURN_MESSAGES
            got += [frames[0] for _, frames in turn]
        assert got == [b"%d" % i for i in range(3 * TURN_MESSAGES)]
        assert list(router.turn(0.0)) == []


def test_a_turn_is_bounded_in_bytes() -> None:
    size = 10**6
    with bound() as router, raw(router.endpoint) as peer:
        for _ in range(20):
            send(peer, b"", bytes(size))
        left = 20
        while left:
            turn = next_turn(router)
            # It ends with the message that reaches the bound.
            assert (len(turn) - 1) * size < TURN_BYTES
            left -= len(turn)


def test_replies_that_do_not_fit_are_kept_in_order() -> None:
    with (
        bound() as router,
        raw(router.endpoint, rcvhwm=1, rcvbuf=4096) as glutton,
        raw(router.endpoint) as other,
    ):
        sender, neighbour = sender_of(router, glutton), sender_of(router, other)
        count = stuff(router, sender)
        for i in range(count, count + 3):  # of a worker that was late
            router.send(sender, [b"%d" % i, b""])
        router.send(neighbour, [b"for you"])
        assert other.poll(DEADLINE_S * 1000)
        assert other.recv_multipart() == [b"for you"]
        # A client that does not read is not heard; another one is.
        send(glutton, b"unheard")
        send(other, b"heard")
        heard: list[Frames] = []

        def both() -> bool:
            heard.extend(frames for _, frames in router.turn(0.0))
            return bool(heard) and router.dropped_requests == 1

        eventually(both, "both messages")
        assert heard == [[b"heard"]]
        for i in range(count + 3):

            def arrives() -> int:
                router.retry()
                return glutton.poll(10)

            eventually(arrives, f"reply {i}")
            assert glutton.recv_multipart()[0] == b"%d" % i
        assert not router.keeps
        send(glutton, b"heard again")
        assert [frames for _, frames in next_turn(router)] == [[b"heard again"]]


def test_replies_to_a_client_that_left_are_dropped() -> None:
    with bound() as router:
        with raw(router.endpoint, rcvhwm=1, rcvbuf=4096) as glutton:
            sender = sender_of(router, glutton)
            stuff(router, sender)

        def gone() -> bool:
            assert list(router.turn(0.0)) == []
            router.retry()
            return not router.keeps

        eventually(gone, "the end of its connection")
        router.send(sender, [b"nobody"])
        router.send(sender._replace(identity=b"no such client"), [b"nobody"])
        assert not router.keeps


def test_dropped_requests_do_not_hold_up_a_turn() -> None:
    with bound() as router, raw(router.endpoint, rcvhwm=1, rcvbuf=4096) as glutton:
        stuff(router, sender_of(router, glutton))
        unheard = 20 * TURN_MESSAGES
        for _ in range(unheard):
            send(glutton, b"")

        def all_dropped() -> bool:
            before = router.dropped_requests
            assert list(router.turn(0.0)) == []
            assert router.dropped_requests <= before + TURN_MESSAGES
            return router.dropped_requests == unheard

        eventually(all_dropped, "all to be dropped")


def test_a_client_is_full_until_it_reads() -> None:
    size = 2**20
    with (
        bound() as router,
        raw(router.endpoint, rcvhwm=1, rcvbuf=4096) as glutton,
        raw(router.endpoint) as other,
    ):
        sender, neighbour = sender_of(router, glutton), sender_of(router, other)
        assert not router.is_full(sender)
        count = 0
        while not router.is_full(sender):
            router.send(sender, [b"%d" % count, bytes(size)])
            count += 1
        # A few are in the buffers of the system and of the client.
        assert UNSENT_BYTES // size <= count <= UNSENT_BYTES // size + 16
        assert not router.is_full(neighbour)
        assert not router.keeps
        for i in range(count):
            assert glutton.poll(DEADLINE_S * 1000)
            assert glutton.recv_multipart() == [b"%d" % i, bytes(size)]
        eventually(lambda: not router.is_full(sender), "room")


def test_kept_replies_count_for_a_full_client() -> None:
    with bound() as router, raw(router.endpoint, rcvhwm=1, rcvbuf=4096) as glutton:
        sender = sender_of(router, glutton)
        small = [b"", bytes(10_000)]
        while not router.keeps:
            router.send(sender, small)
        assert not router.is_full(sender)
        for _ in range(UNSENT_BYTES // 10_000 + 1):
            router.send(sender, small)
        assert router.is_full(sender)


def test_a_client_that_left_is_not_full() -> None:
    with bound() as router:
        with raw(router.endpoint, rcvhwm=1, rcvbuf=4096) as glutton:
            sender = sender_of(router, glutton)
            while not router.is_full(sender):
                router.send(sender, [b"", bytes(2**20)])
        eventually(lambda: not router.is_full(sender), "the end of its connection")


def test_frames_that_no_request_has_are_dropped() -> None:
    excess = 3 * TURN_DROPS
    with bound() as router, raw(router.endpoint) as peer, raw(router.endpoint) as other:
        neighbour = sender_of(router, other)
        send(peer, *[b"x"] * (MOST_FRAMES + excess))
        send(peer, b"next")
        [(sender, frames)] = next_turn(router)
        assert frames == [b"x"] * MOST_FRAMES + [b""]
        router.send(sender, [b"too many"])  # between two turns that drop
        turns, found = 0, []
        while not found:
            turns += 1
            found = router.turn(0.0)
        assert turns >= 2
        assert [frames for _, frames in found] == [[b"next"]]
        assert peer.recv_multipart() == [b"too many"]
        router.send(neighbour, [b"for you"])
        assert other.poll(DEADLINE_S * 1000)


def test_a_message_of_as_many_frames_as_a_request_can_have_is_whole() -> None:
    with bound() as router, raw(router.endpoint) as peer:
        for extra in (0, 1, 2):
            sent = [b"%d" % i for i in range(MOST_FRAMES + extra)]
            send(peer, *sent)
            [(_, frames)] = next_turn(router)
            assert frames == (sent if not extra else [*sent[:MOST_FRAMES], b""])
        send(peer, b"next")
        assert [frames for _, frames in next_turn(router)] == [[b"next"]]
