"""Many models in one daemon: their memory, their rate, the start, the stop, those not in memory."""

from __future__ import annotations

import gc
import multiprocessing
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.harness import Bench, Figures, Job, Target
from bench.machine import resident_bytes

A_REQUEST = 64  # samples
A_SAMPLE = 25  # features
WINDOW = 16  # requests in flight

bench = Bench(
    name="models",
    question="Many models in one daemon",
    caveats=(
        "The memory of a model is the growth of a process that makes many, of rule `hedge`; of one"
        " that is unloaded, the daemon's record of it.",
        "The daemons have rule `sgd` and their folder in memory where the system has a place for"
        " that. Requests of 64 samples of 25 features, 16 in flight on one connection; spread means"
        " that the next request is of the next model.",
        "Predictions of one sample, one at a time: of a model in memory by one client, of models"
        " that are not by another, at the same time, each a process of its own.",
        "A crowd: each model learns 64 samples with 1,000 features in all, one after another, under"
        " --max-memory; resident_mib is the most that the daemon had.",
        "The start is timed after a stop that left a snapshot of every model, `held_seconds` after"
        " one that left most of them to the log.",
    ),
    short={
        "rounds": 1,
        "models": 1_000,
        "spread": 100,
        "requests": 2_000,
        "predictions": 300,
        "crowd": 3_000,
        "memory_mib": 64,
    },
    full={
        "rounds": 1,
        "models": 10_000,
        "spread": 1_000,
        "requests": 10_000,
        "predictions": 1_000,
        "crowd": 100_000,
        "memory_mib": 512,
    },
    targets=(
        Target("memory: empty", None, "bytes", at_most=8 * 2**10, lower_is_better=True),
        Target("memory: one sample", None, "bytes", at_most=24 * 2**10, lower_is_better=True),
        Target("memory: 1,000 features", None, "bytes", at_most=120_000, lower_is_better=True),
        Target("memory: unloaded", None, "bytes", at_most=1_000, lower_is_better=True),
        Target("rate: spread", "rate: one model", "samples_per_s", at_least=0.6),
        Target("start after a clean stop", None, "seconds", at_most=2, lower_is_better=True),
        Target("stop, all changed", None, "seconds", at_most=20, lower_is_better=True),
        Target(
            "a crowd under --max-memory", None, "resident_share", at_most=1.25, lower_is_better=True
        ),
        Target("predictions", None, "loaded_p99_ms", at_most=1, lower_is_better=True),
        Target("predictions", None, "unloaded_p99_ms", at_most=20, lower_is_better=True),
    ),
)


# Memory.


def _grown(make: Any, number: int) -> Figures:
    """The bytes that each of `number` things takes."""
    kept = [make(0)]
    gc.collect()
    before = resident_bytes()
    kept += [make(i) for i in range(1, number + 1)]
    gc.collect()
    return {"bytes": (resident_bytes() - before) / number}


def _model(features: int) -> Any:
    from onlinesvm import OnlineSVM

    model = OnlineSVM()
    for first in range(0, features, A_SAMPLE):
        names = [f"feature-{i}" for i in range(first, min(first + A_SAMPLE, features))]
        model.learn([(names, 1 if first % 2 else -1)])
    return model


@bench.contender("memory: empty", kernel="native")
def empty(job: Job) -> Figures:
    return _grown(lambda i: _model(0), 500)


@bench.contender("memory: one sample", kernel="native")
def one_sample(job: Job) -> Figures:
    return _grown(lambda i: _model(A_SAMPLE), 500)


@bench.contender("memory: 1,000 features", kernel="native")
def thousand(job: Job) -> Figures:
    return _grown(lambda i: _model(1_000), 200)


@bench.contender("memory: unloaded", kernel="native")
def unloaded(job: Job) -> Figures:
    from onlinesvm.service.server.registry import Registry
    from onlinesvm.service.storage.snapshots import StoredSnapshot
    from onlinesvm.service.storage.stored_model import StoredModel

    registry = Registry()

    def add(i: int) -> None:
        path = f"/var/lib/onlinesvm/state/models/model-{i}/snapshot-{i:020}.msgpack"
        stored = StoredSnapshot(
            path, 1_000 + i, 10_000 + i, 200_000 + i, 2**31 + i, os.urandom(32).hex()
        )
        registry.add(
            StoredModel(f"model-{i}", os.urandom(16), 300 + i, stored, 5_000 + i, 2**30 + i)
        )

    return _grown(add, 50_000)


