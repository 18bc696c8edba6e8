"""Predictions whose samples are held until their labels come, beside plain ones."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator

import msgpack
import zmq

from bench import streams
from bench.harness import Bench, Figures, Job, Target
from bench.processes import served

A_REQUEST = 64  # samples
WINDOW = 16  # requests in flight


def prepare(job: Job) -> None:
    streams.bodies(job.stream())


bench = Bench(
    name="held",
    question="Predictions of 25 named features that are held by a key: samples a second",
    caveats=(
        "One connection, 16 requests in flight, of 64 samples each, on a daemon that knows a model"
        " of the classic stream. Held means: a key of 16 bytes each, an entry in the log under"
        " `everysec`, and 100,000 samples held from the first on.",
        "Labels: those of the held samples, 64 a request, learned by the rule `hedge`; beside it"
        " the same samples learned at once.",
    ),
    prepare=prepare,
    short={"rounds": 3, "samples": 20_480, "requests": 1_000},
    full={"rounds": 5, "samples": 102_400, "requests": 5_000},
    targets=(Target("held", "plain", "samples_per_s", at_least=0.5),),
)

Frames = tuple[bytes, bytes]


def _send(endpoint: str, requests: Iterator[Frames]) -> float:
    """Send requests, 16 in flight; samples a second, by the replies."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger, socket.rcvtimeo = 0, 60_000
        socket.connect(endpoint)
        samples, waiting, start = 0, 0, time.perf_counter()
        for frames in itertools.chain(requests, itertools.repeat(None)):
            if frames is not None:
                socket.send_multipart(frames)
                waiting += 1
            if waiting == WINDOW or frames is None:
                reply = msgpack.unpackb(socket.recv_multipart()[0])
                if not reply["ok"]:
                    raise RuntimeError(f"{reply['error']}")
                samples += reply["samples"]
                waiting -= 1
            if frames is None and not waiting:
                return samples / (time.perf_counter() - start)
    raise AssertionError


def _header(op: str, **keys: object) -> bytes:
    packed: bytes = msgpack.packb({"v": 1, "op": op, "id": 1, **keys})
    return packed


def _samples(job: Job) -> list[list[object]]:
    """[label, features] of the stream, in lists of a request's."""
    found = [sample for body in streams.bodies(job.stream()) for sample in msgpack.unpackb(body)]
    return [found[i : i + A_REQUEST] for i in range(0, len(found), A_REQUEST)]


def _learned(job: Job) -> Iterator[Frames]:
    header = _header("learn")
    return ((header, body) for body in streams.bodies(job.stream()))


def _predicted(job: Job, *, held: bool, requests: int | None = None) -> list[Frames]:
    header = _header("predict", hold=True, ttl_s=3600) if held else _header("predict")
    number = requests or job.sizes["requests"]
    made = []
    for i, batch in zip(range(number), itertools.cycle(_samples(job)), strict=False):
        features = [sample[1] for sample in batch]  # type: ignore[index]
        keys = [f"key-{i * A_REQUEST + k:012}" for k in range(len(batch))]
        made.append((header, msgpack.packb([keys, features] if held else features)))
    return made


@bench.contender("plain", kernel="native")
def plain(job: Job) -> Figures:
    requests = _predicted(job, held=False)
    with served() as endpoint:
        _send(endpoint, _learned(job))
        return {"samples_per_s": _send(endpoint, iter(requests))}


@bench.contender("held", kernel="native")
def held(job: Job) -> Figures:
    full = 100_000 // A_REQUEST
    requests = _predicted(job, held=True, requests=full + job.sizes["requests"])
    with served() as endpoint:
        _send(endpoint, _learned(job))
        _send(endpoint, iter(requests[:full]))
        return {"samples_per_s": _send(endpoint, iter(requests[full:]))}


@bench.contender("labels", kernel="native")
def labels(job: Job) -> Figures:
    requests = _predicted(job, held=True)
    header = _header("label")
    named = []
    for i in range(len(requests)):
        keys = [f"key-{i * A_REQUEST + k:012}" for k in range(A_REQUEST)]
        named.append(
            (header, msgpack.packb([[key, 2 * (k % 2) - 1] for k, key in enumerate(keys)]))
        )
    with served() as endpoint:
        _send(endpoint, _learned(job))
        _send(endpoint, iter(requests))
        return {"samples_per_s": _send(endpoint, iter(named))}


@bench.contender("learned at once", kernel="native")
def at_once(job: Job) -> Figures:
    header = _header("learn")
    batches = zip(range(job.sizes["requests"]), itertools.cycle(_samples(job)), strict=False)
    requests = [(header, msgpack.packb(batch)) for _, batch in batches]
    with served() as endpoint:
        _send(endpoint, _learned(job))
        return {"samples_per_s": _send(endpoint, iter(requests))}


if __name__ == "__main__":
    sys.exit(bench.main())
