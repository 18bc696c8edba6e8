"""The chain of segments: a segment that is missing, or of another log, is noticed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onlinesvm import OnlineSVM
from onlinesvm.service.errors import LogError, StateError
from onlinesvm.service.storage.entry import Kind, Record, pack_close
from onlinesvm.service.storage.segment import (
    Segment,
    closing_of,
    drop_segments,
    header_of,
    records_of,
    segment_name,
)
from onlinesvm.snapshot.reader import read
from onlinesvm.snapshot.writer import write
from tests.daemons import digest_of, eventually, segment_path, snapshot_path
from tests.logs import (
    EIO,
    ENOSPC,
    Batch,
    Disk,
    FaultyFiles,
    bench,
    digest_after,
    newest_snapshot,
    recovered,
    scratch,
    segments_of,
)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Pytest's, in memory."""
    with scratch() as folder:
        yield folder


def batches(n: int, start: int = 0, word: str = "f") -> list[Batch]:
    return [[([f"{word}{i % 3}", f"{word}n{i}"], 1 if i % 2 else -1)] for i in range(start, n)]


def opened(folder: Path) -> tuple[str, int]:
    """Digest and position of what a start makes of `folder`."""
    with bench(folder) as found:
        return digest_of(found.model), found.model.position


FIRST = (1, 6, 10)


def three(folder: Path, *, word: str = "f", fsync: str = "never", snapshot: bool = False) -> None:
    """A folder of three lives of three entries each: segments from LSN 1, 6 and 10."""
    for life in range(3):
        with bench(folder, fsync=fsync) as found:
            found.learn(*batches(3 * life + 3, 3 * life, word))
            if snapshot and life == 1:
                found.snapshot()


# The chain.


@pytest.mark.parametrize("fsync", ["always", "everysec", "never"])
def test_each_segment_names_the_one_before_and_the_next(tmp_path: Path, fsync: str) -> None:
    three(tmp_path, fsync=fsync)
    segments = segments_of(tmp_path)
    headers = [header_of(path, start) for start, path in segments]
    assert [start for start, _ in segments] == [1, 6, 10]
    assert headers[0].previous is None
    for i in (0, 1):
        before, path = headers[i + 1].previous, segments[i][1]
        closing = closing_of(path, segments[i][0])
        assert before is not None and closing is not None
        assert (before.first, before.salt) == (headers[i].first, headers[i].salt)
        assert (before.size, path.stat().st_size) == (closing.offset, closing.end)
        following = headers[i + 1]
        assert (closing.lsn, closing.next_salt) == (following.first, following.salt)
        assert before.lsn + 1 == following.first
    assert closing_of(segments[2][1], 10) is None
    assert len({header.folder for header in headers}) == 1
    assert [header.term for header in headers] == [1, 2, 3]


@pytest.mark.parametrize("missing", [1, 2, (1, 2)], ids=str)
def test_missing_segments_are_named_and_gone_on_without(tmp_path: Path, missing: Any) -> None:
    three(tmp_path)
    gone = missing if isinstance(missing, tuple) else (missing,)
    for i in gone:
        segment_path(tmp_path, FIRST[i]).unlink()
    first = segment_name(FIRST[gone[0]])
    for _ in range(2):
        with pytest.raises(LogError, match=f"{first}: byte 0: it is missing: .* recover"):
            opened(tmp_path)
    report = recovered(tmp_path)
    left = 3 * gone[0]
    assert report["position"] == left
    assert report["lsn"] == FIRST[gone[0]] - 1
    assert report["lost_entries"] == (8 if missing == 1 else 0)  # as far as it can be known
    assert report["unreadable_entries"] == (4 if missing == 1 else 0)
    assert report["lost_samples"] == (3 if missing == 1 else 0)
    assert f"{first}: byte 0: it is missing" in report["damage"]
    for n in (left, left + 1):
        assert opened(tmp_path) == (digest_after(batches(n)), n)
        with bench(tmp_path) as found:
            found.learn(batches(n + 1)[n])
    assert recovered(tmp_path)["damage"] is None


