"""Leaders on a state folder without a socket, faults of the file system, and small runs."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from itertools import chain
from pathlib import Path
from typing import Any

from onlinesvm import Limits, OnlineSVM
from onlinesvm.data.codec import pack_array
from onlinesvm.data.objects import Packer
from onlinesvm.service.protocol import RequestError, encode_request, parse_request
from onlinesvm.service.server.counters import Counters
from onlinesvm.service.server.held import wall_ms
from onlinesvm.service.server.leader import PART_BYTES, Policy
from onlinesvm.service.server.order import parts_of
from onlinesvm.service.server.registry import Hosted
from onlinesvm.service.server.service import Leading
from onlinesvm.service.server.slices import finish
from onlinesvm.service.server.snapshotter import Schedule
from onlinesvm.service.storage.posix import Buffer, Files
from onlinesvm.service.storage.recovery import Started, recover, start
from onlinesvm.service.storage.segment import Segments, segments_in
from onlinesvm.service.storage.snapshots import model_folder, snapshots_in
from onlinesvm.service.storage.state_dir import StateDir
from tests.daemons import eventually
from tests.strategies import WIDE

Batch = Sequence[tuple[Any, ...]]

LIMITS = WIDE


def body_of(batch: Batch) -> bytes:
    """`batch`, of (features, label[, importance]), as the body of a learn request."""
    return pack_array([Packer().sample(*sample) for sample in batch])


class Bench:
    """A leader and its folder: a turn of the loop at a time, without the loop."""

    def __init__(
        self,
        state: StateDir,
        started: Started,
        limits: Limits,
        schedule: Schedule,
        policy: Policy,
        part_bytes: int,
        clock: Callable[[], int],
    ) -> None:
        self.started = started
        self.log = started.log
        self.model = started.default.model
        self.stored = started.stored[self.model.id].newest
        self.service = Leading(
            state, started, Counters(), lambda: None, schedule, policy, part_bytes=part_bytes,
            clock=clock,
        )  # fmt: skip
        self.service.requested.window_s = 0.0  # no test waits for the clock
        self._limits = limits

    @property
    def hosted(self) -> Hosted:
        """The model `default`, as the service has it."""
        return self.service.handlers._registry.get("default")

    def turn(self, *requests: tuple[Any, ...]) -> list[Any]:
        """One turn with `requests`, each (op, body or None, keys, peer), perhaps with a permit:
        replies and errors.
        """
        parsed = []
        for op, body, keys, peer, *permit in requests:
            frames = [encode_request(op, None, **keys)]
            if body is not None:
                frames.append(body)
            parsed.append(parse_request(frames, self._limits, peer, *permit))
        answers: list[Any] = []
        plans = chain.from_iterable(finish(self.service.plan(part)) for part in parts_of(parsed))
        for request, plan in zip(parsed, plans, strict=True):
            try:
                answer = finish(self.service.handle(request, plan))
            except RequestError as error:
                answers.append(error)
            else:
                answers.append(answer if isinstance(answer, Future) else answer.keys)
        return answers

    def tick(self, now: float) -> None:
        """Do what is due between two turns."""
        self.service.tick(now)
        finish(self.service.waited())

    def learn(self, *batches: Batch) -> list[Any]:
        """One turn of learn requests."""
        return self.turn(*(("learn", body_of(batch), {}, b"peer") for batch in batches))

    def numbered(self, producer: str, sequence: int, batch: Batch, peer: bytes = b"peer") -> Any:
        """One learn request with a number."""
        keys = {"producer": producer, "sequence": sequence}
        return self.turn(("learn", body_of(batch), keys, peer))[0]

    def resume(self, producer: str, peer: bytes = b"peer") -> Any:
        return self.turn(("resume", None, {"producer": producer}, peer))[0]

    def snapshot(self) -> None:
        """Write one, and drop what it makes superfluous."""
        (asked,) = self.turn(("snapshot", None, {}, b"peer"))
        self.settle()
        asked.result(0)

    def settle(self) -> None:
        """Wait for the snapshots that were asked for."""

        def is_idle() -> bool:
            self.service.tick(0.0)
            return not self.service.snapshotter.is_running

        eventually(is_idle, "the end of all snapshots")


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards; in memory where that can be, since fsync takes long."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


@contextlib.contextmanager
def bench(
    folder: Path,
    *,
    limits: Limits = LIMITS,
    log_bytes: int = 2**30,
    every_s: float = 1e9,
    fsync: str = "never",
    files: Files | None = None,
    max_producers: int = 65_536,
    max_user_producers: int = 4096,
    max_user_models: int | None = None,
    part_bytes: int = PART_BYTES,
    max_held: int = 100_000,
    clock: Callable[[], int] = wall_ms,
    **config: Any,
) -> Iterator[Bench]:
    """A leader that ends as a killed process does: nothing is written at the end."""
    with StateDir(folder) as state:
        started = start(
            state, config, limits, fsync=fsync, files=files, max_producers=max_producers,
            max_held=max_held,
        )  # fmt: skip
        schedule = Schedule(every_s=every_s, log_bytes=log_bytes)
        policy = Policy(
            limits, max_producers, config, max_held=max_held,
            max_user_producers=max_user_producers, max_user_models=max_user_models,
        )  # fmt: skip
        opened = Bench(state, started, limits, schedule, policy, part_bytes, clock)
        try:
            yield opened
        finally:
            opened.service.leader.close()
            opened.service.snapshotter.finish()
            with contextlib.suppress(OSError):
                started.log.close()


def recovered(folder: Path) -> dict[str, Any]:
    """The report of `recover`, and the position and digest that the model comes to."""
    with StateDir(folder) as state:
        report = recover(state)
    (snapshot,) = report["snapshots"]
    return {**report, "position": snapshot["position"], "digest": snapshot["digest"]}


def segments_of(state: Path) -> Segments:
    """The segments of a state folder."""
    return segments_in(state / "log")


def newest_snapshot(state: Path) -> Path:
    """The newest snapshot of the model `default`."""
    return snapshots_in(model_folder(state, "default"))[0][1]


def digest_after(batches: Sequence[Batch], **config: Any) -> str:
    """The digest of a model that learned `batches` without any fault."""
    model = OnlineSVM(limits=WIDE, **config)
    for batch in batches:
        model.learn(batch)
    return model.snapshot().digest()


Planned = int | tuple[int, int] | None


class FaultyFiles(Files):
    """The system's calls, some of which fail: `plan` says what to do with each, by its name.

    It gives None (do it), an errno (fail), or for a write (room, errno): what a disk does that
    fills up, which takes what fits and fails at the next write.
    """

    def __init__(self, plan: Callable[[str], Planned]) -> None:
        self.plan = plan
        self._full: int | None = None

    def _meet(self, call: str) -> int | None:
        """Fail if that is the plan; else how many bytes there is room for."""
        planned = self.plan(call)
        room = None
        if call == "write" and self._full is not None:  # others may be called by another thread
            planned, self._full = self._full, None
        elif isinstance(planned, tuple):
            room, self._full = planned
            planned = None if room else self._full
        if isinstance(planned, int):
            raise OSError(planned, os.strerror(planned))
        return room

    def create_beside(self, path: Path) -> tuple[int, Path]:
        self._meet("create")
        return super().create_beside(path)

    def open(self, path: Path) -> int:
        self._meet("open")
        return super().open(path)

    def write(self, descriptor: int, parts: Sequence[Buffer]) -> int:
        return super().write(descriptor, [b"".join(parts)[: self._meet("write")]])

    def truncate(self, descriptor: int, size: int) -> None:
        self._meet("truncate")
        super().truncate(descriptor, size)

    def close(self, descriptor: int, size: int, data: bytes) -> None:
        try:
            self._meet("close")
        except OSError:
            super().close(descriptor, size, b"")
            raise
        super().close(descriptor, size, data)

    def sync(self, descriptor: int) -> None:
        self._meet("sync")
        super().sync(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        self._meet("replace")
        super().replace(source, target)

    def sync_folder(self, folder: Path) -> None:
        self._meet("sync_folder")
        super().sync_folder(folder)


class Disk:
    """A plan for FaultyFiles: calls fail as long as their names are in `broken`."""

    def __init__(self) -> None:
        self.broken: dict[str, int | tuple[int, int]] = {}

    def __call__(self, call: str) -> Planned:
        return self.broken.get(call)


ENOSPC, EIO = errno.ENOSPC, errno.EIO


def failing_at(write: int, planned: Planned) -> FaultyFiles:
    """Files whose write number `write` fails as `planned`; what was not cut off stays."""
    left = iter(range(write + 1))

    def plan(call: str) -> Planned:
        return planned if call == "write" and next(left, None) == write else None

    return FaultyFiles(plan)
