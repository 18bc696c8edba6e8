"""The turnstile: one thread at a time, in the order in which they come."""

from __future__ import annotations

import threading

import pytest

from onlinesvm.service.server.turnstile import Turnstile
from tests.daemons import DEADLINE_S, eventually


def test_threads_pass_one_at_a_time_in_the_order_in_which_they_come() -> None:
    turnstile = Turnstile()
    passed: list[int] = []
    inside = 0

    def go(number: int) -> None:
        nonlocal inside
        with turnstile.turn():
            inside += 1
            passed.append(number)
            assert inside == 1
            inside -= 1

    threads = [threading.Thread(target=go, args=(number,)) for number in range(5)]
    with turnstile.turn():
        for i, thread in enumerate(threads):
            thread.start()
            eventually(lambda i=i: turnstile._last == i + 2, "a thread that waits")
        assert passed == []
    for thread in threads:
        thread.join(DEADLINE_S)
    assert passed == [0, 1, 2, 3, 4]


def test_a_turn_that_fails_ends_all_the_same() -> None:
    turnstile = Turnstile()
    with pytest.raises(OSError), turnstile.turn():
        raise OSError
    with turnstile.turn():
        pass