def test_a_snapshot_alone_is_a_model_to_go_on_from(tmp_path: Path) -> None:
    three(tmp_path / "a", snapshot=True)
    folder = tmp_path / "b"
    shutil.copy(newest_snapshot(tmp_path / "a"), snapshot_path(folder, 9))
    for n in (6, 7, 8):
        assert opened(folder) == (digest_after(batches(n)), n)
        with bench(folder) as found:
            found.learn(batches(n + 1)[n])


def renamed(batch: Batch) -> Batch:
    return [([name.replace("f", "g") for name in features], label) for features, label in batch]


@pytest.mark.parametrize("taken", [(1,), (2,), (1, 2)], ids=str)
def test_segments_of_another_folder(tmp_path: Path, taken: tuple[int, ...]) -> None:
    """The same entries under other names."""
    three(tmp_path / "a")
    three(tmp_path / "b", word="g")
    folder = tmp_path / "a"
    for i in taken:
        shutil.copy(segment_path(tmp_path / "b", FIRST[i]), segment_path(folder, FIRST[i]))
    first = segment_name(FIRST[taken[0]])
    with pytest.raises(LogError, match=f"{first}: byte 0: it is not the segment that"):
        opened(folder)
    assert recovered(folder)["position"] == 3 * taken[0]
    assert opened(folder) == (digest_after(batches(3 * taken[0])), 3 * taken[0])


def without_closings(folder: Path) -> None:
    for start, path in segments_of(folder):
        closing = closing_of(path, start)
        if closing is not None:
            path.write_bytes(path.read_bytes()[: closing.offset])


def test_a_strange_segment_is_noticed_by_what_it_goes_on_from(tmp_path: Path) -> None:
    three(tmp_path / "a")
    three(tmp_path / "b", word="g")
    folder = tmp_path / "a"
    shutil.copy(segment_path(tmp_path / "b", 10), segment_path(folder, 10))
    without_closings(folder)
    with pytest.raises(LogError, match=f"{segment_name(10)}: byte 0: it goes on from another"):
        opened(folder)
    assert recovered(folder)["position"] == 6


def young(folder: Path) -> None:
    """A folder with a model that has learned nothing, and its snapshot."""
    with bench(folder) as found:
        found.snapshot()


def test_two_young_folders_do_not_mix(tmp_path: Path) -> None:
    """Nothing was learned in either; the ids alone tell them apart."""
    for name in "ab":
        young(tmp_path / name)
    a, b = tmp_path / "a", tmp_path / "b"
    foreign = shutil.copytree(a, tmp_path / "log")
    shutil.copy(segment_path(b, 1), segment_path(foreign, 1))
    with pytest.raises(LogError, match="it is of another state folder: expected folder"):
        opened(foreign)
    foreign = shutil.copytree(a, tmp_path / "snapshot")
    shutil.copy(snapshot_path(b, 2), snapshot_path(foreign, 2))
    with pytest.raises(LogError, match="it is of another state folder: expected folder"):
        opened(foreign)
    assert recovered(foreign)["position"] == 0
    assert opened(foreign) == (digest_after([]), 0)
    for name in "ab":
        assert opened(tmp_path / name) == (digest_after([]), 0)


