"""Snapshots: when one is due, and what its figures say."""

from __future__ import annotations

import math
import time
from concurrent.futures import wait
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import OnlineSVM
from onlinesvm.service.server.disk_space import RETRY_S
from onlinesvm.service.server.snapshotter import Schedule
from tests.daemons import DEADLINE_S, digest_of, eventually
from tests.logs import Bench, bench

sizes = st.integers(0, 2**40)


@given(log=sizes, snapshot=sizes, bound=sizes, snapshots=st.integers(1, 10))
def test_a_log_is_long_above_the_larger_of_two_bounds(
    log: int, snapshot: int, bound: int, snapshots: int
) -> None:
    schedule = Schedule(log_bytes=bound, log_snapshots=snapshots)
    assert schedule.is_long(log, snapshot) == (log > bound and log > snapshots * snapshot)


def settled(found: Bench) -> int:
    """The position of the newest snapshot (−1: none), once none is being written."""
    snapshotter = found.service.snapshotter

    def is_idle() -> bool:
        snapshotter.collect()
        return not snapshotter.is_running

    eventually(is_idle, "the end of all snapshots")
    position = snapshotter.report()["snapshot_position"]
    return -1 if position is None else position


def test_none_is_due_while_nothing_was_learned(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        snapshotter = found.service.snapshotter
        later = time.monotonic() + 2e9
        due = snapshotter.tick(later)
        assert due == later + 1e9
        assert snapshotter.is_current
        assert not snapshotter.is_running


def test_one_is_due_at_its_time_and_has_what_was_learned(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        snapshotter = found.service.snapshotter
        found.learn([(["a"], 1), (["b"], -1)])
        assert not snapshotter.is_current
        snapshotter.tick(time.monotonic())
        assert not snapshotter.is_running
        snapshotter.tick(time.monotonic() + 2e9)
        assert snapshotter.is_running
        assert settled(found) == 2
        assert snapshotter.is_current
        report = snapshotter.report()
        assert digest_of(OnlineSVM.load(report["snapshot_path"])) == digest_of(found.model)
        assert 0 <= report["snapshot_age_s"] < DEADLINE_S
        assert report["snapshot_error"] is None


def test_a_long_log_makes_one_due_and_starts_anew(tmp_path: Path) -> None:
    with bench(tmp_path, log_bytes=0) as found:
        snapshotter = found.service.snapshotter
        while not snapshotter.is_running:
            found.learn([([f"{i}" for i in range(200)], 1)])
            before = snapshotter.log_bytes
            snapshotter.tick(time.monotonic())
        assert settled(found) == found.model.position
        assert 0 <= snapshotter.log_bytes < before


def test_requests_share_a_run_unless_something_was_learned_since(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        snapshotter = found.service.snapshotter
        found.learn([(["a"], 1)])
        first, second = snapshotter.request(), snapshotter.request()
        assert second is first
        wait([first], DEADLINE_S)
        found.learn([(["b"], 1)])
        third = snapshotter.request()
        assert third is not first
        settled(found)
        assert (first.result(0).stored.position, third.result(0).stored.position) == (1, 2)


def test_one_that_fails_is_reported_and_tried_again_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench(tmp_path) as found:
        snapshotter = found.service.snapshotter
        found.learn([(["a"], 1)])

        def fail(taken: object) -> None:
            raise OSError("no luck")

        monkeypatch.setattr(found.started.snapshots, "write", fail)
        asked = snapshotter.ask()
        assert settled(found) == -1
        assert isinstance(asked.exception(0), OSError)
        assert snapshotter.report()["snapshot_error"] == "no luck"
        monkeypatch.undo()
        now = time.monotonic()
        assert now < snapshotter.tick(now) <= now + RETRY_S
        assert not snapshotter.is_running
        snapshotter.tick(now + RETRY_S)
        assert settled(found) == 1
        assert snapshotter.report()["snapshot_error"] is None


def test_a_copy_that_fails_is_an_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with bench(tmp_path) as found:

        def fail(*_: object, **__: object) -> None:
            raise MemoryError

        monkeypatch.setattr(OnlineSVM, "view", fail)
        asked = found.service.snapshotter.ask()
        assert settled(found) == -1
        assert isinstance(asked.exception(0), MemoryError)
        assert found.service.snapshotter.report()["snapshot_error"] == "MemoryError"
        monkeypatch.undo()


def test_nothing_is_due_after_the_finish(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        snapshotter = found.service.snapshotter
        found.learn([(["a"], 1)])
        asked = snapshotter.ask()
        snapshotter.finish()
        assert asked.result(0).stored.position == 1
        assert snapshotter.tick(time.monotonic()) == math.inf
