"""The client shared by threads, by processes, by pickle: each gets its own answers."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zmq

from onlinesvm.service import AsyncClient, Client
from onlinesvm.service.errors import DaemonLost, DaemonTimeout, RequestRefused
from tests.daemons import DEADLINE_S, HOUSE, RawDaemon, on_a_thread, serve, thread
from tests.service.client.test_stream import acknowledge, stream_numbers


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    """A daemon whose margin of ``{"a": v}`` is v / 10, for each v another."""
    with serve(tmp_path, rule="sgd", bias=False) as daemon:
        with daemon.client() as client:
            client.learn([(["a"], 1)])
        yield daemon.endpoint


def is_right(client: Client, value: int) -> bool:
    return bool(client.decision_function([{"a": float(value)}])[0] == 0.1 * value)


# Threads.


def test_threads_get_their_own_answers(endpoint: str) -> None:
    with Client(endpoint) as client, ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda i: is_right(client, i), range(2_000)))
        assert 1 <= len(client._pool) <= 8


def test_threads_of_asyncio_get_their_own_answers(endpoint: str) -> None:
    async def main(client: Client) -> list[bool]:
        asked = (asyncio.to_thread(is_right, client, i) for i in range(200))
        return await asyncio.gather(*asked)

    with Client(endpoint) as client:
        assert all(asyncio.run(main(client)))


def test_threads_mix_all_requests(endpoint: str) -> None:
    """Refusals and errors of one thread are not those of another."""

    def work(number: int) -> None:
        for i in range(40):
            assert is_right(client, 40 * number + i)
            assert client.ping()["mode"] == "leader"
            with pytest.raises(RequestRefused, match=f"expected a finite number, .*c{number}"):
                client.learn([({f"c{number}": float("nan")}, 1)])
            with pytest.raises(TypeError, match=r"got a bare str|got int at"):
                client.decision_function("letters" if i % 2 else [number])  # type: ignore[list-item]
            assert client.explain([{"a": float(i)}])[0].margin == 0.1 * i

    with Client(endpoint) as client, ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))


def test_a_slow_request_of_one_thread_does_not_hold_up_another() -> None:
    slow: list[list[bytes]] = []

    def answer(socket: object, frames: list[bytes]) -> None:
        if len(slow) < 1:
            slow.append(frames)
            asked.set()
        else:
            acknowledge(socket, frames)  # type: ignore[arg-type]

    asked = threading.Event()
    with RawDaemon(answer) as daemon, Client(daemon.endpoint, timeout_s=600) as client:

        def wait() -> None:
            with pytest.raises(DaemonLost, match="the client is closed"):
                client.learn([(["5"], 1)])

        with thread(wait):
            assert asked.wait(DEADLINE_S)
            assert client.learn([(["7"], 1)]).tolist() == [7.0]
            client.close()


def test_a_stream_belongs_to_its_thread() -> None:
    with RawDaemon(acknowledge) as daemon, Client(daemon.endpoint) as client:
        stream = client.stream()
        stream_numbers(stream, 3)

        def use() -> None:
            for step in (lambda: stream.learn(["0"], 1), stream.flush, stream.close):
                with pytest.raises(RuntimeError, match="a stream in the thread that opened it"):
                    step()

        with thread(use):
            pass
        stream.flush()
        assert stream.applied == 3


def test_threads_each_with_a_stream(tmp_path: Path) -> None:
    with serve(tmp_path, rule="sgd", bias=False) as daemon, daemon.client() as client:

        def work(number: int) -> int:
            with client.stream(f"p{number}") as stream:
                for i in range(500):
                    stream.learn([f"{number}:{i}"], 1)
            return stream.applied

        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(work, range(4))) == [500] * 4
        rows = [[f"{number}:{i}"] for number in range(4) for i in range(500)]
        assert np.array_equal(client.decision_function(rows), np.full(2000, 0.1))


# Processes.


def forked(work: Callable[[], None]) -> int:
    """The exit code of `work` in a fork: 0 if it returns, within the deadline."""
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(BaseException):
            work()
            code = 0
        os._exit(code)
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("the fork does not end")


def test_a_fork_opens_connections_of_its_own(endpoint: str) -> None:
    with Client(endpoint) as client:
        stream = client.stream()
        stream.learn(["b"], 1)
        assert is_right(client, 1)

        def child() -> None:
            assert all(is_right(client, i) for i in range(50))
            for step in (lambda: stream.learn(["c"], 1), stream.flush):
                with pytest.raises(RuntimeError, match="a stream in the process that opened it"):
                    step()
            client.close()

        assert forked(child) == 0
        assert forked(child) == 0
        assert is_right(client, 2)  # the child's close is not the parent's
        stream.flush()
        assert stream.applied == 1


def test_a_fork_keeps_to_its_timeout() -> None:
    """A daemon that answers the parent, and not the child."""

    def answer(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        if len(daemon.requests) == 1:
            acknowledge(socket, frames)

    with RawDaemon(answer) as daemon, Client(daemon.endpoint, timeout_s=0.3) as client:
        client.learn([(["1"], 1)])

        def child() -> None:
            with pytest.raises(DaemonTimeout):
                client.learn([(["3"], 1)])

        assert forked(child) == 0


def test_a_fork_while_a_thread_asks(endpoint: str) -> None:
    """Locks that another thread of the parent holds do not stop the child."""
    stopping = threading.Event()
    with Client(endpoint) as client:

        def work() -> None:
            while not stopping.is_set():
                assert is_right(client, 3)

        with thread(work), thread(work):
            try:
                for _ in range(5):
                    assert forked(lambda: None if is_right(client, 4) else os._exit(2)) == 0
            finally:
                stopping.set()


def test_a_fork_that_ends_as_an_interpreter_does(endpoint: str) -> None:
    code = """
import os, sys
from onlinesvm.service import Client
client = Client(sys.argv[1])
client.ping()
pid = os.fork()
client.ping()
if pid:
    status = os.waitpid(pid, 0)[1]
    client.ping()
    sys.exit(os.waitstatus_to_exitcode(status))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, endpoint],
        cwd=HOUSE, capture_output=True, text=True, timeout=DEADLINE_S,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def child_of_spawn(client: Client) -> bool:
    return is_right(client, 7)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_client_goes_to_other_processes(endpoint: str, method: str) -> None:
    with Client(endpoint, timeout_s=12.5) as client:
        assert is_right(client, 1)
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(child_of_spawn, [client] * 4) == [True] * 4


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_pickled_client_is_one_with_the_same_arguments(kind: type[Client]) -> None:
    client = kind("tcp://127.0.0.1:5577", timeout_s=1.5, wait_s=2.5)
    copied = pickle.loads(pickle.dumps(client))
    assert type(copied) is kind
    assert repr(copied) == repr(client)
    assert copied._settings == client._settings
    assert copied._settings is not client._settings


def test_a_stream_cannot_be_pickled(tmp_path: Path) -> None:
    belongs = pytest.raises(TypeError, match="a stream belongs to one thread of one process")
    with on_a_thread(tmp_path) as at, Client(at) as client, belongs:
        pickle.dumps(client.stream())


def test_reprs(endpoint: str) -> None:
    client = Client(endpoint, timeout_s=2)
    assert repr(client) == f"Client({endpoint!r}, timeout_s=2)"
    with client.stream("p") as stream:
        stream.learn(["a"], 1)
        stream.flush()
        assert repr(stream) == f"<Stream to {endpoint}: 1 samples applied, producer='p'>"
    client.close()
    assert repr(client) == f"Client({endpoint!r}, timeout_s=2, closed)"
