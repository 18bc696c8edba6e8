"""Many models in one daemon: their memory, their rate, the start, the stop, those not in memory."""

from __future__ import annotations

import gc
import itertools
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
        " that are not by another, at the same time.",
    ),
    short={"rounds": 1, "models": 1_000, "spread": 100, "requests": 2_000, "predictions": 300},
    full={"rounds": 1, "models": 10_000, "spread": 1_000, "requests": 10_000, "predictions": 1_000},
    targets=(
        Target("memory: empty", None, "bytes", at_most=8 * 2**10, lower_is_better=True),
        Target("memory: one sample", None, "bytes", at_most=24 * 2**10, lower_is_better=True),
        Target("memory: 1,000 features", None, "bytes", at_most=120_000, lower_is_better=True),
        Target("memory: unloaded", None, "bytes", at_most=1_000, lower_is_better=True),
        Target("rate: spread", "rate: one model", "samples_per_s", at_least=0.6),
        Target("start after a clean stop", None, "seconds", at_most=2, lower_is_better=True),
        Target("stop, all changed", None, "seconds", at_most=20, lower_is_better=True),
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
    """Learn `requests` requests, each of the next name; the seconds that it takes."""
    import msgpack
    import zmq

    turn = itertools.cycle(range(len(names)))
    headers = [msgpack.packb({"v": 1, "op": "learn", "id": 1, "model": name}) for name in names]
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(endpoint)
        start = time.perf_counter()
        for i in range(requests + WINDOW):
            if i >= WINDOW:
                reply = msgpack.unpackb(socket.recv_multipart()[0])
                if not reply["ok"]:
                    raise RuntimeError(f"{reply['error']}")
            if i < requests:
                socket.send_multipart([headers[next(turn)], bodies[i % len(bodies)]])
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


@bench.contender("start after a clean stop", kernel="native")
def start(job: Job) -> Figures:
    """All models are changed at the first stop, none at the second."""
    number = job.sizes["models"]
    names = [f"m{i}" for i in range(number)]
    with _folder() as state:
        daemon = _Daemon(state, "--auto-create")
        _send(daemon.endpoint, names, _bodies(64), number)
        daemon.stop()
        for _ in range(60):  # until snapshots hold all
            daemon = _Daemon(state, "--snapshot-every-s", "0.1")
            waited = daemon.stop()
            if waited < 1:
                break
        begun = time.perf_counter()
        daemon = _Daemon(state)
        seconds = time.perf_counter() - begun
        resident = daemon.resident_bytes
        daemon.stop()
    return {"seconds": seconds, "resident_mib": resident / 2**20}


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


@bench.contender("predictions", kernel="native")
def predictions(job: Job) -> Figures:
    """Of a model in memory, while another client asks for models that are not."""
    from onlinesvm.service import Client

    number = job.sizes["predictions"]
    names = [f"m{i}" for i in range(200)]
    sample = [[f"f{i}" for i in range(A_SAMPLE)]]
    with _folder() as state:
        daemon = _Daemon(state, "--auto-create", "--max-memory", "8MiB")
        loaded: list[float] = []
        away: list[float] = []
        try:
            for name in names:
                _send(daemon.endpoint, [name], _bodies(1), 4)

            def ask(client: Client, spent: list[float]) -> None:
                begun = time.perf_counter()
                client.decision_function(sample)
                spent.append(time.perf_counter() - begun)

            is_done = threading.Event()

            def ask_loaded() -> None:
                with Client(daemon.endpoint, timeout_s=60) as client:
                    while not is_done.is_set():
                        ask(client, loaded)
                        time.sleep(0.001)

            with Client(daemon.endpoint, timeout_s=60) as client:
                while not client.stats()["unloaded_models"]:
                    time.sleep(0.1)
                asking = threading.Thread(target=ask_loaded)
                asking.start()
                for i in range(number):
                    ask(client.model(names[i % len(names)]), away)
                is_done.set()
                asking.join()
        finally:
            daemon.stop()
    return {"loaded_p99_ms": _p99(loaded), "unloaded_p99_ms": _p99(away)}


if __name__ == "__main__":
    sys.exit(bench.main())
