"""Quotas: bytes and features of a user in a second."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.service.keys.permit import ANYONE, Permit
from onlinesvm.service.protocol import Request, RequestError
from onlinesvm.service.server.auth.quotas import Quotas

ALICE, BOB = (Permit(name, "0" * 40, "learn") for name in ("alice", "bob"))


def request(permit: Permit) -> Request:
    return Request("learn", 7, b"", permit=permit)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def wait_s(quotas: Quotas, permit: Permit, size: int) -> float:
    """Send a message of that size; the seconds that its sender is to wait, 0 if it is taken."""
    try:
        quotas.enter(request(permit), [bytes(size)])
    except RequestError as error:
        assert (error.code, error.id) == ("BUSY", 7)
        assert error.retry_after_s is not None
        return error.retry_after_s
    return 0.0


def test_a_debt_is_paid_in_time() -> None:
    clock = Clock()
    quotas = Quotas(100, None, clock)
    assert wait_s(quotas, ALICE, 350) == 0.0  # more than a second's; the debt is 250
    assert wait_s(quotas, ALICE, 1) == 2.5
    assert wait_s(quotas, BOB, 1) == 0.0
    clock.now += 1.0
    assert wait_s(quotas, ALICE, 1) == 1.5
    clock.now += 1.5
    assert wait_s(quotas, ALICE, 1) == 0.0


def test_features_count_when_they_were_carried_out() -> None:
    clock = Clock()
    quotas = Quotas(None, 10, clock)
    quotas.take_features(request(ALICE), 30)
    with pytest.raises(RequestError, match="at most 10 features a second of alice, got more"):
        quotas.enter(request(ALICE), [])
    clock.now += 2.1
    quotas.enter(request(ALICE), [])


def test_without_quotas_or_keys_there_is_no_bound() -> None:
    for quotas, permit in ((Quotas(), ALICE), (Quotas(1, 1), ANYONE)):
        for _ in range(10):
            assert wait_s(quotas, permit, 10**9) == 0.0
            quotas.take_features(request(permit), 10**9)


def test_a_user_who_left_is_forgotten() -> None:
    quotas = Quotas(10, None, Clock())
    assert wait_s(quotas, ALICE, 100) == wait_s(quotas, BOB, 100) == 0.0
    quotas.keep({"bob"})
    assert wait_s(quotas, ALICE, 0) == 0.0
    assert wait_s(quotas, BOB, 0) > 0.0


@given(
    sizes=st.lists(st.integers(0, 300), max_size=30), pauses=st.lists(st.floats(0, 3), max_size=30)
)
def test_nobody_sends_more_than_the_rate_and_one_message(
    sizes: list[int], pauses: list[float]
) -> None:
    clock = Clock()
    quotas = Quotas(100, None, clock)
    sent = 0
    for size, pause in zip(sizes, pauses, strict=False):
        clock.now += pause
        if wait_s(quotas, ALICE, size) == 0.0:
            before, sent = sent, sent + size
            assert before <= 100 * (clock.now - 100.0 + 1.0) + 1e-6
