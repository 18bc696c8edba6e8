"""Requests a second of the asyncio client with 64 in flight, on each loop."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgpack
import zmq
import zmq.asyncio

from bench import streams
from bench.harness import Bench, Figures, Job, Target
from bench.processes import echo, served

bench = Bench(
    name="async_client",
    question="Predictions of 25 named features by AsyncClient, 64 in flight: requests a second",
    caveats=(
        "One process with the client, one with the daemon, over TCP. The echo is a pyzmq ROUTER"
        " that sends the same bytes back, asked by a bare zmq.asyncio DEALER that packs and unpacks"
        " headers and nothing else: AsyncClient reads the socket's descriptor itself, so it may be"
        " the faster one.",
        "The threads: 8 that share one Client, each with one request in flight; and the same"
        " with one lock around one connection, which is what the pool of connections replaces.",
    ),
    short={"rounds": 3, "samples": 2_048, "requests": 30_000},
    full={"rounds": 5, "samples": 20_480, "requests": 100_000},
    targets=(
        Target("AsyncClient", None, "requests_per_s", at_least=20_000),
        Target("AsyncClient, uvloop", None, "requests_per_s", at_least=12_000),
        Target("Client, 8 threads", "Client, 8 threads, a lock", "requests_per_s", at_least=1),
    ),
)

_IN_FLIGHT = 64
_THREADS = 8


def _rows(job: Job) -> tuple[bytes, list[list[str]]]:
    body = next(iter(streams.bodies(job.stream())))
    return body, [features for _, features, *_ in msgpack.unpackb(body)]


async def _rate(ask: Callable[[int], Awaitable[Any]], requests: int) -> Figures:
    """Requests a second with `_IN_FLIGHT` tasks that each wait for their answer."""

    async def work(numbers: Any) -> None:
        for i in numbers:
            await ask(i)

    async def run(n: int) -> float:
        numbers = iter(range(n))
        start = time.perf_counter()
        await asyncio.gather(*(work(numbers) for _ in range(_IN_FLIGHT)))
        return n / (time.perf_counter() - start)

    await run(2_000)
    return {"requests_per_s": await run(requests)}


def _on(loop: str, main: Coroutine[Any, Any, Figures]) -> Figures:
    if loop == "uvloop":
        import uvloop

        figures: Figures = uvloop.run(main)
        return figures
    return asyncio.run(main)


def _client(job: Job, loop: str) -> Figures:
    from onlinesvm.service import AsyncClient

    body, rows = _rows(job)

    async def main(endpoint: str) -> Figures:
        async with AsyncClient(endpoint, timeout_s=60) as client:
            await client.learn_packed(body)
            return await _rate(
                lambda i: client.decision_function([rows[i % len(rows)]]), job.sizes["requests"]
            )

    with served() as endpoint:
        return _on(loop, main(endpoint))


@bench.contender("AsyncClient", kernel="native")
def standard(job: Job) -> Figures:
    return _client(job, "standard")


@bench.contender("AsyncClient, uvloop", kernel="native", needs=["uvloop"])
def on_uvloop(job: Job) -> Figures:
    return _client(job, "uvloop")


def _echo(job: Job, loop: str) -> Figures:
    bodies = [msgpack.packb([features]) for features in _rows(job)[1]]

    async def main(endpoint: str) -> Figures:
        context = zmq.asyncio.Context()
        socket = context.socket(zmq.DEALER)
        socket.connect(endpoint)
        awaited: dict[int, asyncio.Future[bytes]] = {}
        ids = itertools.count()

        async def read() -> None:
            while True:
                header, body = await socket.recv_multipart()
                awaited.pop(msgpack.unpackb(header)["id"]).set_result(body)

        async def ask(i: int) -> None:
            id = next(ids)
            awaited[id] = asyncio.get_running_loop().create_future()
            header = msgpack.packb({"v": 1, "op": "predict", "id": id})
            await socket.send_multipart((header, bodies[i % len(bodies)]))
            await awaited[id]

        reader = asyncio.create_task(read())
        try:
            return await _rate(ask, job.sizes["requests"])
        finally:
            reader.cancel()
            context.destroy(linger=0)

    with echo("same") as endpoint:
        return _on(loop, main(endpoint))


@bench.contender("bare zmq.asyncio echo")
def bare_echo(job: Job) -> Figures:
    return _echo(job, "standard")


@bench.contender("bare zmq.asyncio echo, uvloop", needs=["uvloop"])
def bare_echo_on_uvloop(job: Job) -> Figures:
    return _echo(job, "uvloop")


def _threads(job: Job, *, locked: bool) -> Figures:
    import contextlib
    import threading
    from concurrent.futures import ThreadPoolExecutor

    from onlinesvm.service import Client

    body, rows = _rows(job)
    lock: Any = threading.Lock() if locked else contextlib.nullcontext()

    with served() as endpoint, Client(endpoint, timeout_s=60) as client:
        client.learn_packed(body)
        count = job.sizes["requests"] // _THREADS // 2

        def work(_: int) -> None:
            for i in range(count):
                with lock:
                    client.decision_function([rows[i % len(rows)]])

        with ThreadPoolExecutor(_THREADS) as threads:
            list(threads.map(work, range(_THREADS)))
            start = time.perf_counter()
            list(threads.map(work, range(_THREADS)))
            seconds = time.perf_counter() - start
    return {"requests_per_s": count * _THREADS / seconds}


@bench.contender("Client, 8 threads", kernel="native")
def threads(job: Job) -> Figures:
    return _threads(job, locked=False)


@bench.contender("Client, 8 threads, a lock", kernel="native")
def threads_with_a_lock(job: Job) -> Figures:
    return _threads(job, locked=True)


if __name__ == "__main__":
    sys.exit(bench.main())
