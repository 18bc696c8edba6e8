"""The daemon's own counters."""

from __future__ import annotations

import time as clock

import numpy as np
import pytest

from onlinesvm.service.server.counters import TURN_BOUNDS_S, Counters, memory_bytes


def test_rates_are_those_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    counters = Counters()
    for second in range(100):
        counters.samples += 500 if second < 80 else 30
        counters.requests += 10
        now += 1.0
        counters.tick(now)
        counters.tick(now + 0.001)  # a turn may be short
    report = counters.report()
    assert report["samples_per_s"] == 30
    assert report["requests_per_s"] == 10
    assert report["uptime_s"] == 100


def test_rates_of_the_first_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "monotonic", lambda: 5.0)
    assert Counters().report()["samples_per_s"] == 0


def test_a_report_is_a_copy() -> None:
    counters = Counters()
    counters.errors["BAD_SAMPLE"] += 2
    counters.dropped_requests = 3
    report = counters.report()
    counters.errors["BAD_SAMPLE"] += 1
    assert report["errors"] == {"BAD_SAMPLE": 2}
    assert report["dropped_requests"] == 3
    assert report["uptime_s"] >= 0


def test_memory_grows_with_what_is_held() -> None:
    before = memory_bytes()
    held = np.ones(8 * 2**20)
    assert memory_bytes() - before > held.nbytes // 2


def test_a_turn_counts_in_the_first_bucket_that_holds_it() -> None:
    counters = Counters()
    for seconds in (0.0, TURN_BOUNDS_S[0], 0.0015, TURN_BOUNDS_S[-1], 1e6):
        counters.note_turn(seconds)
    turns = counters.report()["turns"]
    assert turns["bounds_s"] == list(TURN_BOUNDS_S)
    assert len(turns["counts"]) == len(TURN_BOUNDS_S) + 1
    assert turns["counts"][:5] == [2, 0, 0, 0, 1]
    assert turns["counts"][-2:] == [1, 1]
    assert turns["seconds"] == pytest.approx(1e6 + 5.0016)
