"""The chain of segments: what is missing, or of another journal, is noticed; old formats load."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from onlinesvm.service.errors import JournalError
from onlinesvm.service.storage.segment import (
    Closing,
    Segment,
    closing_of,
    drop_segments,
    header_of,
    records_of,
    segments_in,
)
from onlinesvm.service.storage.state_dir import Store
from tests.daemons import digest_of, eventually, segment_name, snapshot_name
from tests.golden import make
from tests.journals import EIO, ENOSPC, Batch, Disk, FaultyFiles, bench, digest_after, scratch


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


def recovered(folder: Path) -> dict[str, Any]:
    with Store(folder) as store:
        return store.recover()


def three(folder: Path, *, word: str = "f", fsync: str = "never", snapshot: bool = False) -> None:
    """A folder of three segments of three records each, from three lives."""
    for life in range(3):
        with bench(folder, fsync=fsync) as found:
            found.learn(*batches(3 * life + 3, 3 * life, word))
            if snapshot and life == 1:
                found.snapshot()


# The chain.


@pytest.mark.parametrize("fsync", ["always", "everysec", "never"])
def test_each_segment_names_the_one_before_and_the_next(tmp_path: Path, fsync: str) -> None:
    three(tmp_path, fsync=fsync)
    segments = segments_in(tmp_path)
    headers = [header_of(path, start) for start, path in segments]
    assert [start for start, _ in segments] == [0, 3, 6]
    assert headers[0].before is None
    for i in (0, 1):
        before, path = headers[i + 1].before, segments[i][1]
        closing = closing_of(path, segments[i][0])
        assert before is not None and closing is not None
        assert (before.position, before.mark) == (headers[i].position, headers[i].mark)
        assert (before.size, path.stat().st_size) == (closing.offset, closing.end)
        assert closing[2:] == (headers[i + 1].position, headers[i + 1].mark)
    assert closing_of(segments[2][1], 6) is None


def test_a_snapshot_tells_the_end_of_the_journal(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        assert found.store.take(found.model).journal is None
        found.learn(*batches(3))
        found.snapshot()
        end = found.store.journal.end
        assert found.store.take(found.model).journal == end
        assert end is not None
        path = segments_in(tmp_path)[0][1]
        assert end[:3] == (0, header_of(path, 0).mark, path.stat().st_size)
    with bench(tmp_path) as found:  # also where nothing was learned since
        assert found.store.take(found.model).journal == end


@pytest.mark.parametrize("missing", [1, 2, (1, 2)], ids=str)
def test_missing_segments_are_named_and_gone_on_without(tmp_path: Path, missing: Any) -> None:
    three(tmp_path)
    gone = missing if isinstance(missing, tuple) else (missing,)
    for i in gone:
        (tmp_path / segment_name(3 * i)).unlink()
    first = segment_name(3 * gone[0])
    for _ in range(2):
        with pytest.raises(JournalError, match=f"{first}: byte 0: it is missing: .* recover"):
            opened(tmp_path)
    report = recovered(tmp_path)
    left = 3 * gone[0]
    assert report["position"] == left
    assert report["lost_samples"] == (6 if missing == 1 else 0)  # as far as it can be known
    assert f"{first}: byte 0: it is missing" in report["damage"]
    for n in (left, left + 1):
        assert opened(tmp_path) == (digest_after(batches(n)), n)
        with bench(tmp_path) as found:
            found.learn(batches(n + 1)[n])
    assert recovered(tmp_path)["damage"] is None


def test_a_last_segment_that_only_the_snapshot_knows_is_missing(tmp_path: Path) -> None:
    """The daemon died before it had closed the one before."""
    three(tmp_path)
    for start, path in segments_in(tmp_path):
        closing = closing_of(path, start)
        if closing is not None:
            path.write_bytes(path.read_bytes()[: closing.offset])
    with bench(tmp_path) as found:
        found.snapshot()
    digest = opened(tmp_path)[0]
    (tmp_path / segment_name(6)).unlink()
    with pytest.raises(JournalError, match=f"{segment_name(6)}: byte 0: it is missing: the snap"):
        opened(tmp_path)
    assert recovered(tmp_path)["digest"] == digest
    assert opened(tmp_path) == (digest, 9)


def test_a_snapshot_alone_is_a_model_to_go_on_from(tmp_path: Path) -> None:
    three(tmp_path / "a", snapshot=True)
    folder = tmp_path / "b"
    folder.mkdir()
    shutil.copy(tmp_path / "a" / snapshot_name(6), folder)
    for n in (6, 7, 8):
        assert opened(folder) == (digest_after(batches(n)), n)
        with bench(folder) as found:
            found.learn(batches(n + 1)[n])


def renamed(batch: Batch) -> Batch:
    return [([name.replace("f", "g") for name in features], label) for features, label in batch]


@pytest.mark.parametrize("taken", [(1,), (2,), (1, 2)], ids=str)
def test_segments_of_another_journal_whose_totals_join(
    tmp_path: Path, taken: tuple[int, ...]
) -> None:
    """The same samples under other names: all totals are the same."""
    three(tmp_path / "a")
    three(tmp_path / "b", word="g")
    folder = tmp_path / "a"
    for i in taken:
        shutil.copy(tmp_path / "b" / segment_name(3 * i), folder)
    first = segment_name(3 * taken[0])
    with pytest.raises(JournalError, match=f"{first}: byte 0: it is another than the one that"):
        opened(folder)
    assert recovered(folder)["position"] == 3 * taken[0]
    assert opened(folder) == (digest_after(batches(3 * taken[0])), 3 * taken[0])


def without_closings(folder: Path) -> None:
    for start, path in segments_in(folder):
        closing = closing_of(path, start)
        if closing is not None:
            path.write_bytes(path.read_bytes()[: closing.offset])


def test_a_strange_segment_is_noticed_by_what_it_goes_on_from(tmp_path: Path) -> None:
    three(tmp_path / "a")
    three(tmp_path / "b", word="g")
    folder = tmp_path / "a"
    shutil.copy(tmp_path / "b" / segment_name(6), folder)
    without_closings(folder)
    with pytest.raises(JournalError, match=f"{segment_name(6)}: byte 0: the segment that it goes"):
        opened(folder)
    assert recovered(folder)["position"] == 6


@pytest.mark.parametrize("at", ["at its end", "in a segment", "at a beginning"])
def test_a_snapshot_of_another_journal(tmp_path: Path, at: str) -> None:
    """Its position lies where records of this journal end, and what is behind would be applied."""
    position = 6 if at == "at a beginning" else 5 if at == "in a segment" else 9
    for folder, word in ((tmp_path / "a", "f"), (tmp_path / "b", "g")):
        three(folder, word=word)
    with bench(tmp_path / "c") as found:
        found.learn(*batches(position, word="g"))
        found.snapshot()
    folder = tmp_path / "a"
    with bench(folder) as found:
        found.learn(batches(10)[9])
    (folder / snapshot_name(0)).unlink()
    shutil.copy(tmp_path / "c" / snapshot_name(position), folder)
    start = {9: 9, 5: 3, 6: 6}[position]
    with pytest.raises(JournalError, match=f"{segment_name(start)}: byte .* another journal"):
        opened(folder)
    assert recovered(folder)["position"] == position
    assert opened(folder) == (digest_after(batches(position, word="g")), position)


def test_records_that_were_refused_and_not_cut_off_are_void(tmp_path: Path) -> None:
    """Also one without samples, which its position does not tell from what was acknowledged."""
    disk = Disk()
    with bench(tmp_path, fsync="always", files=FaultyFiles(disk)) as found:
        found.learn(*batches(3))
        disk.broken = {"sync": EIO, "truncate": EIO}
        assert found.numbered("p", 1, []).code == "NOT_DURABLE"
        disk.broken = {}
        clock = iter(range(0, 1000, 10))

        def mended() -> bool:
            found.service.tick(float(next(clock)))
            return found.store.journal.failure is None

        eventually(mended, "learning to be possible again")
        found.learn(*batches(5, 3))
    newest = tmp_path / snapshot_name(3)
    newest.write_bytes(newest.read_bytes()[:-1])
    with bench(tmp_path) as found:
        assert found.resume("p") == {"sequence": 0, "samples": 0}
        assert digest_of(found.model) == digest_after(batches(5))


@pytest.mark.parametrize("fsync", ["always", "never"])
def test_what_cannot_be_closed_is_left_open(tmp_path: Path, fsync: str) -> None:
    disk = Disk()
    disk.broken = {"close": ENOSPC}
    for n in (0, 3):
        with bench(tmp_path, fsync=fsync, files=FaultyFiles(disk)) as found:
            found.learn(*batches(n + 3, n))
    assert closing_of(tmp_path / segment_name(0), 0) is None
    assert opened(tmp_path) == (digest_after(batches(6)), 6)


def test_a_closing_record_is_found_again() -> None:
    segment = Segment(1, 2, 3, 4, 5)
    raw = segment.pack() + Closing.pack(segment.mark, 7, 8)
    (closing,) = records_of(memoryview(raw), segment)
    assert isinstance(closing, Closing)
    assert closing[2:] == (7, 8)


def test_a_segment_that_is_dropped_leaves_a_copy_of_it_alone(tmp_path: Path) -> None:
    """A hard link, as tools for backups make them."""
    three(tmp_path / "state")
    path, copy = tmp_path / "state" / segment_name(0), tmp_path / "copy"
    copy.hardlink_to(path)
    raw = path.read_bytes()
    with open(path, "rb") as reader:
        drop_segments(path.parent, 3)
        assert not path.exists()
        assert copy.read_bytes() == reader.read() == raw
        copy.unlink()
    with open(path.with_name(segment_name(3)), "rb") as reader:
        drop_segments(path.parent, 6)
        assert reader.read() == b""  # nobody else has it: its room is free at once
    assert [start for start, _ in segments_in(path.parent)] == [6]


# Snapshots and segments of which only the name was written, when a machine died.


@pytest.mark.parametrize("behind", [False, True], ids=["at its end", "in it"])
def test_a_segment_that_was_lost_under_its_snapshot(tmp_path: Path, behind: bool) -> None:
    """The snapshot was made durable, the segment that it was taken behind was not."""
    with bench(tmp_path) as found:
        found.learn(*batches(3))
    with bench(tmp_path) as found:
        found.learn(*batches(6 if behind else 3, 3))
        if not behind:
            found.numbered("p", 1, [])
        found.snapshot()
    without_closings(tmp_path)
    (tmp_path / segment_name(3)).write_bytes(b"")
    n = 6 if behind else 3
    for more in range(3):
        assert opened(tmp_path) == (digest_after(batches(n)), n)
        if more:
            with bench(tmp_path) as found:
                found.learn(batches(n + 1)[n])
            n += 1
    assert opened(tmp_path) == (digest_after(batches(n)), n)


# Version 1.

OLD: dict[str, Any] = json.loads((make.FOLDER / "v1-state" / "state.json").read_text())


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A state folder of version 1: two snapshots, three segments, numbered requests."""
    return Path(shutil.copytree(make.FOLDER / "v1-state", tmp_path / "state"))


