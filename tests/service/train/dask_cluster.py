"""A Dask scheduler and workers of the tests: processes, killed and started again at will."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.daemons import DEADLINE_S, eventually

__all__ = ["HOUSE", "DaskCluster"]

HOUSE = Path(__file__).resolve().parents[3]


class DaskCluster:
    """Its files are in `folder`. host: where the scheduler listens. within: the words before each
    command, as ``ip netns exec NAME``.
    """

    def __init__(
        self, folder: Path, *, host: str = "127.0.0.1", within: Sequence[str] = ()
    ) -> None:
        self.folder, self.host, self._within = folder, host, within
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self._logs: dict[int, Path] = {}
        self._number = 0

    @property
    def address(self) -> str:
        return f"tcp://{self.host}:{self.port}"

    def start_scheduler(self) -> None:
        self.scheduler = self._start(
            "scheduler", ["--host", self.host, "--port", str(self.port)], within=self._within
        )

    def start_worker(
        self,
        *,
        path: str = os.fspath(HOUSE),
        within: Sequence[str] | None = None,
        nanny: bool = False,
    ) -> subprocess.Popen[bytes]:
        """A worker of one thread. path: its PYTHONPATH."""
        words = [self.address, "--nthreads", "1", "--memory-limit", "0", "--death-timeout", "60"]
        words += ["--nanny" if nanny else "--no-nanny", "--local-directory", str(self.folder)]
        within = self._within if within is None else within
        made = self._start("worker", words, path=path, within=within)
        self.workers.append(made)
        return made

    def _start(
        self, role: str, words: list[str], *, path: str = os.fspath(HOUSE), within: Sequence[str]
    ) -> subprocess.Popen[bytes]:
        self._number += 1
        log = self.folder / f"{role}-{self._number}.log"
        with log.open("wb") as file:
            made = subprocess.Popen(
                [*within, sys.executable, "-m", f"distributed.cli.dask_{role}",
                 "--no-dashboard", *words],
                stdout=file,
                stderr=file,
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": path},
            )  # fmt: skip
        self._logs[made.pid] = log
        return made

    def wait(self, workers: int) -> None:
        """Wait until so many workers are registered."""

        def are_there() -> bool:
            logs = [self._logs[worker.pid].read_text() for worker in self.workers]
            return sum("Registered to" in log for log in logs) >= workers

        eventually(are_there, f"a cluster of {workers} workers")

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait(DEADLINE_S)
        if process in self.workers:
            self.workers.remove(process)

    def __enter__(self) -> DaskCluster:
        self.start_scheduler()
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.workers, *([self.scheduler] if self.scheduler else [])]:
            self.kill(process)
