"""Learn from a log: how many samples a second does one ingester have learned, in which memory?"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgpack

from bench import streams
from bench.harness import Bench, Figures, Job, Target
from bench.processes import served
from onlinesvm.data.validation import sample_starts

PACKED = "redis, msgpack"
JSON = "redis, JSON"
FILE = "file, JSON lines"
LONGER = ", four times as long"
_DEADLINE_S = 60.0


def prepare(job: Job) -> None:
    streams.bodies(job.stream(4 * job.sizes["samples"]))


bench = Bench(
    name="ingest",
    question="`onlinesvm ingest` from a log on the same machine: samples a second",
    caveats=(
        "Ingester, daemon and redis share the machine's cores. One sample an entry, the log is"
        " there before the ingester starts; from its first request to the last acknowledgement."
        " redis keeps it in memory; the daemon's state folder is in memory, too.",
        "Memory: the peak of the ingester's process, all of it; four times the samples are to take"
        " no more.",
    ),
    prepare=prepare,
    short={"rounds": 3, "samples": 100_000},
    full={"rounds": 5, "samples": 500_000},
    targets=(
        Target(PACKED, None, "samples_per_s", at_least=200_000),
        Target(PACKED + LONGER, PACKED, "memory_mib", at_most=1.1),
        Target(FILE + LONGER, FILE, "memory_mib", at_most=1.1),
    ),
)


def _samples(job: Job, count: int) -> Iterator[bytes]:
    """The first samples of the stream, each packed."""
    left = count
    for body in streams.bodies(job.stream(4 * job.sizes["samples"])):
        for start, end in pairwise(sample_starts(body, streams.BODY_SAMPLES)):
            if not left:
                return
            left -= 1
            yield body[start:end]


def _lines(job: Job, count: int) -> Iterator[bytes]:
    for packed in _samples(job, count):
        label, features = msgpack.unpackb(packed)
        yield json.dumps({"label": label, "features": features}).encode()


def _ingest(source: str, samples: int, *flags: str) -> Figures:
    with served() as endpoint:
        command = [sys.executable, "-m", "onlinesvm.service", "ingest", "--connect", endpoint]
        process = subprocess.Popen(
            [*command, *flags, source], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = process.stdout, process.stderr
        assert out is not None and err is not None
        said = out.read()
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise RuntimeError((err.read().decode().splitlines() or ["failed"])[-1])
        outcome = json.loads(said)
        if outcome["samples"] != samples:
            raise RuntimeError(f"expected {samples} samples learned, got {outcome['samples']}")
    return {
        "samples_per_s": samples / outcome["seconds"],
        "memory_mib": used.ru_maxrss / 1024,
    }


@contextlib.contextmanager
def _redis() -> Iterator[int]:
    """A redis-server without a file; its port."""
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("needs redis-server")
    import redis

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        process = subprocess.Popen(
            [*command, "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL
        )
        try:
            deadline = time.monotonic() + _DEADLINE_S
            with redis.Redis(port=port) as client:
                while time.monotonic() < deadline:
                    with contextlib.suppress(redis.ConnectionError):
                        client.ping()
                        break
                    time.sleep(0.05)
            yield port
        finally:
            process.terminate()
            process.wait(_DEADLINE_S)


def _of_stream(entries: Iterator[bytes], samples: int, *flags: str) -> Figures:
    import redis

    with _redis() as port:
        with redis.Redis(port=port) as client:
            pipe = client.pipeline(transaction=False)
            for number, entry in enumerate(entries, 1):
                pipe.xadd("samples", {"s": entry})
                if number % 1000 == 0:
                    pipe.execute()
            pipe.execute()
        return _ingest(f"redis://127.0.0.1:{port}/samples", samples, "--no-follow", *flags)


@bench.contender(PACKED, kernel="native", needs=("redis", "hiredis"))
def packed(job: Job) -> Figures:
    samples = job.sizes["samples"]
    return _of_stream(_samples(job, samples), samples, "--format", "msgpack")


@bench.contender(PACKED + LONGER, kernel="native", needs=("redis", "hiredis"))
def packed_longer(job: Job) -> Figures:
    samples = 4 * job.sizes["samples"]
    return _of_stream(_samples(job, samples), samples, "--format", "msgpack")


@bench.contender(JSON, kernel="native", needs=("redis", "hiredis"))
def of_json(job: Job) -> Figures:
    samples = job.sizes["samples"]
    return _of_stream(_lines(job, samples), samples)


def _of_file(job: Job, samples: int) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        with path.open("wb") as file:
            for line in _lines(job, samples):
                file.write(line + b"\n")
        return _ingest(f"file:{path}", samples)


@bench.contender(FILE, kernel="native")
def lines(job: Job) -> Figures:
    return _of_file(job, job.sizes["samples"])


@bench.contender(FILE + LONGER, kernel="native")
def lines_longer(job: Job) -> Figures:
    return _of_file(job, 4 * job.sizes["samples"])


if __name__ == "__main__":
    sys.exit(bench.main())
