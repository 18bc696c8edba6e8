"""Work done ahead, in a thread, while what it gave before is used."""

from __future__ import annotations

import threading
from collections.abc import Generator
from queue import Queue
from typing import TypeVar

__all__ = ["made_ahead"]

T = TypeVar("T")


def made_ahead(items: Generator[T, None, None], depth: int) -> Generator[T, None, None]:
    """`items`, in order, up to `depth` of them made before they are asked for.

    What `items` raises is raised here, in its place. Once this generator is closed the thread is
    at its end and `items` is closed.
    """
    made: Queue[T | _End] = Queue(depth)
    closed = threading.Event()

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                made.put(item)
                if closed.is_set():
                    break
            items.close()
        except BaseException as raised:
            error = raised
        made.put(_End(error))

    # A daemon: a program that ends in the middle does not wait for a place in the queue.
    thread = threading.Thread(target=work, name="onlinesvm-ahead", daemon=True)
    thread.start()
    end: _End | None = None
    try:
        while True:
            item = made.get()
            if isinstance(item, _End):
                end = item
                break
            yield item
    finally:
        closed.set()
        while end is None:
            item = made.get()
            end = item if isinstance(item, _End) else None
        thread.join()
    if end.error is not None:
        raise end.error


class _End:
    """No further items, because of `error` if there is one."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