def test_a_snapshot_of_a_copy_that_went_on_alone_is_refused(tmp_path: Path) -> None:
    """The copy has the same folder id and the same model id, and other entries."""
    three(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for name, word in (("a", "f"), ("b", "g")):
        with bench(tmp_path / name) as found:
            found.learn(*batches(12, 9, word))
            found.snapshot()
            found.learn(*batches(13, 12, word))
    a, b = tmp_path / "a", tmp_path / "b"
    lsn = int(newest_snapshot(b).name[9:29])
    shutil.copy(newest_snapshot(b), snapshot_path(a, lsn))
    with pytest.raises(LogError, match="it is of another log than the snapshot of model default"):
        opened(a)


def test_a_model_of_another_id_is_refused(tmp_path: Path) -> None:
    three(tmp_path, snapshot=True)
    path = newest_snapshot(tmp_path)
    taken = read(path)
    taken.id = bytes(16)
    write(path, taken, OnlineSVM.check_snapshot)
    with pytest.raises(StateError, match="model default: expected id 0000"):
        opened(tmp_path)


def test_a_snapshot_under_another_name_is_no_model(tmp_path: Path) -> None:
    three(tmp_path, snapshot=True)
    (tmp_path / "models" / "default").rename(tmp_path / "models" / "other")
    with bench(tmp_path) as found:
        assert digest_of(found.model) == digest_after(batches(9))
        (answer,) = found.turn(("stats", None, {"model": "other"}, b"peer"))
        assert answer.code == "DAMAGED"
        assert "model other: none of its 1 snapshots" in answer.message


def test_entries_that_were_refused_and_not_cut_off_are_ignored(tmp_path: Path) -> None:
    disk = Disk()
    with bench(tmp_path, fsync="always", files=FaultyFiles(disk)) as found:
        found.learn(*batches(3))
        disk.broken = {"sync": EIO, "truncate": EIO}
        assert found.numbered("p", 1, []).code == "NOT_DURABLE"
        disk.broken = {}
        clock = iter(range(0, 1000, 10))

        def mended() -> bool:
            found.service.tick(float(next(clock)))
            return found.log.failure is None

        eventually(mended, "learning to be possible again")
        found.learn(*batches(5, 3))
    newest = newest_snapshot(tmp_path)
    newest.write_bytes(newest.read_bytes()[:-1])
    with bench(tmp_path) as found:
        assert found.resume("p") == {"sequence": 0, "samples": 0, "cursor": None}
        assert digest_of(found.model) == digest_after(batches(5))


@pytest.mark.parametrize("fsync", ["always", "never"])
def test_what_cannot_be_closed_is_left_open(tmp_path: Path, fsync: str) -> None:
    disk = Disk()
    disk.broken = {"close": ENOSPC}
    for n in (0, 3):
        with bench(tmp_path, fsync=fsync, files=FaultyFiles(disk)) as found:
            found.learn(*batches(n + 3, n))
    assert closing_of(segment_path(tmp_path, 1), 1) is None
    assert opened(tmp_path) == (digest_after(batches(6)), 6)


def test_a_closing_entry_is_found_again() -> None:
    segment = Segment(bytes(16), 1, 2, 5)
    raw = segment.pack() + pack_close(segment.salt, 2, 7, 8)
    (closing,) = records_of(memoryview(raw), segment)
    assert isinstance(closing, Record)
    assert (closing.kind, closing.lsn, closing.next_salt) == (Kind.CLOSE, 7, 8)


def test_a_segment_that_is_dropped_leaves_a_copy_of_it_alone(tmp_path: Path) -> None:
    """A hard link, as tools for backups make them."""
    three(tmp_path / "state")
    path, copy = segment_path(tmp_path / "state", 1), tmp_path / "copy"
    copy.hardlink_to(path)
    raw = path.read_bytes()
    with open(path, "rb") as reader:
        drop_segments(path.parent, 5)
        assert not path.exists()
        assert copy.read_bytes() == reader.read() == raw
        copy.unlink()
    with open(path.with_name(segment_name(6)), "rb") as reader:
        drop_segments(path.parent, 9)
        assert reader.read() == b""  # nobody else has it: its room is free at once
    assert [start for start, _ in segments_of(tmp_path / "state")] == [10]


# Snapshots and segments of which only the name was written, when a machine died.


@pytest.mark.parametrize("inside", [False, True], ids=["at its end", "in it"])
def test_a_segment_that_was_lost_under_its_snapshot(tmp_path: Path, inside: bool) -> None:
    """The snapshot was made durable, the segment of its position was not."""
    with bench(tmp_path) as found:
        found.learn(*batches(3))
    with bench(tmp_path) as found:
        found.learn(*batches(6 if inside else 3, 3))
        if not inside:
            found.numbered("p", 1, [])
        found.snapshot()
    without_closings(tmp_path)
    segment_path(tmp_path, 6).write_bytes(b"")
    n = 6 if inside else 3
    for more in range(3):
        assert opened(tmp_path) == (digest_after(batches(n)), n)
        if more:
            with bench(tmp_path) as found:
                found.learn(batches(n + 1)[n])
            n += 1
    assert opened(tmp_path) == (digest_after(batches(n)), n)
