"""Daemons for the tests: real processes with real sockets, raw peers, and waits with deadlines."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgpack
import pytest
import zmq

from onlinesvm import Limits, OnlineSVM
from onlinesvm.service import Client
from onlinesvm.service.config import ServeConfig
from onlinesvm.service.server import reader as readers
from onlinesvm.service.server.daemon import Daemon, Load, load_leader, load_reader
from onlinesvm.service.storage.model_state import model_at
from onlinesvm.service.storage.segment import segment_name
from onlinesvm.service.storage.snapshots import model_folder, snapshot_name
from onlinesvm.snapshot import writer

T = TypeVar("T")

HOUSE = Path(__file__).resolve().parent.parent
DEADLINE_S = 20.0
ANY_PORT = "tcp://127.0.0.1:*"


def eventually(condition: Callable[[], T], what: str, within_s: float = DEADLINE_S) -> T:
    """The result of `condition`, once it is true. Fails after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        outcome = condition()
        if outcome:
            return outcome
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.005)


def flags_of(options: dict[str, Any]) -> list[str]:
    """``eta0=0.5, bias=False`` as ``--eta0 0.5 --no-bias``."""
    flags = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            flags += [f"--{flag}", str(value)]
    return flags


class DaemonProcess:
    """``onlinesvm serve`` in a process of its own, serving when this returns.

    Ends by `stop` or `kill`, else it is killed by leaving the context, which also fails on a
    traceback or a warning among what it wrote to stderr.
    """

    COMMAND: tuple[str, ...] = (sys.executable, "-W", "error", "-m", "onlinesvm.service")

    def __init__(self, **options: Any) -> None:
        flags = flags_of({"bind": ANY_PORT, **options})
        self.process = subprocess.Popen(
            [*self.COMMAND, "serve", *flags],
            cwd=HOUSE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self.lines: list[str] = []
        self.endpoint = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        eventually(lambda: self.endpoint or self.process.poll() is not None, "a start-up line")
        if not self.endpoint:
            self._reader.join(DEADLINE_S)
            self._close()
            raise AssertionError(f"the daemon did not start: {self.log}")

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            started = re.search(r" (?:leader|reader) at (\S+): ", line)
            if started and not self.endpoint:
                self.endpoint = started[1]

    @property
    def log(self) -> str:
        """Its stderr so far."""
        return "".join(self.lines)

    def client(self, timeout_s: float = DEADLINE_S, **options: Any) -> Client:
        return Client(self.endpoint, timeout_s=timeout_s, **options)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit code."""
        code = self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        return code

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        self.process.kill()
        self.wait()

    def _close(self) -> None:
        if self.process.stderr is not None:
            self.process.stderr.close()

    def __enter__(self) -> DaemonProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
        self._close()
        if kind is None:
            for sign in ("Traceback", "Warning", "Exception ignored"):
                assert sign not in self.log, self.log


def serve(state: Path, **options: Any) -> DaemonProcess:
    """A learner with a state folder."""
    return DaemonProcess(state=state, **options)


def follow(folder: Path, **options: Any) -> DaemonProcess:
    """A follower of a state folder."""
    return DaemonProcess(follow=folder, **options)


def refused_start(**options: Any) -> tuple[int, str]:
    """Exit code and stderr of a daemon that is not to start."""
    flags = flags_of({"bind": ANY_PORT, **options})
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "onlinesvm.service", "serve", *flags],
        cwd=HOUSE,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    return done.returncode, done.stderr


@contextlib.contextmanager
def loaded(load: Load, limits: Limits) -> Iterator[Daemon]:
    """A daemon that runs on a thread and serves what it has loaded."""
    daemon = Daemon(load, ANY_PORT, limits)
    ready = threading.Event()
    with thread(lambda: daemon.run(lambda _: ready.set())) as runner:
        try:
            eventually(lambda: ready.is_set() or not runner.is_alive(), "a loaded model")
            yield daemon
        finally:
            daemon.stop()


@contextlib.contextmanager
def on_a_thread(
    state: Path, *, limits: Limits | None = None, snapshot_every_s: float = 300.0, **config: Any
) -> Iterator[str]:
    """A leader's loop on a thread, for tests that need many: its endpoint."""
    limits = limits or Limits()
    serve_config = ServeConfig(state=str(state), snapshot_every_s=snapshot_every_s)
    with loaded(load_leader(serve_config, limits, config), limits) as daemon:
        yield daemon.endpoint


@contextlib.contextmanager
def following_on_a_thread(folder: Path, *, reload_every_s: float) -> Iterator[Daemon]:
    """A reader's loop on a thread."""
    limits = Limits()
    with loaded(load_reader(str(folder), limits, reload_every_s=reload_every_s), limits) as daemon:
        yield daemon


@contextlib.contextmanager
def thread(run: Callable[[], None]) -> Iterator[threading.Thread]:
    """`run` on a thread, which is to have ended well soon after the context."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            run()
        except BaseException as error:
            failures.append(error)

    runner = threading.Thread(target=guarded, daemon=True)
    runner.start()
    try:
        yield runner
    finally:
        runner.join(DEADLINE_S)
    assert not runner.is_alive(), "the thread does not end"
    if failures:
        raise failures[0]


# Raw peers, by zmq and msgpack alone.


@contextlib.contextmanager
def raw(endpoint: str, kind: int = zmq.DEALER, **options: int) -> Iterator[zmq.Socket[bytes]]:
    """A bare socket that is connected to `endpoint`; `options` are those of ZeroMQ."""
    with zmq.Context() as context, context.socket(kind) as socket:
        socket.linger = 0
        for name, value in options.items():
            setattr(socket, name, value)
        socket.connect(endpoint)
        yield socket


def send(socket: zmq.Socket[bytes], *frames: bytes) -> None:
    assert socket.poll(int(DEADLINE_S * 1000), zmq.POLLOUT), "the daemon takes nothing"
    socket.send_multipart(frames)


def receive(socket: zmq.Socket[bytes], within_s: float = DEADLINE_S) -> tuple[dict[str, Any], Any]:
    """The next reply: its header and its unpacked body, None if there is none."""
    assert socket.poll(int(within_s * 1000)), "no reply"
    header, *body = socket.recv_multipart()
    return msgpack.unpackb(header), msgpack.unpackb(body[0]) if body else None


def ask(
    socket: zmq.Socket[bytes], op: str, body: object = None, **keys: Any
) -> tuple[dict[str, Any], Any]:
    """A request and its reply."""
    frames = [msgpack.packb({"v": 1, "op": op, **keys})]
    if body is not None:
        frames.append(msgpack.packb(body))
    send(socket, *frames)
    return receive(socket)


class RawDaemon:
    """A bare ROUTER that takes the daemon's place: `answer(socket, frames)` for each request.

    It may close the socket; the connection of its peers then breaks.
    """

    def __init__(
        self,
        answer: Callable[[zmq.Socket[bytes], list[bytes]], object],
        endpoint: str = ANY_PORT,
    ) -> None:
        self._answer = answer
        self.requests: list[list[bytes]] = []
        self._stopping = threading.Event()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.bind(endpoint)
        self.endpoint = self._socket.get_string(zmq.LAST_ENDPOINT)
        self._exit = contextlib.ExitStack()

    def _run(self) -> None:
        while not (self._stopping.is_set() or self._socket.closed):
            if self._socket.poll(10):
                frames = self._socket.recv_multipart()
                self.requests.append(frames)
                self._answer(self._socket, frames)

    def __enter__(self) -> RawDaemon:
        self._exit.callback(self._context.term)
        self._exit.callback(self._socket.close)
        self._exit.enter_context(thread(self._run))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stopping.set()
        self._exit.close()


def reply_to(frames: Sequence[bytes], body: bytes | None = None, **keys: Any) -> list[bytes]:
    """The frames of a good reply to a request that a ROUTER got."""
    header = msgpack.unpackb(frames[1])
    packed = msgpack.packb({"v": 1, "id": header["id"], "ok": True, **keys})
    return [frames[0], packed] if body is None else [frames[0], packed, body]


def refusal_to(frames: Sequence[bytes], code: str, message: str, at: str | None) -> list[bytes]:
    """The frames of an error."""
    header = msgpack.unpackb(frames[1])
    error = {"code": code, "message": message, "at": at}
    return [
        frames[0],
        msgpack.packb({"v": 1, "id": header["id"], "ok": False, "error": error}),
    ]


# Folders.


def digest_of(model: OnlineSVM) -> str:
    return model.snapshot().digest()


def snapshot_path(state: Path, lsn: int) -> Path:
    """The snapshot of the model `default` that holds the log up to `lsn`; its folder is made."""
    folder = model_folder(state, "default")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / snapshot_name(lsn)


def segment_path(state: Path, first: int) -> Path:
    """The segment whose first LSN is `first`."""
    return state / "log" / segment_name(first)


def files_in(state: Path) -> set[str]:
    """The paths of the files in a state folder, relative to it."""
    return {str(path.relative_to(state)) for path in state.rglob("*") if not path.is_dir()}


class HeldSnapshot:
    """Holds the next snapshot of a daemon on a thread until `release`, and then makes it fail."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._released = threading.Event()
        self._write = writer.write
        self._patch = patch
        patch.setattr(writer, "write", self._held)

    def _held(self, *arguments: Any) -> writer.Saved:
        self._patch.setattr(writer, "write", self._write)
        assert self._released.wait(DEADLINE_S)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def release(self) -> None:
        """Let it go on, to fail."""
        self._released.set()


class HeldLook:
    """Holds a reader's look up where it is about to read the newest snapshot, until `release`."""

    def __init__(self, folder: Path, lsn: int, patch: pytest.MonkeyPatch) -> None:
        self._reached, self._released = threading.Event(), threading.Event()
        self.path = snapshot_path(folder, lsn)
        self.path.write_bytes(b"no snapshot")
        patch.setattr(readers, "model_at", self._held)

    def _held(self, path: Path, *rest: Any) -> OnlineSVM:
        if path != self.path:
            return model_at(path, *rest)
        self._reached.set()
        assert self._released.wait(DEADLINE_S)
        try:
            return model_at(path, *rest)
        finally:
            path.unlink()

    def release(self) -> None:
        """End the look; the next does not meet the file any more."""
        assert self._reached.wait(DEADLINE_S)
        self._released.set()
