"""Latency under load: how long does a small request take while others keep the daemon busy?"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import zmq

from bench import streams
from bench.harness import HERE, Bench, Figures, Job, Target
from bench.processes import served

PROBES_PER_S = 200
WINDOW = 16  # requests under way
WARM_S = 0.5
# Another checkout, built, whose daemon is measured beside this one's.
BEFORE = os.environ.get("ONLINESVM_BENCH_BEFORE")
LARGE_BYTES = 16_000_000
LARGE_PREDICT_BYTES = 14_000_000
EXPLAINED = 65_000


def prepare(job: Job) -> None:
    """The stream, and a model as large as the one whose snapshots are written."""
    from onlinesvm import OnlineSVM

    streams.bodies(job.stream())
    path = _snapshot_path(job)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    model = OnlineSVM()
    numbers = np.random.default_rng(1).permutation(job.sizes["features"])
    for body in streams.numbered(numbers.reshape(-1, streams.A_SAMPLE)):
        model.learn_batch(model.kernel.decode(body, model.limits, labelled=True))
    model.save(path)


def _snapshot_path(job: Job) -> Path:
    samples = job.sizes["features"] // streams.A_SAMPLE
    return job.data / f"latency-{samples}" / f"snapshot-{samples:020}.msgpack"


bench = Bench(
    name="latency",
    question="Latency under load: milliseconds of a small request while others are busy",
    caveats=(
        "The probe sends on a schedule, 200 a second over one TCP connection, whether or not"
        " earlier ones were answered; a latency counts from the scheduled time. (A closed loop"
        " would send none while the daemon stands still, and see nothing.)",
        "`predictions`: of one sample of 25 features. `idle`: nothing else. `stream`: one producer"
        " with 16 requests of 1,024 samples of 25 features under way, packed ahead; `samples_per_s`"
        " is what it gets learned. `objects`: `Client.stream()` packs Python objects as it goes,"
        " which takes most of one core. `snapshot`: the same stream while one snapshot after the"
        " other is written of a model of `features` features.",
        "`pings`: beside 8 clients, each with one learn request of 16 MB of names of 1 to 4 bytes"
        " under way; beside one client that predicts 14 MB at a time; beside one that has 65,000"
        " features explained at a time.",
        "The default rule. Daemon, producer and probe share the machine's cores; each also has a"
        " ZeroMQ I/O thread. With ONLINESVM_BENCH_BEFORE, another checkout's daemon is measured"
        " beside, in turn.",
    ),
    prepare=prepare,
    short={"rounds": 3, "samples": 100_000, "features": 1_000_000, "seconds": 4},
    full={"rounds": 5, "samples": 1_000_000, "features": 5_000_000, "seconds": 10},
    targets=(
        Target("predictions, stream", None, "p50_ms", at_most=0.6, lower_is_better=True),
        Target("predictions, stream", None, "p99_ms", at_most=3, lower_is_better=True),
        Target("predictions, snapshot", None, "p99_ms", at_most=5, lower_is_better=True),
        Target("predictions, stream", "before: predictions, stream", "samples_per_s",
               at_least=0.95),
        *(
            Target(f"pings, {beside}", None, "longest_ms", at_most=10, lower_is_better=True)
            for beside in ("large learners", "large predict", "explain")
        ),
    ),
)  # fmt: skip


def _connected(endpoint: str) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger = 0
    socket.rcvtimeo = 60_000
    socket.connect(endpoint)
    return socket


def _header(op: str, id: int = 1) -> bytes:
    packed: bytes = msgpack.packb({"v": 1, "op": op, "id": id})
    return packed


# What keeps the daemon busy: each in a process of its own, until it is ended.


def _pump(endpoint: str, op: str, bodies: list[bytes], window: int) -> None:
    """Keep `window` requests under way; print how many were answered, and when."""
    socket = _connected(endpoint)
    header, following = _header(op), cycle(bodies)
    sent = answered = 0
    while True:
        while sent - answered < window:
            socket.send_multipart((header, next(following)), copy=False)
            sent += 1
        reply = socket.recv_multipart()
        if len(reply) != 2:
            raise RuntimeError(f"expected a body, got {msgpack.unpackb(reply[0])}")
        answered += 1
        print(time.monotonic(), flush=True)


def _objects(endpoint: str, bodies: list[bytes]) -> None:
    from onlinesvm.service import Client

    samples = [sample for body in bodies[:20] for sample in msgpack.unpackb(body)]
    with Client(endpoint) as client, client.stream() as stream:
        for number, (label, features) in enumerate(cycle(samples), 1):
            stream.learn(features, label)
            if number % streams.BODY_SAMPLES == 0:
                print(time.monotonic(), flush=True)


def _snapshots(endpoint: str) -> None:
    from onlinesvm.service import Client

    with Client(endpoint, timeout_s=120) as client:
        while True:
            client.snapshot()
            print(time.monotonic(), flush=True)


def _short_names(features: int) -> bytes:
    """A learn request of samples of 300 features, names of 1 to 4 bytes."""
    random = np.random.default_rng(2)
    names = [b"%x" % i for i in range(0x10000)]
    packed = [msgpack.packb(name.decode()) for name in names]
    samples = []
    for number, chosen in enumerate(random.integers(0, len(packed), (features // 300, 300))):
        samples.append(
            b"\x92" + (b"\x01" if number % 2 else b"\xff") + b"\xdc\x01\x2c"
            + b"".join(packed[i] for i in chosen)
        )  # fmt: skip
    head: bytes = msgpack.Packer().pack_array_header(len(samples))
    return head + b"".join(samples)


def _busy(kind: str, endpoint: str, data: Path, samples: int) -> None:
    """Be what keeps the daemon busy."""
    stream = streams.Stream(streams.CLASSIC, samples, data)
    if kind == "stream":
        _pump(endpoint, "learn", list(streams.bodies(stream)), WINDOW)
    elif kind == "objects":
        _objects(endpoint, list(streams.bodies(stream)))
    elif kind == "snapshots":
        _snapshots(endpoint)
    elif kind == "large learners":
        body = _short_names(LARGE_BYTES // 5)
        _pump(endpoint, "learn", [body], 1)
    elif kind == "large predict":
        sample = msgpack.packb(
            [streams.numbered_name(i).decode() for i in range(2 * streams.A_SAMPLE)]
        )
        count = LARGE_PREDICT_BYTES // len(sample)
        _pump(endpoint, "predict", [msgpack.Packer().pack_array_header(count) + sample * count], 1)
    elif kind == "explain":
        names = [streams.numbered_name(i).decode() for i in range(EXPLAINED)]
        _pump(endpoint, "explain", [msgpack.packb([names])], 1)


@contextlib.contextmanager
def _kept_busy(kinds: list[str], endpoint: str, job: Job) -> Iterator[list[subprocess.Popen[str]]]:
    """The daemon kept busy, from its first answers on."""
    processes = []
    try:
        for kind in kinds:
            command = [sys.executable, "-m", "bench.latency", "busy", kind, endpoint]
            command += [str(job.data), str(job.sizes["samples"])]
            processes.append(
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent)
            )
        for process in processes:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise RuntimeError("what keeps the daemon busy has ended")
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


# The probe.


def _probe(endpoint: str, op: str, seconds: float) -> list[float]:
    """The latencies, in seconds, of requests sent on a schedule."""
    socket = _connected(endpoint)
    names = [streams.numbered_name(i).decode() for i in range(streams.A_SAMPLE)]
    body = [msgpack.packb([names])] if op == "predict" else []
    socket.send_multipart((_header(op), *body))
    socket.recv_multipart()
    due: list[float] = []
    late: list[float] = []
    clock = time.perf_counter
    start = clock()
    while len(late) < int(seconds * PROBES_PER_S):
        now, next_due = clock(), start + len(due) / PROBES_PER_S
        if now >= next_due and len(due) < int(seconds * PROBES_PER_S):
            socket.send_multipart((_header(op, len(due)), *body))
            due.append(next_due)
        elif socket.poll(max(0, int((next_due - now) * 1e3)) if next_due > now else 100):
            header = msgpack.unpackb(socket.recv_multipart()[0])
            if not header["ok"]:
                raise RuntimeError(f"expected an answer, got {header}")
            late.append(clock() - due[header["id"]])
    socket.close()
    return late


def _quantiles(seconds: list[float]) -> Figures:
    ms = np.sort(np.array(seconds)) * 1e3
    return {
        "p50_ms": float(ms[len(ms) // 2]),
        "p99_ms": float(ms[len(ms) * 99 // 100]),
        "longest_ms": float(ms[-1]),
    }


def _measure(job: Job, op: str, kinds: list[str], tree: Path | None, **given: Any) -> Figures:
    seconds = job.sizes["seconds"]
    with (
        served(rule="hedge", tree=tree, **given) as endpoint,
        _kept_busy(kinds, endpoint, job) as processes,
    ):
        time.sleep(WARM_S)
        began = time.monotonic()
        figures = _quantiles(_probe(endpoint, op, seconds))
        ended = time.monotonic()
        for process in processes:
            process.kill()
        outputs = [process.communicate()[0] for process in processes]
    if kinds and kinds[0] in ("stream", "objects"):
        lines = outputs[0].split("\n")[:-1]
        answered = sum(began <= float(line) < ended for line in lines)
        figures["samples_per_s"] = answered * streams.BODY_SAMPLES / (ended - began)
    return figures


def _on_large_model(job: Job, op: str, kinds: list[str], tree: Path | None) -> Figures:
    flags = "--snapshot-every-s 100000"
    given = {"on_disk": True, "snapshot": _snapshot_path(job), "flags": flags}
    return _measure(job, op, kinds, tree, **given)


ROWS: dict[str, tuple[Callable[..., Figures], str, list[str]]] = {
    "predictions, idle": (_measure, "predict", []),
    "predictions, stream": (_measure, "predict", ["stream"]),
    "predictions, objects": (_measure, "predict", ["objects"]),
    "predictions, snapshot": (_on_large_model, "predict", ["stream", "snapshots"]),
    "pings, large learners": (_measure, "ping", ["large learners"] * 8),
    "pings, large predict": (_measure, "ping", ["large predict"]),
    "pings, explain": (_measure, "ping", ["explain"]),
}


def _enter(name: str, tree: Path | None) -> None:
    run, op, kinds = ROWS[name]
    shown = name if tree is None else f"before: {name}"
    measured = partial(run, op=op, kinds=kinds, tree=tree)
    bench.contender(shown, kernel="native")(lambda job: measured(job))


for _name in ROWS:
    _enter(_name, None)
    if BEFORE:
        _enter(_name, Path(BEFORE))


if __name__ == "__main__":
    if sys.argv[1:2] == ["busy"]:
        _busy(sys.argv[2], sys.argv[3], Path(sys.argv[4]), int(sys.argv[5]))
    sys.exit(bench.main())