# Daemons.


class _Daemon:
    """A daemon on a folder, in a process of its own."""

    def __init__(self, state: str, *flags: str) -> None:
        command = [sys.executable, "-m", "onlinesvm.service", "serve", "--rule", "sgd"]
        command += ["--bind", "tcp://127.0.0.1:*", "--state", state, "--log-level", "warning"]
        self._process = subprocess.Popen(
            [*command, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stderr is not None
        self.endpoint = ""
        for line in self._process.stderr:
            found = re.search(r"at (tcp://\S+): ", line)
            self.endpoint = found[1] if found else self.endpoint
            if line == "ready\n":
                return
        raise RuntimeError("the daemon did not start")

    @property
    def resident_bytes(self) -> int:
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> float:
        """End it; the seconds that it takes."""
        start = time.perf_counter()
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=600)
        return time.perf_counter() - start


@contextmanager
def _folder() -> Iterator[str]:
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as state:
        yield state


def _bodies(number: int, features: int = 1_000) -> list[bytes]:
    from onlinesvm.data.codec import pack_array
    from onlinesvm.data.objects import Packer

    chance, pack = random.Random(1), Packer().sample
    return [
        pack_array(
            [
                pack(
                    [f"f{chance.randrange(features)}" for _ in range(A_SAMPLE)],
                    chance.choice([-1, 1]),
                )
                for _ in range(A_REQUEST)
            ]
        )
        for _ in range(number)
    ]


def _send(endpoint: str, names: Sequence[str], bodies: Sequence[bytes], requests: int) -> float:
    """Learn `requests` requests, each of the next name; the seconds that it takes. One that finds
    the daemon busy is sent again.
    """
    import msgpack
    import zmq

    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(endpoint)

        def send(i: int) -> None:
            header = {"v": 1, "op": "learn", "id": i, "model": names[i % len(names)]}
            socket.send_multipart([msgpack.packb(header), bodies[i % len(bodies)]])

        start = time.perf_counter()
        sent = done = in_flight = 0
        refused: list[int] = []  # as the daemon was busy
        while done < requests:
            while sent < requests and in_flight + len(refused) < WINDOW:
                send(sent)
                sent, in_flight = sent + 1, in_flight + 1
            reply = msgpack.unpackb(socket.recv_multipart()[0])
            in_flight -= 1
            if reply["ok"]:
                done += 1
            elif reply["error"]["code"] == "BUSY":
                refused.append(reply["id"])
            else:
                raise RuntimeError(f"{reply['error']}")
            if refused and not in_flight:
                time.sleep(reply.get("error", {}).get("retry_after_s", 0.0))
                for i in refused:
                    send(i)
                in_flight, refused = len(refused), []
        return time.perf_counter() - start


def _rate(job: Job, models: int) -> Figures:
    names = [f"m{i}" for i in range(models)]
    bodies = _bodies(64)
    requests = job.sizes["requests"]
    with _folder() as state:
        daemon = _Daemon(state, "--auto-create")
        try:
            _send(daemon.endpoint, names, bodies, max(models, 200))
            seconds = _send(daemon.endpoint, names, bodies, requests)
        finally:
            daemon.stop()
    return {"samples_per_s": requests * A_REQUEST / seconds}


@bench.contender("rate: one model", kernel="native")
def one_model(job: Job) -> Figures:
    return _rate(job, 1)


@bench.contender("rate: spread", kernel="native")
def spread(job: Job) -> Figures:
    return _rate(job, job.sizes["spread"])


def _start(state: str) -> Figures:
    begun = time.perf_counter()
    daemon = _Daemon(state)
    seconds = time.perf_counter() - begun
    resident = daemon.resident_bytes
    daemon.stop()
    return {"seconds": seconds, "resident_mib": resident / 2**20}


@bench.contender("start after a clean stop", kernel="native")
def start(job: Job) -> Figures:
    from onlinesvm.service import Client

    number = job.sizes["models"]
    names = [f"m{i}" for i in range(number)]
    with _folder() as state:
        daemon = _Daemon(state, "--auto-create")
        _send(daemon.endpoint, names, _bodies(64), number)
        daemon.stop()
        held = _start(state)
        daemon = _Daemon(state, "--snapshot-every-s", "1")
        with Client(daemon.endpoint, timeout_s=60) as client:
            deadline = time.monotonic() + 600
            while client.stats()["log_bytes"] and time.monotonic() < deadline:
                time.sleep(0.5)  # until snapshots hold all
        daemon.stop()
        return {**_start(state), "held_seconds": held["seconds"]}


@bench.contender("a crowd under --max-memory", kernel="native")
def crowd(job: Job) -> Figures:
    """More models than there is memory for, each of which learns once."""
    number, memory = job.sizes["crowd"], job.sizes["memory_mib"]
    bodies, piece = _bodies(64), 500
    most = 0.0
    with _folder() as state:
        flags = "--max-memory", f"{memory}MiB", "--max-models", str(number + 1)
        daemon = _Daemon(state, "--auto-create", *flags)
        try:
            begun = time.perf_counter()
            for first in range(0, number, piece):
                names = [f"m{i}" for i in range(first, min(first + piece, number))]
                _send(daemon.endpoint, names, bodies, len(names))
                most = max(most, daemon.resident_bytes / 2**20)
            seconds = time.perf_counter() - begun
        finally:
            daemon.stop()
    return {
        "resident_mib": most, "resident_share": most / memory, "models_per_s": number / seconds,
    }  # fmt: skip


@bench.contender("stop, all changed", kernel="native")
def stop(job: Job) -> Figures:
    number = job.sizes["models"]
    names = [f"m{i}" for i in range(number)]
    with _folder() as state:
        daemon = _Daemon(state, "--auto-create")
        _send(daemon.endpoint, names, _bodies(64), number)
        resident = daemon.resident_bytes
        return {"seconds": daemon.stop(), "resident_mib": resident / 2**20}


def _p99(spent: list[float]) -> float:
    return statistics.quantiles(spent, n=100)[98] * 1e3


def _ask(client: Any) -> float:
    """The seconds that a prediction takes."""
    sample = [[f"f{i}" for i in range(A_SAMPLE)]]
    begun = time.perf_counter()
    client.decision_function(sample)
    return time.perf_counter() - begun


def _ask_loaded(endpoint: str, pipe: Connection) -> None:
    """Predict by the daemon's own model until `pipe` says so; then send the seconds of each."""
    from onlinesvm.service import Client

    spent = []
    with Client(endpoint, timeout_s=60) as client:
        _ask(client)
        pipe.send(None)  # it has begun
        while not pipe.poll():
            spent.append(_ask(client))
            time.sleep(0.001)
    pipe.send(spent)


@bench.contender("predictions", kernel="native")
def predictions(job: Job) -> Figures:
    """Of a model in memory, while another client asks for models that are not."""
    from onlinesvm.service import Client

    number = job.sizes["predictions"]
    names = [f"m{i}" for i in range(200)]
    with _folder() as state:
        daemon = _Daemon(state, "--auto-create", "--max-memory", "8MiB")
        try:
            for name in names:
                _send(daemon.endpoint, [name], _bodies(1), 4)
            with Client(daemon.endpoint, timeout_s=60) as client:
                while not client.stats()["unloaded_models"]:
                    time.sleep(0.1)
                pipe, theirs = multiprocessing.Pipe()
                asking = multiprocessing.get_context("spawn").Process(
                    target=_ask_loaded, args=(daemon.endpoint, theirs)
                )
                asking.start()
                pipe.recv()
                away = [_ask(client.model(names[i % len(names)])) for i in range(number)]
                pipe.send(None)
                loaded = pipe.recv()
                asking.join()
        finally:
            daemon.stop()
    return {"loaded_p99_ms": _p99(loaded), "unloaded_p99_ms": _p99(away)}


if __name__ == "__main__":
    sys.exit(bench.main())