def test_a_folder_of_version_1_goes_on(old: Path) -> None:
    for _ in range(2):
        with bench(old, max_producers=9) as found:
            assert digest_of(found.model) == OLD["digest"]
            assert [found.resume(p) for p in "pq"] == [OLD["producers"][p] for p in "pq"]
    with bench(old, max_producers=9) as found:
        found.learn(*batches(5))
        digest = digest_of(found.model)
    assert header_of(old / segment_name(60), 60).before is not None
    assert opened(old)[0] == digest


def test_version_1_replays_from_the_older_snapshot(old: Path) -> None:
    newest = old / snapshot_name(40)
    newest.write_bytes(newest.read_bytes()[:-1])
    assert opened(old) == (OLD["digest"], 60)


def cut(path: Path) -> None:
    """Its last record has no samples, so that version 1 does not miss it alone."""
    path.write_bytes(path.read_bytes()[:-120])


@pytest.mark.parametrize(
    ("harm", "position"),
    [
        (lambda folder: (folder / segment_name(28)).unlink(), 28),
        (lambda folder: cut(folder / segment_name(28)), 36),
    ],
    ids=["missing", "cut"],
)
def test_damage_in_version_1_is_recovered_from(
    old: Path, harm: Callable[[Path], None], position: int
) -> None:
    (old / snapshot_name(40)).unlink()
    harm(old)
    with pytest.raises(JournalError):
        opened(old)
    report = recovered(old)
    assert report["position"] == position
    assert report["lost_samples"] == 60 - position
    assert opened(old)[1] == position
