"""The log's health: what is reported, and the way back."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path

import pytest

from onlinesvm import OnlineSVM
from tests.daemons import digest_of, eventually
from tests.logs import EIO, ENOSPC, Disk, FaultyFiles, bench


def no_memory(model: OnlineSVM, batches: object) -> None:
    raise MemoryError


def test_a_change_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk()
    with bench(tmp_path, files=FaultyFiles(disk)) as found, caplog.at_level(logging.INFO):
        health = found.service.health

        def learn(error: str | None) -> None:
            found.learn([(["a"], 1)])
            assert health.error == error

        learn(None)
        disk.broken = {"write": ENOSPC}
        for _ in range(2):
            learn("the log cannot be written: No space left on device")
        disk.broken = {}
        with monkeypatch.context() as patch:
            patch.setattr(OnlineSVM, "reserving", no_memory)
            for _ in range(2):
                learn("out of memory")
        for _ in range(2):
            learn(None)
        messages = [record.message for record in caplog.records if "learning" in record.message]
        assert messages == [
            "learning is refused: the log cannot be written: No space left on device",
            "learning is refused: out of memory",
            "learning goes on",
        ]


def test_after_a_failed_fsync_a_snapshot_makes_learning_possible_again(tmp_path: Path) -> None:
    disk = Disk()
    clock = itertools.count(1.0, 10.0)
    with bench(tmp_path, fsync="always", files=FaultyFiles(disk)) as found:
        service = found.service
        found.learn([(["a"], 1)])
        disk.broken = {"sync": EIO}
        (refused,) = found.learn([(["b"], 1)])
        assert refused.code == "NOT_DURABLE"
        assert service.health.error is not None
        service.tick(next(clock))
        assert (
            service.snapshotter.report(found.hosted)["snapshot_position"] is None
        )  # no segment to go on in
        disk.broken = {}

        def goes_on() -> bool:
            service.tick(next(clock))
            return service.health.error is None

        eventually(goes_on, "the end of the failure")
        assert service.snapshotter.report(found.hosted)["snapshot_position"] == 1
        found.learn([(["b"], 1)])
        digest = digest_of(found.model)
    with bench(tmp_path) as found:
        assert digest_of(found.model) == digest


def test_a_full_disk_is_met_with_a_snapshot(tmp_path: Path) -> None:
    disk = Disk()
    with bench(tmp_path, files=FaultyFiles(disk)) as found:
        found.learn([(["a"], 1)])
        disk.broken = {"write": ENOSPC}
        found.learn([(["b"], 1)])
        found.service.health.tick(1e9)
        assert found.service.snapshotter.is_running
        found.settle()
        assert found.service.snapshotter.is_current
        disk.broken = {}
        found.learn([(["b"], 1)])
        assert found.service.health.error is None
