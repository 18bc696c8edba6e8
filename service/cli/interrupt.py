"""SIGINT and SIGTERM: the first ends a command in order, the second ends the process at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["interruptible", "stopping", "uninterrupted"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Held:
    """The depth of blocks in which interrupts wait, and the one that waits; one a process."""

    depth = 0
    waiting: str | None = None


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """In this block the first signal raises KeyboardInterrupt, a second one has its default."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, _interrupt)
        for number in _SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN  # as a shell's background job has it
    }
    try:
        yield
    finally:
        _Held.waiting = None
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, _: FrameType | None) -> None:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_DFL)
    said = "interrupted" if number == signal.SIGINT else "terminated"
    if _Held.depth:
        _Held.waiting = said
    else:
        raise KeyboardInterrupt(said)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold a signal in this block back until its end, so that its counts are exact."""
    _Held.depth += 1
    try:
        yield
    finally:
        _Held.depth -= 1
    if _Held.waiting is not None and not _Held.depth:
        said, _Held.waiting = _Held.waiting, None
        raise KeyboardInterrupt(said)


@contextlib.contextmanager
def stopping() -> Iterator[threading.Event]:
    """In this block the first signal sets the event that is given, a second one ends the process.

    What is under way is finished first.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, _: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        stop.set()

    before = {
        number: signal.signal(number, ask)
        for number in _SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
