"""The hash of a snapshot's arrays, beside reading or writing them."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from threading import Thread

__all__ = ["hashing"]

_THREAD_BYTES = 2**18  # of less, the hash is done before a thread has begun


@contextlib.contextmanager
def hashing(sha: hashlib._Hash, size: int) -> Iterator[Callable[[memoryview], None]]:
    """A function that adds bytes to `sha`, about `size` of them in all.

    Where they are many a thread does it, which is done at the end of the context: the hash takes as
    long as all else, and neither holds the interpreter's lock.
    """
    if size < _THREAD_BYTES:
        yield sha.update
        return
    parts: SimpleQueue[memoryview | None] = SimpleQueue()

    def run() -> None:
        for part in iter(parts.get, None):
            sha.update(part)

    thread = Thread(target=run, name="onlinesvm-hash", daemon=True)
    thread.start()
    try:
        yield parts.put
    finally:
        parts.put(None)
        thread.join()
