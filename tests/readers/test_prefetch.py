"""Work ahead in a thread: the same items, the same errors, and an end in all cases."""

from __future__ import annotations

import threading
from collections.abc import Generator
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.readers.prefetch import made_ahead


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "onlinesvm-ahead"]


@given(st.integers(0, 9), st.integers(0, 11), st.integers(1, 4), st.booleans())
def test_the_same_items_and_errors_wherever_one_stops(
    n: int, wanted: int, depth: int, fails: bool
) -> None:
    closed = []

    def items() -> Generator[int, None, None]:
        try:
            yield from range(n)
            if fails:
                raise LookupError("at the end")
        finally:
            closed.append(threading.current_thread().name)

    made = made_ahead(items(), depth)
    if fails and wanted > n:
        with pytest.raises(LookupError, match="at the end"):
            list(islice(made, wanted))
    else:
        assert list(islice(made, wanted)) == list(range(min(n, wanted)))
    made.close()
    assert threads() == []
    assert closed == ["onlinesvm-ahead"] * (wanted > 0)


def test_no_more_than_the_depth_is_made_before_it_is_asked_for() -> None:
    made, full = [], threading.Event()

    def items() -> Generator[int, None, None]:
        for i in range(100):
            made.append(i)
            if len(made) == 4:  # one in use, two that wait, one that finds no place
                full.set()
            yield i

    ahead = made_ahead(items(), 2)
    assert next(ahead) == 0
    assert full.wait(20)
    assert len(made) == 4
    ahead.close()
    assert len(made) <= 7
    assert threads() == []
