"""Predictions over HTTP: how many a second answer 32 connections that stay open?"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import msgpack
import numpy as np
import uvloop

from bench import streams
from bench.harness import Bench, Figures, Job, Target
from bench.processes import door, served
from onlinesvm import AsyncClient, Client

CONNECTIONS = 32


def prepare(job: Job) -> None:
    streams.bodies(job.stream())


bench = Bench(
    name="http",
    question=f"One prediction a request over HTTP, {CONNECTIONS} connections: requests a second",
    caveats=(
        "Daemon, door and the load share the machine's cores. The load writes bytes that were made"
        " before, and reads no more of an answer than its length.",
        "Each connection waits for its answer before it asks again.",
        "Without the door: as many tasks of one AsyncClient.",
    ),
    prepare=prepare,
    short={"rounds": 3, "samples": 20_480, "requests": 20_000},
    full={"rounds": 5, "samples": 102_400, "requests": 100_000},
    targets=(Target("door", None, "requests_per_s", at_least=4000),),
)


class _Load(asyncio.Protocol):
    """A connection that asks again as soon as it is answered."""

    def __init__(self, load: list[bytes], spent: list[float], done: asyncio.Future[None]) -> None:
        self._load, self._spent, self._done = load, spent, done
        self._answer = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        if not self._load:
            self._done.set_result(None)
            return
        self._began = time.perf_counter()
        self._transport.write(self._load.pop())

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, ended, body = self._answer.partition(b"\r\n\r\n")
        if not ended:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self._done.set_exception(RuntimeError(f"expected a prediction, got {self._answer!r}"))
            return
        _, _, length = head.lower().partition(b"content-length: ")
        if len(body) >= int(length.partition(b"\r\n")[0]):
            self._answer = b""
            self._spent.append(time.perf_counter() - self._began)
            self._ask()


def _teach(endpoint: str, job: Job) -> list[list[str]]:
    """Have the daemon learn the stream; the names of some of its samples."""
    bodies = list(streams.bodies(job.stream()))
    with Client(endpoint) as client:
        for body in bodies:
            client.learn_packed(body)
    return [list(names) for _, names in msgpack.unpackb(bodies[0])]


def _figures(spent: list[float], seconds: float) -> Figures:
    p50, p99 = np.percentile(np.array(spent) * 1e3, (50, 99)).tolist()
    return {"requests_per_s": len(spent) / seconds, "p50_ms": p50, "p99_ms": p99}


@bench.contender("door", needs=("starlette", "uvicorn"))
def through_the_door(job: Job) -> Figures:
    with served() as endpoint, door(endpoint) as (host, port):
        requests = []
        for names in _teach(endpoint, job):
            body = json.dumps({"features": names}).encode()
            head = f"POST /v1/models/default/predict HTTP/1.1\r\nHost: {host}:{port}\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            requests.append(head.encode() + body)

        async def run(count: int) -> Figures:
            loop = asyncio.get_running_loop()
            load = [requests[i % len(requests)] for i in range(count)]
            spent: list[float] = []
            ends = [loop.create_future() for _ in range(CONNECTIONS)]
            start = time.perf_counter()
            for end in ends:
                await loop.create_connection(lambda end=end: _Load(load, spent, end), host, port)
            await asyncio.wait_for(asyncio.gather(*ends), 600)
            return _figures(spent, time.perf_counter() - start)

        uvloop.run(run(2000))
        return uvloop.run(run(job.sizes["requests"]))


@bench.contender("daemon, no door")
def without_a_door(job: Job) -> Figures:
    with served() as endpoint:
        asked = _teach(endpoint, job)

        async def run(count: int) -> Figures:
            spent: list[float] = []
            left = iter(range(count))
            async with AsyncClient(endpoint) as client:

                async def ask() -> None:
                    for i in left:
                        began = time.perf_counter()
                        await client.predict([asked[i % len(asked)]])
                        spent.append(time.perf_counter() - began)

                start = time.perf_counter()
                await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
                return _figures(spent, time.perf_counter() - start)

        uvloop.run(run(2000))
        return uvloop.run(run(job.sizes["requests"]))


if __name__ == "__main__":
    sys.exit(bench.main())
