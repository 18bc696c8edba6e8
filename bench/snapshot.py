"""Snapshots beside the loop: how long requests wait while one of a large model is written."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgpack
import numpy as np
import zmq
from numpy.typing import NDArray

from bench import streams
from bench.harness import Bench, Figures, Job, Target
from bench.processes import served
from onlinesvm.service import Client

RULES = ("sgd", "pa1", "arow", "adagrad", "nag", "hedge")
SERVED = ("sgd", "hedge")  # the rules of the daemons
WINDOW = 16  # learn requests under way
PREDICT_EVERY_S = 0.01
NEW = 1 / 64  # of the features that are learned, those that are new
QUIET_S = 5.0  # of the stream before a snapshot is asked for


def _numbers(size: int, requests: int) -> NDArray[np.int64]:
    """Features of that many requests, log-uniform over the model's, and some new ones."""
    random = np.random.default_rng(1)
    shape = (requests * streams.BODY_SAMPLES, streams.A_SAMPLE)
    places = np.exp(random.random(shape) * np.log(size)).astype(np.int64) * 7_368_787 % size
    new = random.random(shape) < NEW
    places[new] = size + np.arange(int(new.sum()))
    return places


def _path(job: Job, rule: str) -> Path:
    samples = job.sizes["features"] // streams.A_SAMPLE
    return job.data / f"{rule}-{samples}" / f"snapshot-{samples:020}.msgpack"


def prepare(job: Job) -> None:
    """A model of each rule, as a snapshot."""
    from onlinesvm import OnlineSVM

    for rule in RULES:
        path = _path(job, rule)
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        model = OnlineSVM(rule=rule)
        numbers = np.random.default_rng(1).permutation(job.sizes["features"])
        for body in streams.numbered(numbers.reshape(-1, streams.A_SAMPLE)):
            model.learn_batch(model.kernel.decode(body, model.limits, labelled=True))
        model.save(path)


bench = Bench(
    name="snapshot",
    question="A snapshot beside the loop: milliseconds that others wait while it is written",
    caveats=(
        "Requests of 1,024 samples of 25 features, log-uniform over those of the model, one in 64"
        " new: nearly every part of the state changes while it is copied.",
        "`loop`: in memory, one request after the other on one thread, while another takes a"
        " snapshot and writes it to disk. `wait_ms` is the slowest request less the median of"
        " those before: what copying, growth, locks and the system cost it; but not the time in"
        " which others than ours had the processor, which is this machine's matter. A virtual"
        " machine that is itself suspended cannot be distinguished: compare `quiet_longest_ms`.",
        "`daemon`: a producer with 16 requests under way, and one that sends a prediction every"
        " 10 ms whether or not the last was answered; its latency counts from the moment when it"
        " was due (a closed loop would send none while the daemon stands still, and see nothing)."
        " A prediction also waits for the turn of up to 4 MiB of learning before it. `quiet_` are"
        " those before the snapshot. State on disk, all processes on the machine's cores.",
    ),
    prepare=prepare,
    short={"rounds": 1, "features": 500_000},
    full={"rounds": 3, "features": 5_000_000},
    targets=tuple(
        Target(f"loop, {rule}", None, "wait_ms", at_most=5, lower_is_better=True) for rule in RULES
    )
    + tuple(
        Target(f"daemon, {rule}", None, "p99_more_ms", at_most=10, lower_is_better=True,
               note="open loop: p99 of predictions, less that without a snapshot")
        for rule in SERVED
    ),
)  # fmt: skip


