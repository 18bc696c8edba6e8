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
from onlinesvm.errors import SnapshotError
from onlinesvm.service.server.changes import Changes
from onlinesvm.service.server.disk_space import RETRY_S
from onlinesvm.service.server.snapshotter import Schedule
from onlinesvm.service.storage.loading import Loaded
from onlinesvm.service.storage.stored_model import StoredModel
from onlinesvm.snapshot import reader
from tests.daemons import DEADLINE_S, digest_of, eventually
from tests.logs import Bench, bench, body_of, newest_snapshot

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
    position = snapshotter.report(found.hosted)["snapshot_position"]
    return -1 if position is None else position


def test_none_is_due_while_nothing_was_learned(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        found.snapshot()
        snapshotter = found.service.snapshotter
        assert snapshotter.tick(time.monotonic() + 2e9) == math.inf
        assert snapshotter.is_current(found.hosted)
        assert not snapshotter.is_running


def test_a_new_model_has_one_in_time_so_that_it_keeps_no_log(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        snapshotter = found.service.snapshotter
        assert snapshotter.tick(time.monotonic() + 2e9) == math.inf
        assert settled(found) == 0


@given(ids=st.lists(st.binary(min_size=16, max_size=16), min_size=1, unique=True))
def test_snapshots_are_spread_over_the_last_fifth_of_the_time(ids: list[bytes]) -> None:
    changes = Changes(100.0, 0)
    before = time.monotonic()
    for lsn, id in enumerate(ids, 1):
        changes.note(StoredModel(f"m{lsn}", id, lsn), lsn)
    after = time.monotonic()
    assert changes.due(before + 79.9) == []
    assert before + 80 <= changes.next_due
    assert {stored.id for stored in changes.due(after + 100.0)} == set(ids)
    assert changes.held == 0


def test_one_is_due_at_its_time_and_has_what_was_learned(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        snapshotter = found.service.snapshotter
        found.learn([(["a"], 1), (["b"], -1)])
        assert not snapshotter.is_current(found.hosted)
        snapshotter.tick(time.monotonic())
        assert not snapshotter.is_running
        snapshotter.tick(time.monotonic() + 2e9)
        assert snapshotter.is_running
        assert settled(found) == 2
        assert snapshotter.is_current(found.hosted)
        report = snapshotter.report(found.hosted)
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
        first, second = snapshotter.request(found.hosted), snapshotter.request(found.hosted)
        assert second is first
        wait([first], DEADLINE_S)
        found.learn([(["b"], 1)])
        third = snapshotter.request(found.hosted)
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
        assert snapshotter.report(found.hosted)["snapshot_error"] == "no luck"
        monkeypatch.undo()
        now = time.monotonic()
        assert now < snapshotter.tick(now) <= now + RETRY_S
        assert not snapshotter.is_running
        snapshotter.tick(now + RETRY_S)
        assert settled(found) == 1
        assert snapshotter.report(found.hosted)["snapshot_error"] is None


def test_a_copy_that_fails_is_an_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with bench(tmp_path) as found:

        def fail(*_: object, **__: object) -> None:
            raise MemoryError

        monkeypatch.setattr(OnlineSVM, "view", fail)
        asked = found.service.snapshotter.ask()
        assert settled(found) == -1
        assert isinstance(asked.exception(0), MemoryError)
        assert found.service.snapshotter.report(found.hosted)["snapshot_error"] == "MemoryError"
        monkeypatch.undo()


def test_nothing_is_due_after_the_finish(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        snapshotter = found.service.snapshotter
        found.learn([(["a"], 1)])
        asked = snapshotter.ask()
        snapshotter.finish()
        assert asked.done()
        assert snapshotter.report(found.hosted)["snapshot_position"] == 1
        assert snapshotter.tick(time.monotonic()) == math.inf


def test_one_that_can_no_longer_be_read_is_written_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Before the log that makes up for it is removed."""
    with bench(tmp_path, every_s=0.1) as found:
        found.learn([(["a"], 1)])
        found.snapshot()
        found.learn([(["b"], -1)])
        found.snapshot()
        newest = newest_snapshot(tmp_path)
        newest.write_bytes(newest.read_bytes()[:-1])

        def is_whole() -> bool:
            found.service.tick(time.monotonic())
            try:
                reader.verify(newest)
            except SnapshotError:
                return False
            return True

        eventually(is_whole, "a whole snapshot")
        assert "a snapshot can no longer be read" in caplog.text
        assert digest_of(OnlineSVM.load(newest)) == digest_of(found.model)


def test_one_that_no_memory_is_left_to_read_back_is_written_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify(path: object) -> None:
        monkeypatch.undo()
        raise MemoryError

    with bench(tmp_path, every_s=0.1) as found:
        found.learn([(["a"], 1)])
        found.snapshot()
        monkeypatch.setattr(reader, "verify", verify)

        def is_written_anew() -> bool:
            found.service.tick(time.monotonic())
            return "written anew: out of memory" in caplog.text

        eventually(is_written_anew, "a snapshot")
        found.learn([(["b"], -1)])
        found.snapshot()
        assert digest_of(OnlineSVM.load(newest_snapshot(tmp_path))) == digest_of(found.model)


def test_many_that_are_not_in_memory_are_loaded_some_at_a_time(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        for i in range(50):
            create = {"config": {"rule": "sgd"}, "model": f"m{i}"}
            learn = ("learn", body_of([([f"f{i}"], 1)]), {"model": f"m{i}"}, b"peer")
            found.turn(("create", None, create, b"peer"), learn)
    with bench(tmp_path) as found:
        snapshotter = found.service.snapshotter
        snapshotter.tick(time.monotonic() + 2e9)
        most = 0

        def is_done() -> bool:
            nonlocal most
            most = max(most, len(found.service._loader))
            found.service.tick(0.0)
            return not snapshotter.changes and not snapshotter.is_running

        eventually(is_done, "50 snapshots")
        assert 0 < most <= 16
        assert len(list(tmp_path.glob("models/*/snapshot-*"))) == 51


def test_a_model_that_cannot_be_loaded_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench(tmp_path) as found:
        found.turn(("create", None, {"config": {"rule": "sgd"}, "model": "spam"}, b"peer"))
    with bench(tmp_path) as found:
        service, snapshotter = found.service, found.service.snapshotter
        loads: list[StoredModel] = []

        def load(stored: StoredModel) -> Loaded:
            loads.append(stored)
            raise OSError("no luck")

        monkeypatch.setattr(service._loader, "_load", load)
        snapshotter.tick(time.monotonic() + 2e9)

        def has_failed() -> bool:
            service.tick(0.0)
            return bool(snapshotter._errors)

        eventually(has_failed, "a failure")
        service.tick(0.0)
        assert len(loads) == 1
        assert time.monotonic() < snapshotter.changes.next_due <= time.monotonic() + RETRY_S


def test_a_round_that_ends_early_fails_its_snapshots_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Beside the loop, and where it begins."""
    for part, name in ("_disk", "is_short"), ("_started", "log"):
        with bench(tmp_path) as found:
            snapshotter = found.service.snapshotter
            found.learn([(["a"], 1)])

            def fail(*_: object) -> None:
                raise OSError("no luck")

            place = getattr(snapshotter, part)
            if name == "is_short":
                monkeypatch.setattr(place, name, fail)
            else:
                monkeypatch.setattr(place.log, "roll", fail)
            asked = snapshotter.request(found.hosted)
            settled(found)
            assert isinstance(asked.exception(0), OSError)
            assert snapshotter.report(found.hosted)["snapshot_error"] == "no luck"
            assert "a round of snapshots failed" in caplog.text
            assert not snapshotter.is_current(found.hosted)
            caplog.clear()
            monkeypatch.undo()
            now = time.monotonic()
            snapshotter.tick(now)
            assert not snapshotter.is_running
            snapshotter.tick(now + RETRY_S)
            assert settled(found) == found.model.position
            assert snapshotter.report(found.hosted)["snapshot_error"] is None


def test_a_folder_of_models_that_cannot_be_listed_stops_no_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with bench(tmp_path) as found:
        found.learn([(["a"], 1)])
        found.turn(("create", None, {"config": {"rule": "sgd"}, "model": "m"}, b"peer"))
        found.turn(("drop", None, {"model": "m"}, b"peer"))

        def fail(*_: object) -> None:
            raise OSError("no luck")

        monkeypatch.setattr(Path, "glob", fail)
        found.snapshot()
        assert "the folders of dropped models stay: no luck" in caplog.text


@given(order=st.permutations([1, 2, 3]))
def test_snapshots_that_fail_keep_the_log_from_the_first_change_on(order: list[int]) -> None:
    changes = Changes(100.0, 0)
    models = {lsn: StoredModel(f"m{lsn}", bytes([lsn]) * 16, lsn) for lsn in (1, 2, 3)}
    for lsn, stored in models.items():
        changes.note(stored, lsn)
        changes.begin(stored)
    for lsn in order:
        changes.fail(models[lsn], 0.0)
    assert changes.held == 0
    assert [change.lsn for change in changes] == [1, 2, 3]
