"""A daemon whose journal is written nowhere: what the rest of it costs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from onlinesvm import Limits
from onlinesvm.service.server.allocator import keep_freed_memory
from onlinesvm.service.server.leader import Learning
from onlinesvm.service.server.loop import Daemon
from onlinesvm.service.storage.posix import Buffer, Files
from onlinesvm.service.storage.state_dir import Store


class Nowhere(Files):
    """Takes what is written, and forgets it."""

    def write(self, descriptor: int, parts: Sequence[Buffer]) -> int:
        return sum(map(len, parts))


def main(folder: str) -> None:
    """Serve a newborn model of rule `sgd` from `folder`, on any free port."""
    keep_freed_memory()
    limits = Limits()
    store = Store(folder, files=Nowhere())
    model, saved = store.open_model({"rule": "sgd"}, limits)
    learning = Learning(model, store, saved, snapshot_every_s=1e9, journal_bytes=2**60)
    daemon = Daemon(learning, "tcp://127.0.0.1:*", limits)
    daemon.run(on_ready=lambda: print(f"at {daemon.endpoint}: ready", file=sys.stderr, flush=True))


if __name__ == "__main__":
    main(sys.argv[1])
