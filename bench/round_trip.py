"""One prediction, there and back: how long does a sample alone in its message take?"""

from __future__ import annotations

import sys
import time

import msgpack
import numpy as np
import zmq

from bench import streams
from bench.harness import Bench, Figures, Job, Target
from bench.processes import echo, served


def prepare(job: Job) -> None:
    streams.bodies(job.stream())


bench = Bench(
    name="round_trip",
    question="One prediction of 25 named features, round trip over TCP: microseconds",
    caveats=(
        "One raw DEALER that waits for each reply before it asks again; the daemon knows a model of"
        " the classic stream. The echo is a bare pyzmq ROUTER that sends the same bytes back.",
        "With two cores and four threads (two of them ZeroMQ's) the scheduler has its say.",
    ),
    prepare=prepare,
    short={"rounds": 3, "samples": 20_480, "requests": 3_000},
    full={"rounds": 5, "samples": 102_400, "requests": 20_000},
    targets=(
        Target("daemon", "bare echo", "p50_us", at_most=1.35, lower_is_better=True),
        Target("daemon", "bare echo", "p99_us", at_most=2, lower_is_better=True),
    ),
)


def _trips(endpoint: str, job: Job, *, learned: bool) -> Figures:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    socket.rcvtimeo = 60_000
    socket.linger = 0
    socket.connect(endpoint)
    bodies = list(streams.bodies(job.stream()))
    if learned:
        for body in bodies:
            socket.send_multipart((msgpack.packb({"v": 1, "op": "learn", "id": 0}), body))
            socket.recv_multipart()
    header = msgpack.packb({"v": 1, "op": "predict", "id": 1})
    requests = [(header, msgpack.packb([features])) for _, features in msgpack.unpackb(bodies[0])]
    spent = np.empty(job.sizes["requests"])
    warm = 500
    for i in range(-warm, len(spent)):
        request = requests[i % len(requests)]
        start = time.perf_counter()
        socket.send_multipart(request)
        reply = socket.recv_multipart()
        if i >= 0:
            spent[i] = time.perf_counter() - start
        if len(reply) != 2:
            raise RuntimeError(f"expected a margin, got {reply}")
    socket.close()
    p50, p99 = np.percentile(spent * 1e6, (50, 99)).tolist()
    return {"p50_us": p50, "p99_us": p99, "mean_us": float(spent.mean() * 1e6)}


@bench.contender("daemon", kernel="native")
@bench.contender("daemon, python kernel", kernel="python")
def daemon(job: Job) -> Figures:
    with served() as endpoint:
        return _trips(endpoint, job, learned=True)


@bench.contender("bare echo")
def bare_echo(job: Job) -> Figures:
    with echo("same") as endpoint:
        return _trips(endpoint, job, learned=False)


if __name__ == "__main__":
    sys.exit(bench.main())
