"""The asyncio client: the daemon's own answers, cancellation, closing, breaks, streams."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from numpy.typing import NDArray

from onlinesvm import Limits, OnlineSVM
from onlinesvm.errors import LimitError
from onlinesvm.service import AsyncClient, Client
from onlinesvm.service.errors import DaemonLost, DaemonTimeout, DaemonUnreachable, RequestRefused
from tests.daemons import (
    DEADLINE_S,
    RawDaemon,
    digest_of,
    on_a_thread,
    refusal_to,
    reply_to,
    serve,
    thread,
)
from tests.proxy import Proxy
from tests.service.client.test_exactly_once import learned, words
from tests.service.client.test_stream import Margins, acknowledge
from tests.service.client.test_threads import forked

SHORT_S = 0.15


@pytest.fixture(params=["standard", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Runs a coroutine on each kind of loop; without uvloop that kind is skipped by name."""
    if request.param == "standard":
        return asyncio.run
    uvloop = pytest.importorskip("uvloop")
    return lambda main: uvloop.run(main)


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    with serve(tmp_path, rule="sgd", bias=False) as daemon:
        with daemon.client() as client:
            client.learn([(["a"], 1)])
        yield daemon.endpoint


def test_tasks_get_their_own_answers(endpoint: str, run: Callable[[Any], Any]) -> None:
    async def main() -> None:
        async with AsyncClient(endpoint) as client:

            async def is_right(i: int) -> bool:
                margin = (await client.decision_function([{"a": float(i)}]))[0]
                return bool(margin == 0.1 * i)

            assert all(await asyncio.gather(*map(is_right, range(2_000))))

    run(main())


