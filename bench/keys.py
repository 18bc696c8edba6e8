"""Keys: what they cost, and what it costs to know the sender of each message."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.harness import Bench, Figures, Job, Target

SIZES = {"small": 60, "large": 250_000}  # bytes of a message's body

bench = Bench(
    name="keys",
    question="Messages that one client sends without a pause, received over TCP: microseconds each",
    caveats=(
        "Turns of the daemon's socket; no request is parsed or answered. `senders unread` takes the"
        " frames alone; the others ask ZeroMQ for the connection's number and key, of every"
        " message.",
        "With keys each byte is encrypted by one process and decrypted by the other.",
    ),
    short={"rounds": 3, "small": 20_000, "large": 1_000},
    full={"rounds": 5, "small": 100_000, "large": 5_000},
    targets=(
        Target("no keys", "senders unread", "small_us", at_most=1.25, lower_is_better=True),
        Target("no keys", "senders unread", "large_us", lower_is_better=True, note="beside it"),
        Target("keys", "no keys", "small_us", lower_is_better=True, note="beside it"),
        Target("keys", "no keys", "large_us", lower_is_better=True, note="beside it"),
    ),
)

_SENDER = """
import sys, zmq
endpoint, size, count, *keys = sys.argv[1:]
socket = zmq.Context().socket(zmq.DEALER)
if keys:
    socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = (
        key.encode() for key in keys
    )
socket.connect(endpoint)
frames = [b"h" * 30, bytes(int(size))]
for _ in range(int(count)):
    socket.send_multipart(frames)
socket.close()
socket.context.term()
"""


def _received(
    endpoint: str, receive: Callable[[], int], size: int, count: int, *keys: str
) -> float:
    """Microseconds a message; `receive` takes some messages and says how many."""
    command = [sys.executable, "-c", _SENDER, endpoint, str(size), str(count), *keys]
    with subprocess.Popen(command) as sender:
        got = receive()  # the sender has started
        start, first = time.perf_counter(), got
        while got < count:
            got += receive()
        seconds = time.perf_counter() - start
        if sender.wait(60):
            raise RuntimeError("the sender failed")
    return seconds / (count - first) * 1e6


def _figures(job: Job, endpoint: str, receive: Callable[[], int], *keys: str) -> Figures:
    return {
        f"{name}_us": _received(endpoint, receive, size, job.sizes[name], *keys)
        for name, size in SIZES.items()
    }


class _Frame:
    """A frame that knows nothing of its sender."""

    def __init__(self, data: bytes) -> None:
        self.bytes = data

    def get(self, name: str) -> str:
        return ""


def _ours(job: Job, folder: Path | None, *, is_read: bool = True) -> Figures:
    from onlinesvm import Limits
    from onlinesvm.service.keys.folder import write_permit
    from onlinesvm.service.keys.pair import create_pair, read_pair
    from onlinesvm.service.keys.permit import Permit
    from onlinesvm.service.server.auth.access import Access
    from onlinesvm.service.server.auth.users import Users
    from onlinesvm.service.server.router import Router

    access, keys = Access(), ()
    if folder is not None:
        daemon, alice = (
            read_pair(create_pair(name, folder / "keys")[0]) for name in ("daemon", "alice")
        )
        write_permit(folder / "permits", Permit("alice", alice.public, "learn"))
        access = Access(Users(folder / "permits"), daemon)
        keys = alice.public, alice.secret, daemon.public
    router = Router("tcp://127.0.0.1:*", Limits(), access)
    if not is_read:

        def unread(flags: int) -> tuple[_Frame, list[bytes]]:
            identity, *frames = router.socket.recv_multipart(flags)
            return _Frame(identity), frames

        router._message = unread  # type: ignore[method-assign, assignment]
    try:
        return _figures(job, router.endpoint, lambda: len(router.turn(10.0)), *keys)
    finally:
        router.close()


@bench.contender("senders unread")
def unread(job: Job) -> Figures:
    return _ours(job, None, is_read=False)


@bench.contender("no keys")
def without_keys(job: Job) -> Figures:
    return _ours(job, None)


@bench.contender("keys")
def with_keys(job: Job) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        return _ours(job, Path(folder))


if __name__ == "__main__":
    sys.exit(bench.main())
