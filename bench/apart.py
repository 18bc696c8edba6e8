"""A daemon whose log is written nowhere: what the rest of it costs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from onlinesvm import Limits
from onlinesvm.service.server.allocator import keep_freed_memory
from onlinesvm.service.server.counters import Counters
from onlinesvm.service.server.daemon import Daemon
from onlinesvm.service.server.loading import Progress
from onlinesvm.service.server.service import Leading
from onlinesvm.service.server.snapshotter import Schedule
from onlinesvm.service.storage.posix import Buffer, Files
from onlinesvm.service.storage.recovery import start
from onlinesvm.service.storage.state_dir import StateDir


class Nowhere(Files):
    """Accepts every write and keeps nothing."""

    def write(self, descriptor: int, parts: Sequence[Buffer]) -> int:
        return sum(map(len, parts))


def main(folder: str) -> None:
    """Serve a new model of rule `sgd` from `folder`, on any free port."""
    keep_freed_memory()
    limits = Limits()

    def load(counters: Counters, wake: Callable[[], None], progress: Progress) -> Leading:
        state = StateDir(folder)
        started = start(state, {"rule": "sgd"}, limits, files=Nowhere())
        return Leading(state, started, counters, wake, Schedule(1e9, 2**60))

    daemon = Daemon(load, "tcp://127.0.0.1:*", limits)
    daemon.run(lambda _: print(f"at {daemon.endpoint}: ready", file=sys.stderr, flush=True))


if __name__ == "__main__":
    main(sys.argv[1])
