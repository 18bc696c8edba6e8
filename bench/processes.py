"""The processes that benches talk to: our daemon, a bare echo, the VW driver."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

__all__ = ["door", "echo", "served", "vw_figures", "vw_seconds"]

_DEADLINE_S = 60


@contextlib.contextmanager
def _running(command: Sequence[str], pattern: str, tree: Path | None = None) -> Iterator[str]:
    """A process, once it has reported its endpoint on stderr; ended by SIGTERM.

    `pattern` finds the endpoint, its first group. tree: the checkout whose code it runs; this one
    for None.
    """
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        cwd=tree, env=None if tree is None else os.environ | {"PYTHONPATH": str(tree)},
    )  # fmt: skip
    assert process.stderr is not None
    try:
        said = b""
        deadline = time.monotonic() + _DEADLINE_S
        with selectors.DefaultSelector() as selector:
            selector.register(process.stderr, selectors.EVENT_READ)
            while not (found := re.search(pattern.encode(), said)):
                if not selector.select(deadline - time.monotonic()):
                    raise RuntimeError(f"{command[2]} printed no endpoint within {_DEADLINE_S} s")
                piece = process.stderr.read1()  # type: ignore[attr-defined]
                if not piece:
                    raise RuntimeError(f"{command[2]} ended: {said.decode()[-300:]}")
                said += piece
        yield found[1].decode()
    finally:
        process.terminate()
        process.communicate(timeout=_DEADLINE_S)


_RAM = Path("/dev/shm")
_ENDPOINT = r"at (tcp://\S+):\s"


@contextlib.contextmanager
def served(
    *,
    on_disk: bool = False,
    log: bool = True,
    rule: str = "sgd",
    snapshot: Path | None = None,
    flags: str = "",
    tree: Path | None = None,
) -> Iterator[str]:
    """Our daemon on a new model, or on that of `snapshot`; its endpoint. The kernel is as the
    environment forces it. tree: the checkout whose daemon it is; this one for None.

    Its state folder lies in memory where the system has a place for that, unless `on_disk`. Without
    `log` it is the daemon of `bench.apart`.
    """
    place = None if on_disk else _RAM if _RAM.is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as state:
        if not log:
            with _running([sys.executable, "-m", "bench.apart", state], _ENDPOINT) as endpoint:
                yield endpoint
            return
        if snapshot is not None:
            shutil.copy(snapshot, Path(state) / snapshot.name)
        command = [sys.executable, "-m", "onlinesvm.service", "serve", "--rule", rule]
        command += ["--bind", "tcp://127.0.0.1:*", "--state", state, *flags.split()]
        with _running(command, _ENDPOINT, tree) as endpoint:
            yield endpoint


@contextlib.contextmanager
def door(endpoint: str) -> Iterator[tuple[str, int]]:
    """An HTTP door to a daemon; its host and port."""
    command = [sys.executable, "-m", "onlinesvm.service", "http", "--connect", endpoint]
    command += ["--listen", "127.0.0.1:0"]
    with _running(command, r"http://(\S+) [^\n]*\nready") as address:
        host, _, port = address.rpartition(":")
        yield host, int(port)


@contextlib.contextmanager
def echo(reply: str = "same") -> Iterator[str]:
    """A bare pyzmq ROUTER in a process of its own; its endpoint. See `bench.echo`."""
    with _running([sys.executable, "-m", "bench.echo", reply], r"at (tcp://\S+)\s") as endpoint:
        yield endpoint


def vw_seconds(path: Path, *flags: str) -> tuple[float, int, float]:
    """Wall seconds of the VW driver over the file `path`, its samples, its progressive error.

    It is the driver of the wheel, started as ``python -m vowpalwabbit``.
    """
    command = [sys.executable, "-m", "vowpalwabbit", "-d", str(path)]
    command += ["--loss_function", "hinge", "--binary", *flags]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    seconds = time.perf_counter() - start
    said = done.stderr + done.stdout
    counted = re.search(r"number of examples = (\d+)", said)
    lost = re.search(r"average loss = ([\d.]+)", said)
    if counted is None:
        raise RuntimeError(f"the VW driver counted no examples: {said[-300:]}")
    return seconds, int(counted[1]), float(lost[1]) if lost else 0.0


def vw_figures(path: Path, samples: int, *flags: str) -> dict[str, Any]:
    """Wall time of the VW driver over a file, its start-up, and the rate without the start-up."""
    with tempfile.NamedTemporaryFile(suffix=".vw") as empty:
        startup = statistics.median(vw_seconds(Path(empty.name))[0] for _ in range(5))
    seconds, counted, error = vw_seconds(path, *flags)
    if counted != samples:
        raise RuntimeError(f"expected VW to learn {samples} samples, it learned {counted}")
    return {
        "samples_per_s": samples / (seconds - startup),
        "wall_s": seconds,
        "startup_s": startup,
        "error": error,
    }