def _quantiles(seconds: list[float]) -> tuple[float, float, float]:
    """Median, 99th percentile and maximum, in ms."""
    ordered = np.sort(np.array(seconds)) * 1e3
    return (
        float(ordered[len(ordered) // 2]),
        float(ordered[len(ordered) * 99 // 100]),
        float(ordered[-1]),
    )


class _Clock:
    """Seconds of this thread, less those in which it could run and others had its processor."""

    def __init__(self) -> None:
        self._queued = os.open("/proc/thread-self/schedstat", os.O_RDONLY)

    def __call__(self) -> float:
        queued_ns = int(os.pread(self._queued, 64, 0).split()[1])
        return time.perf_counter() - queued_ns / 1e9

    def close(self) -> None:
        os.close(self._queued)


def _loop(job: Job, rule: str) -> Figures:
    from onlinesvm import OnlineSVM
    from onlinesvm.snapshot import writer as snapshot_writer

    model = OnlineSVM.load(_path(job, rule))
    decode, limits, clock = partial(model.kernel.decode, labelled=True), model.limits, _Clock()
    bodies = list(streams.numbered(_numbers(job.sizes["features"], 200)))

    def learn(until: Callable[[], bool]) -> list[float]:
        spent: list[float] = []
        while not until():
            start = clock()
            model.learn_batch(decode(bodies[len(spent) % len(bodies)], limits))
            spent.append(clock() - start)
        return spent

    ends = time.perf_counter() + QUIET_S
    quiet = learn(lambda: time.perf_counter() > ends)
    with tempfile.TemporaryDirectory(dir=job.data) as folder:
        start, asked = clock(), time.perf_counter()
        view = model.view()
        opening_ms = (clock() - start) * 1e3
        written: list[float] = []

        def write() -> None:
            snapshot_writer.write(
                Path(folder) / "taken.msgpack", view.snapshot(), OnlineSVM.check_snapshot
            )
            written.append(time.perf_counter() - asked)

        writer = threading.Thread(target=write)
        writer.start()
        busy = learn(lambda: not writer.is_alive())
    clock.close()
    usual, _, quiet_most = _quantiles(quiet)
    p50, p99, most = _quantiles(busy)
    return {
        "wait_ms": max(most - usual, opening_ms), "longest_ms": most, "p99_ms": p99, "p50_ms": p50,
        "quiet_p50_ms": usual, "quiet_longest_ms": quiet_most, "opening_ms": opening_ms,
        "snapshot_s": written[0],
    }  # fmt: skip


class _Predictor(threading.Thread):
    """Sends predictions on a schedule; when each was due, and how late its answer came."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(daemon=True)
        self._endpoint = endpoint
        self.ends = threading.Event()
        self.answered: list[tuple[float, float]] = []

    def run(self) -> None:
        socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        socket.linger = 0
        socket.connect(self._endpoint)
        body = msgpack.packb([[streams.numbered_name(i) for i in range(streams.A_SAMPLE)]])
        due: list[float] = []
        start = time.perf_counter()
        while not self.ends.is_set() or len(self.answered) < len(due):
            next_due = start + len(due) * PREDICT_EVERY_S
            left = next_due - time.perf_counter()
            if left <= 0 and not self.ends.is_set():
                header = msgpack.packb({"v": 1, "op": "predict", "id": len(due)})
                socket.send_multipart((header, body))
                due.append(next_due)
            elif socket.poll(max(0, int(left * 1e3))):
                header = msgpack.unpackb(socket.recv_multipart()[0])
                at = due[header["id"]]
                self.answered.append((at, time.perf_counter() - at))
        socket.close()

    def between(self, start: float, end: float) -> list[float]:
        return [late for at, late in self.answered if start <= at < end]


class _Producer(threading.Thread):
    """Keeps the daemon learning."""

    def __init__(self, endpoint: str, bodies: list[bytes]) -> None:
        super().__init__(daemon=True)
        self._endpoint = endpoint
        self._bodies = bodies
        self.ends = threading.Event()
        self.learned = 0

    def run(self) -> None:
        socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        socket.linger = 0
        socket.connect(self._endpoint)
        header = msgpack.packb({"v": 1, "op": "learn", "id": 1})
        sent = 0
        while not self.ends.is_set():
            while sent - self.learned < WINDOW:
                socket.send_multipart((header, self._bodies[sent % len(self._bodies)]), copy=False)
                sent += 1
            if socket.poll(100):
                if len(socket.recv_multipart()) != 2:
                    raise RuntimeError("expected margins, got an error")
                self.learned += 1
        socket.close()


def _daemon(job: Job, rule: str) -> Figures:
    bodies = list(streams.numbered(_numbers(job.sizes["features"], 200)))
    clock = time.perf_counter
    flags = "--snapshot-every-s 100000"
    with served(on_disk=True, rule=rule, snapshot=_path(job, rule), flags=flags) as endpoint:
        producer, predictor = _Producer(endpoint, bodies), _Predictor(endpoint)
        producer.start()
        predictor.start()
        time.sleep(1)  # the first requests warm up
        before, learned = clock(), producer.learned
        time.sleep(QUIET_S)
        asked, quiet_learned = clock(), producer.learned
        with Client(endpoint, timeout_s=120) as client:
            saved = client.snapshot()
        done, busy_learned = clock(), producer.learned
        for thread in (predictor, producer):
            thread.ends.set()
            thread.join(60)
    quiet = _quantiles(predictor.between(before, asked))
    busy = _quantiles(predictor.between(asked, done))
    names = ("p50_ms", "p99_ms", "longest_ms")
    return {
        "p99_more_ms": busy[1] - quiet[1],
        **dict(zip(names, busy, strict=True)),
        **{f"quiet_{name}": value for name, value in zip(names, quiet, strict=True)},
        "samples_per_s": (busy_learned - quiet_learned) * streams.BODY_SAMPLES / (done - asked),
        "quiet_samples_per_s": (quiet_learned - learned) * streams.BODY_SAMPLES / (asked - before),
        "snapshot_s": done - asked,
        "snapshot_mib": saved["size"] / 2**20,
    }


def _enter(name: str, run: Callable[[Job, str], Figures], rule: str) -> None:
    bench.contender(f"{name}, {rule}", kernel="native")(lambda job: run(job, rule))


for _rule in RULES:
    _enter("loop", _loop, _rule)
for _rule in SERVED:
    _enter("daemon", _daemon, _rule)


if __name__ == "__main__":
    sys.exit(bench.main())
