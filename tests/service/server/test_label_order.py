"""Labels that come sorted: a figure, and one warning."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from onlinesvm.service.server.label_order import LabelOrder
from tests.logs import Bench, bench


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_sorted_labels_are_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    order = LabelOrder()
    for label in (1.0, -1.0, 1.0):
        for _ in range(1_500):
            order.note([label])
    assert order.longest == 1_500
    order.note([-1.0] * 9_000)
    assert order.longest == 9_000
    (warning,) = warnings_of(caplog)
    assert warning.startswith("the labels come sorted: 1500 samples in a row had the label +1,")
    assert warning.endswith("a model follows the last label of sorted samples: mix them")


def test_mixed_labels_are_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    order = LabelOrder()
    assert order.longest == 0
    for _ in range(5_000):
        order.note([1.0, -1.0, -1.0])
        order.note([])
    assert order.longest == 2
    assert warnings_of(caplog) == []


def test_requests_without_samples_do_not_pile_up() -> None:
    order = LabelOrder()
    for _ in range(10_000):
        order.note([])
    assert len(order._pending) < 5_000


def label_run(found: Bench) -> int:
    (keys,) = found.turn(("stats", None, {}, b"peer"))
    run: int = keys["label_run"]
    return run


def test_a_leader_shows_the_longest_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with bench(tmp_path) as found:
        for label in (1, -1):
            found.learn([(["a"], label)] * 700)
        assert label_run(found) == 700
        found.learn([(["a"], label)] * 5_000)
        assert label_run(found) == 5_700
    assert len([line for line in warnings_of(caplog) if "the labels come sorted" in line]) == 1
