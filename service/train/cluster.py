"""A Dask cluster that runs rounds, whatever becomes of its workers and its scheduler.

A round is a function of the model and the shards, so whatever is lost is done again, with the same
bits: by the scheduler where a worker was lost, by this client where the scheduler was, or the model
itself. Outcomes are mixed in a tree whose shape the number of shards gives.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

from distributed import CancelledError, Client, LocalCluster, wait
from distributed.scheduler import KilledWorker

from onlinesvm.service.errors import ClusterError
from onlinesvm.service.train.shards import Shard
from onlinesvm.service.train.tasks import (
    Figures,
    Reading,
    figures_of,
    learn_shard,
    mix_pair,
    model_of,
)
from onlinesvm.version import __version__

__all__ = ["Cluster"]

# Workers may lack onlinesvm, and with it all functions that are defined here.
_VERSION = "__import__('onlinesvm.version', fromlist=['_']).__version__"
_POLL_S = 1.0
_CONNECT_S = 10.0

# A connection, the scheduler or a model is gone; not an error of a task.
_LOSSES = (CancelledError, OSError, TimeoutError, ConnectionError)


class _Lost(Exception):
    """What a round needs was lost: it can be run again."""


class Cluster:
    """The cluster of the scheduler at `address`; without one, a local one of `workers` processes.

    wait_s: how long to wait for a scheduler or for workers that are away. on_wait: called with the
    reason when a wait begins. Raises ClusterError where there is none.
    """

    def __init__(
        self,
        address: str | None,
        *,
        workers: int = 1,
        wait_s: float = 300.0,
        on_wait: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._wait_s = wait_s
        self._on_wait = on_wait
        self._local: LocalCluster | None = None
        if address is None:
            self._local = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=None,
                memory_limit=None,
                silence_logs=50,  # logging.CRITICAL
            )
            address = self._local.scheduler_address
        self.address = address
        self._client: Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the cluster; a local one ends."""
        self._drop_client()
        if self._local is not None:
            self._local.close()

    def connect(self) -> int:
        """Connect, wait for a worker, and check all workers; how many there are.

        Raises ClusterError for a worker of another version or without onlinesvm, and where there is
        no scheduler or no worker in time.
        """
        deadline = time.monotonic() + self._wait_s
        said = False
        while True:
            try:
                return self._connect()
            except _LOSSES as error:
                self._drop_client()
                if isinstance(error, ClusterError):
                    raise
                if not said:
                    self._on_wait(f"waiting for a scheduler and a worker at {self.address}")
                said = True
                if time.monotonic() > deadline:
                    raise ClusterError(
                        f"{self.address}: expected a Dask scheduler with a worker within"
                        f" {self._wait_s:g} s, got none"
                    ) from None
                time.sleep(min(_POLL_S, self._wait_s))

    def _connect(self) -> int:
        timeout = min(_CONNECT_S, self._wait_s)
        self._client = Client(self.address, timeout=timeout, set_as_default=False)
        self._client.wait_for_workers(1, timeout=timeout)
        return self._check_workers(self._client)

    def _check_workers(self, client: Client) -> int:
        found = client.run(eval, _VERSION, on_error="return")
        for worker, version in sorted(found.items()):
            if isinstance(version, OSError):
                continue  # it has just gone
            if isinstance(version, ImportError):
                version = f"none ({version})"
            if version != __version__:
                raise ClusterError(
                    f"worker {worker}: expected onlinesvm {__version__}, got {version}"
                )
        return len(found)

    def _drop_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(*_LOSSES):
                client.close(timeout=_POLL_S)

    def run(
        self,
        base: bytes,
        shards: Sequence[Shard],
        reading: Reading,
        on_shard: Callable[[Figures], None],
    ) -> bytes:
        """Run a round from the model `base`; the mixed model.

        on_shard: called with the figures of each shard when it is first learned. Raises the error
        of a task, ClusterError where the cluster cannot go on.
        """
        reported: set[int] = set()

        def report(figures: Figures) -> None:
            if figures.shard not in reported:
                reported.add(figures.shard)
                on_shard(figures)

        while True:
            try:
                if self._client is None:
                    self.connect()
                assert self._client is not None
                return _Round(self._client, self._wait_s, report).run(base, shards, reading)
            except _Lost as lost:
                self._on_wait(f"{lost}; the round begins again")
                self._drop_client()
            except ImportError:  # a worker that came later, without onlinesvm
                if self._client is not None:
                    self._check_workers(self._client)
                raise


class _Round:
    """One try of a round by one connection."""

    def __init__(self, client: Client, wait_s: float, report: Callable[[Figures], None]) -> None:
        self._client = client
        self._wait_s = wait_s
        self._report = report
        self._idle_since: float | None = None

    def run(self, base: bytes, shards: Sequence[Shard], reading: Reading) -> bytes:
        """The mixed model. Raises _Lost, and the error of a task."""
        try:
            figures, root = self._submit(base, shards, reading)
            pending = {*figures, root}
            while pending:
                pending = self._advance(pending, root)
            return bytes(root.result())
        except _LOSSES as error:
            if isinstance(error, ClusterError):
                raise
            raise _Lost(
                f"lost the scheduler, or the model on its workers ({_short(error)})"
            ) from None

    def _submit(
        self, base: bytes, shards: Sequence[Shard], reading: Reading
    ) -> tuple[list[Any], Any]:
        client = self._client
        model = client.scatter(base, broadcast=True, hash=False)

        def submit(task: Callable[..., Any], *given: Any, **options: Any) -> Any:
            return client.submit(task, *given, pure=False, retries=0, **options)

        level = [
            submit(learn_shard, __version__, model, number, shard, reading)
            for number, shard in enumerate(shards)
        ]
        figures = [submit(figures_of, learned) for learned in level]
        while len(level) > 1:
            pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
            level = [
                submit(mix_pair, __version__, model, *pair, priority=1)
                if len(pair) == 2
                else pair[0]
                for pair in pairs
            ]
        return figures, submit(model_of, level[0])

    def _advance(self, pending: set[Any], root: Any) -> set[Any]:
        """Wait for tasks to end; those that have not."""
        try:
            with self._client.as_current():
                done, waiting = wait(pending, timeout=_POLL_S, return_when="FIRST_COMPLETED")
        except TimeoutError:
            self._check_workers()
            return pending
        for future in done:
            if future.status == "error":
                raise _of_task(future.exception())
            if future is not root:
                self._report(future.result())
        return set(waiting)

    def _check_workers(self) -> None:
        """Raise ClusterError where there has been no worker for too long."""
        if self._client.scheduler_info()["workers"]:
            self._idle_since = None
            return
        now = time.monotonic()
        self._idle_since = self._idle_since or now
        if now - self._idle_since > self._wait_s:
            raise ClusterError(f"expected a worker within {self._wait_s:g} s, got none")


def _of_task(error: Exception) -> Exception:
    if isinstance(error, KilledWorker):
        return ClusterError(
            "expected a worker that survives its shard, got several that ended with it: out of"
            f" memory? Smaller shards take less ({_short(error)})"
        )
    return error


def _short(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    return text[:200]
