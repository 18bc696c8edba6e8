"""Signals: where they raise, and where they wait."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from onlinesvm.service.cli.interrupt import interruptible, uninterrupted

SIGNALS = pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")]
)


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """SIGINT has its usual handler, also where a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@SIGNALS
def test_a_signal_raises_and_the_next_has_its_default(number: int, said: str) -> None:
    before = signal.getsignal(number)
    with interruptible():
        with pytest.raises(KeyboardInterrupt, match=said):
            os.kill(os.getpid(), number)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(number) == before


@SIGNALS
def test_a_signal_waits_for_the_end_of_the_block(number: int, said: str) -> None:
    done = []
    with interruptible(), pytest.raises(KeyboardInterrupt, match=said), uninterrupted():
        with uninterrupted():
            os.kill(os.getpid(), number)
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"]


def test_an_error_of_the_block_comes_first() -> None:
    with interruptible(), pytest.raises(ValueError, match="mine"), uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
        raise ValueError("mine")
    with uninterrupted():  # the signal of the command before is forgotten
        pass


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_has_no_handlers() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with interruptible():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert seen == [before]