def test_all_methods_are_those_of_the_client(tmp_path: Path, run: Callable[[Any], Any]) -> None:
    """The same answers, bit for bit, and the same names."""
    rows = [(["a", "b"], 1), ({"b": 2.5}, -1, 0.5)]

    async def main() -> None:
        async with AsyncClient(at, limits=Limits(max_samples_per_batch=9)) as client:
            assert (await client.learn(rows)).tobytes() == model.learn(rows).tobytes()
            body = msgpack.packb([[1, ["a"]]])
            packed = await client.learn_packed(body)
            assert packed.tobytes() == model.learn([(["a"], 1)]).tobytes()
            asked = [["a"], ["b"]]
            assert (await client.decision_function(asked)).tobytes() == model.decision_function(
                asked
            ).tobytes()
            probabilities = await client.predict_proba(asked)
            assert probabilities.tolist() == model.predict_proba(asked).tolist()
            assert (await client.predict(asked)).tolist() == model.predict(asked).tolist()
            assert await client.explain(asked) == [model.explain(row) for row in asked]
            assert await client.features(asked) == [model.features(row) for row in asked]
            assert (await client.stats())["position"] == 3
            assert (await client.snapshot())["digest"] == digest_of(model)
            assert (await client.ping())["mode"] == "leader"
            assert (await client.request("ping"))[0]["mode"] == "leader"
            with pytest.raises(RequestRefused, match="expected a finite number, got nan"):
                await client.learn([({"len": float("nan")}, 1)])
            with pytest.raises(RequestRefused):
                await client.reload()
            with pytest.raises(LimitError, match="at most 9 samples"):
                await client.decision_function([[]] * 10)
            with pytest.raises(TypeError, match="got a bare str"):
                await client.decision_function("letters")

    model = OnlineSVM()
    with on_a_thread(tmp_path) as at:
        run(main())

    def public(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert public(AsyncClient) == public(Client)


# Cancellation and closing.


def test_a_cancelled_task_ignores_its_answer(run: Callable[[Any], Any]) -> None:
    """Its answer comes late, and the client goes on."""
    held: list[list[bytes]] = []

    def answer(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        if msgpack.unpackb(frames[1])["op"] == "learn":
            held.append(frames)
            return
        for late in held:
            acknowledge(socket, late)
        socket.send_multipart(reply_to(frames, mode="leader"))

    async def main() -> None:
        async with AsyncClient(daemon.endpoint, timeout_s=DEADLINE_S) as client:
            tasks = [asyncio.create_task(client.learn([([str(i)], 1)])) for i in range(20)]
            while len(held) < 20:
                await asyncio.sleep(0.005)
            for task in tasks[::2]:
                task.cancel()
            assert await client.ping() == {"mode": "leader"}
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            for i, outcome in enumerate(outcomes):
                if i % 2:
                    assert isinstance(outcome, np.ndarray) and outcome.tolist() == [float(i)]
                else:
                    assert isinstance(outcome, asyncio.CancelledError)
            assert client._connections.shared()._awaited == {}

    with RawDaemon(answer) as daemon:
        run(main())


def test_tasks_cancelled_at_any_moment_leave_the_client_usable(
    endpoint: str, run: Callable[[Any], Any]
) -> None:
    async def main() -> None:
        async with AsyncClient(endpoint) as client:
            for turns in range(30):  # also while the client connects
                task = asyncio.create_task(client.decision_function([{"a": 1.0}]))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                if turns % 5 == 0:
                    await client._connections.shared().connect()
            assert (await client.decision_function([{"a": 7.0}])).tolist() == [0.1 * 7]

    run(main())


def test_closing_ends_the_requests_that_wait(run: Callable[[Any], Any]) -> None:
    async def main() -> None:
        client = AsyncClient(daemon.endpoint, timeout_s=600)
        tasks = [asyncio.create_task(client.ping()) for _ in range(5)]
        while len(daemon.requests) < 5:
            await asyncio.sleep(0.005)
        await client.close()
        await client.close()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, DaemonLost) and "the client is closed" in str(outcome)
        with pytest.raises(DaemonLost, match="the client is closed"):
            await client.ping()
        assert repr(client) == f"AsyncClient({daemon.endpoint!r}, timeout_s=600, closed)"

    with RawDaemon(lambda s, frames: None) as daemon:
        run(main())


# Deadlines and breaks.


def test_a_timeout_leaves_the_client_usable(run: Callable[[Any], Any]) -> None:
    def answer(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        if len(daemon.requests) > 3:
            socket.send_multipart(reply_to(frames, mode="leader"))

    async def main() -> None:
        async with AsyncClient(daemon.endpoint, timeout_s=SHORT_S) as client:
            for _ in range(3):
                with pytest.raises(DaemonTimeout, match=r"no answer to ping from .* within 0\.15"):
                    await client.ping()
            client.timeout_s = DEADLINE_S
            assert await client.ping() == {"mode": "leader"}

    with RawDaemon(answer) as daemon:
        run(main())


def test_a_broken_connection_ends_all_requests_at_once(
    tmp_path: Path, run: Callable[[Any], Any]
) -> None:
    def answer(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        if len(daemon.requests) == 8:
            socket.close()

    async def main() -> None:
        async with AsyncClient(daemon.endpoint, timeout_s=600) as client:
            asked = (client.decision_function([["a"]]) for _ in range(8))
            outcomes = await asyncio.gather(*asked, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [DaemonLost] * 8
            with pytest.raises(DaemonUnreachable, match="connection refused"):
                await client.ping()
            with serve(tmp_path, bind=daemon.endpoint):
                assert (await client.ping())["mode"] == "leader"

    with RawDaemon(answer) as daemon:
        run(main())


def test_a_peer_of_another_protocol(run: Callable[[Any], Any]) -> None:
    async def main() -> None:
        async with AsyncClient(daemon.endpoint) as client:
            with pytest.raises(DaemonLost, match="answers in another protocol"):
                await client.ping()

    with RawDaemon(lambda s, frames: s.send_multipart([frames[0], b"\xc1"])) as daemon:
        run(main())


def test_a_refusal_of_a_request_the_daemon_could_not_read(run: Callable[[Any], Any]) -> None:
    def answer(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        refusal = refusal_to(frames, "TOO_LARGE", "expected less", None)
        header = msgpack.unpackb(refusal[1]) | {"id": None}
        socket.send_multipart([frames[0], msgpack.packb(header)])

    async def main() -> None:
        async with AsyncClient(daemon.endpoint) as client:
            with pytest.raises(RequestRefused, match="TOO_LARGE: expected less"):
                await client.ping()

    with RawDaemon(answer) as daemon:
        run(main())


# Loops, threads, processes.


def test_one_loop_after_another(endpoint: str) -> None:
    client = AsyncClient(endpoint)
    for _ in range(3):
        assert asyncio.run(client.ping())["mode"] == "leader"


def test_two_loops_at_once(endpoint: str) -> None:
    async def main() -> None:
        client = AsyncClient(endpoint)
        await client.ping()

        def other() -> None:
            with pytest.raises(RuntimeError, match="expected the event loop that this client"):
                asyncio.run(client.ping())

        with thread(other):
            await asyncio.sleep(0)
        await client.close()

    asyncio.run(main())


def test_a_fork_opens_a_connection_of_its_own(endpoint: str) -> None:
    client = AsyncClient(endpoint)

    async def predict(i: int) -> None:
        assert (await client.decision_function([{"a": float(i)}])).tolist() == [0.1 * i]

    asyncio.run(predict(1))
    assert forked(lambda: asyncio.run(predict(2))) == 0
    asyncio.run(predict(3))


def test_a_client_that_is_forgotten_leaves_nothing(endpoint: str) -> None:
    sockets = len(os.listdir("/dev/fd"))
    for _ in range(3):
        asyncio.run(AsyncClient(endpoint).ping())
        gc.collect()
    assert len(os.listdir("/dev/fd")) <= sockets + 2


# Streams.


@pytest.mark.parametrize("producer", [None, "p"])
def test_a_stream_is_a_batch_however_it_is_cut(
    tmp_path: Path, run: Callable[[Any], Any], producer: str | None
) -> None:
    model, margins, samples = OnlineSVM(), Margins(), words(3000)

    async def main() -> None:
        async with AsyncClient(at) as client:
            async with client.stream(producer, on_margins=margins) as stream:
                for i, (features, label) in enumerate(samples):
                    await stream.learn(features, label)
                    if i % 700 == 0:
                        await stream.flush()
                        assert stream.applied == i + 1
            assert stream.applied == 3000
            assert margins.of(3000).tobytes() == model.learn(samples).tobytes()
            assert (await client.snapshot())["digest"] == digest_of(model)

    with on_a_thread(tmp_path) as at:
        run(main())


def test_a_stream_names_a_refused_sample(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient(at) as client:
            with pytest.raises(RequestRefused) as caught:
                async with client.stream() as stream:
                    await stream.learn_packed(msgpack.packb([[1, []], [0.5, []], [1, []]]), 3)
            assert (caught.value.sample, caught.value.applied) == (1, 2)

    with on_a_thread(tmp_path) as at:
        asyncio.run(main())


def test_a_numbered_stream_survives_cuts(tmp_path: Path) -> None:
    samples = words(3000)

    async def main() -> None:
        async with AsyncClient(proxy.endpoint, timeout_s=DEADLINE_S) as client:
            for end in (1000, 2000, 3000):
                async with client.stream("p") as stream:
                    for i, (features, label) in enumerate(samples[stream.applied : end]):
                        await stream.learn(features, label)
                        if i % 300 == 299:
                            proxy.cut()
                assert stream.applied == end

    with serve(tmp_path) as daemon, Proxy(daemon.endpoint) as proxy:
        asyncio.run(main())
        assert proxy.connections >= 2
        with daemon.client() as client:
            assert client.snapshot()["digest"] == digest_of(learned(samples))


def test_a_stream_opens_wherever_its_first_connection_ends(tmp_path: Path) -> None:
    async def main() -> None:
        for sent in range(0, 200, 8):
            proxy.cut_after(sent)
            async with (
                AsyncClient(proxy.endpoint, timeout_s=DEADLINE_S) as client,
                client.stream(f"p{sent}") as stream,
            ):
                assert stream.applied == 0

    with serve(tmp_path) as daemon, Proxy(daemon.endpoint) as proxy:
        asyncio.run(main())
        assert proxy.connections > 2 * len(range(0, 200, 8))


def test_tasks_may_share_a_stream(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient(at) as client, client.stream("p") as stream:

            async def work(number: int) -> None:
                for i in range(200):
                    await stream.learn([f"{number}:{i}"], 1)

            await asyncio.gather(*map(work, range(5)))
            await stream.flush()
            assert stream.applied == 1000
            rows = [[f"{number}:{i}"] for number in range(5) for i in range(200)]
            assert np.array_equal(await client.decision_function(rows), np.full(1000, 0.1))

    with on_a_thread(tmp_path, rule="sgd", bias=False) as at:
        asyncio.run(main())


def test_a_cancelled_stream_loses_no_sample(tmp_path: Path) -> None:
    """A task that learns is cancelled at any moment; another goes on with the stream."""
    taken: list[int] = []

    async def main() -> None:
        async with AsyncClient(at) as client, client.stream("p") as stream:

            async def work() -> None:
                while True:
                    taken.append(len(taken))
                    await stream.learn([f"f{taken[-1]}"], 1)

            for turns in range(40):
                task = asyncio.create_task(work())
                for _ in range(turns % 20 + 1):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await stream.flush()
            assert stream.applied == len(taken)
            for start in range(0, len(taken), 1000):
                rows = [[f"f{i}"] for i in taken[start : start + 1000]]
                assert np.array_equal(await client.decision_function(rows), np.full(len(rows), 0.1))

    with on_a_thread(tmp_path, rule="sgd", bias=False) as at:
        asyncio.run(main())


def test_a_stream_of_a_lost_daemon() -> None:
    async def main() -> None:
        async with AsyncClient(daemon.endpoint, timeout_s=600) as client:
            with pytest.raises(DaemonLost, match=r"broke; \d+ samples of the stream were"):
                async with client.stream() as stream:
                    for i in range(10**6):
                        await stream.learn([str(i)], 1)
            assert stream.applied <= 5 * 1024

    def answer(socket: zmq.Socket[bytes], frames: list[bytes]) -> None:
        if len(daemon.requests) <= 5:
            acknowledge(socket, frames)
        else:
            socket.close()

    with RawDaemon(answer) as daemon:
        asyncio.run(main())


def test_a_callback_that_fails_is_heard(tmp_path: Path) -> None:
    def fail(start: int, margins: NDArray[np.float64]) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        async with AsyncClient(at) as client:
            stream = client.stream(on_margins=fail)
            with pytest.raises(ZeroDivisionError):
                await stream.learn(["a"], 1)
                await stream.flush()
            assert stream.applied == 1

    with on_a_thread(tmp_path) as at:
        asyncio.run(main())


def test_the_loop_has_its_turn_while_a_stream_learns(tmp_path: Path) -> None:
    """A stream that never waits must not starve other tasks."""
    beats = threading.Event()

    async def main() -> None:
        async def beat() -> None:
            for _ in range(20):
                await asyncio.sleep(0)
            beats.set()

        async with AsyncClient(at) as client, client.stream() as stream:
            beating = asyncio.create_task(beat())
            for i in range(20_000):
                await stream.learn([f"f{i % 50}"], 1)
                if beats.is_set():
                    break
            await beating
            assert stream.applied < 20_000

    with on_a_thread(tmp_path) as at:
        asyncio.run(main())
