"""Disk space: when the disk is short of it, and what may be removed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.service.server.disk_space import RETRY_S, DiskSpace
from tests.logs import ENOSPC, Bench, Disk, FaultyFiles, bench, scratch

sizes = st.integers(0, 2**40)


def disk_of(found: Bench) -> DiskSpace:
    return found.service.snapshotter._disk


def let_there_be(free: int, patch: pytest.MonkeyPatch) -> None:
    """Have the system say that `free` bytes are left."""
    patch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free, f_frsize=1))


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


@given(snapshot=sizes, log=sizes, free=sizes)
def test_space_is_short_before_a_snapshot_no_longer_fits(
    snapshot: int, log: int, free: int
) -> None:
    """A snapshot frees the log since the last, so with little log there is nothing to gain."""
    with scratch() as folder, bench(folder) as found, pytest.MonkeyPatch.context() as patch:
        let_there_be(free, patch)
        is_short = disk_of(found).is_short(snapshot, log)
        assert is_short == (log >= snapshot and free < 2 * snapshot + log)
        if is_short:
            assert not disk_of(found).is_short(snapshot, snapshot - 1)
        elif log >= snapshot:
            assert free >= snapshot  # the next still fits


def test_a_folder_that_is_gone_is_not_short_of_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(_: object) -> Any:
        raise FileNotFoundError

    with bench(tmp_path) as found:
        monkeypatch.setattr(os, "statvfs", gone)
        assert not disk_of(found).is_short(1, 10)
        monkeypatch.undo()


def test_a_write_that_finds_no_space_says_so_until_the_next(tmp_path: Path) -> None:
    disk = Disk()
    with bench(tmp_path, files=FaultyFiles(disk)) as found:
        found.learn([(["a"], 1)])
        assert not disk_of(found).is_full
        disk.broken = {"write": ENOSPC}
        found.learn([(["a"], 1)])
        assert disk_of(found).is_full
        disk.broken = {}
        found.learn([(["a"], 1)])
        assert not disk_of(found).is_full


def newest_of(found: Bench) -> Any:
    return found.hosted.learning[1].newest


def test_room_is_made_of_what_is_older_than_the_newest_snapshot(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        for name in "abc":
            found.learn([([name], 1)])
            found.snapshot()
        before = files_in(tmp_path)
        assert disk_of(found).make_room(newest_of(found))
        after = files_in(tmp_path)
        assert after < before
        assert Path(newest_of(found).path).name in after
    with bench(tmp_path) as found:
        assert found.model.position == 3


def test_a_snapshot_that_cannot_be_read_back_makes_no_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with bench(tmp_path) as found:
        for name in "abc":
            found.learn([([name], 1)])
            found.snapshot()
        path = Path(newest_of(found).path)
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        before = files_in(tmp_path)
        assert not disk_of(found).make_room(newest_of(found))
        assert files_in(tmp_path) == before
        assert "no room can be made" in caplog.text
        path.write_bytes(whole)


def test_learning_waits_while_room_is_made_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench(tmp_path) as found:
        snapshotter = found.service.snapshotter
        found.snapshot()
        while snapshotter.log_bytes < newest_of(found).size:
            found.learn([([f"{i}" for i in range(200)], 1)])
        assert snapshotter.hold_back() is None
        let_there_be(0, monkeypatch)
        refusal = snapshotter.hold_back()
        assert refusal is not None
        assert "room is being made" in str(refusal)
        found.settle()
        assert snapshotter.is_current(found.hosted)
        assert snapshotter.hold_back() is None  # little log is left, though the disk is full
        monkeypatch.undo()


def test_room_is_asked_for_every_few_seconds_at_most(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        snapshotter = found.service.snapshotter
        found.snapshot()
        now = time.monotonic()
        snapshotter.make_room(now)
        assert snapshotter.is_running
        found.settle()
        snapshotter.make_room(now + RETRY_S / 2)
        assert not snapshotter.is_running
        snapshotter.make_room(now + RETRY_S)
        assert snapshotter.is_running
        found.settle()
