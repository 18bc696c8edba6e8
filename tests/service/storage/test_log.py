"""The log: what was acknowledged is replayed bit for bit; damage is cut, or refused."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM
from onlinesvm.service.errors import LogError, StateError
from onlinesvm.service.protocol import RequestError
from onlinesvm.service.storage.posix import Buffer
from onlinesvm.service.storage.segment import CLOSE_BYTES, HEADER_BYTES, segment_name
from tests.daemons import digest_of, eventually, files_in, segment_path, snapshot_path
from tests.logs import (
    EIO,
    ENOSPC,
    Batch,
    Bench,
    Disk,
    FaultyFiles,
    Planned,
    bench,
    body_of,
    digest_after,
    newest_snapshot,
    recovered,
    scratch,
    segments_of,
)
from tests.strategies import WIDE, configurations, samples


def small(n: int, start: int = 0) -> list[Batch]:
    """A small run: one or two samples a batch, features old and new."""
    return [
        [([f"f{i % 3}", f"n{i}"], 1 if i % 2 else -1), ({"x": 0.5 * i}, 1)][: 1 + i % 2]
        for i in range(start, start + n)
    ]


def opened(folder: Path) -> tuple[str, int]:
    """Digest and position of what a start makes of `folder`."""
    with bench(folder) as found:
        return digest_of(found.model), found.model.position


def copied(folder: Path, target: Path, name: str, raw: bytes) -> Path:
    """A copy of `folder` whose file `name` holds `raw`."""
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(folder, target)
    (target / name).write_bytes(raw)
    return target


# Replay.


@settings(max_examples=40)
@given(
    config=configurations(),
    turns=st.lists(st.lists(st.lists(samples(), max_size=3), max_size=3), max_size=5),
    restarts=st.sets(st.integers(0, 4)),
    snapshots=st.sets(st.integers(0, 4)),
)
def test_a_start_gives_the_uninterrupted_model(
    config: dict[str, Any],
    turns: list[list[list[Any]]],
    restarts: set[int],
    snapshots: set[int],
) -> None:
    whole = OnlineSVM(limits=WIDE, **config)
    with scratch() as folder:
        pending = list(enumerate(turns))
        while True:
            with bench(folder, **config) as found:
                assert digest_of(found.model) == digest_of(whole)
                while pending:
                    number, turn = pending.pop(0)
                    found.learn(*turn)
                    for batch in turn:
                        whole.learn(batch)
                    if number in snapshots:
                        found.snapshot()
                    if number in restarts:
                        break
                else:
                    return


def test_limits_that_changed_do_not_matter_to_a_replay(tmp_path: Path) -> None:
    batches = small(6)
    with bench(tmp_path) as found:
        found.learn(*batches)
    tight = Limits(
        max_features_per_sample=1, max_samples_per_batch=1, max_name_bytes=1, max_header_bytes=10
    )
    with bench(tmp_path, limits=tight) as found:
        assert digest_of(found.model) == digest_after(batches)


def test_a_changed_bound_holds_from_where_it_changed(tmp_path: Path) -> None:
    """Also where the newest snapshot is lost and the older one is replayed across the change."""
    model = OnlineSVM(limits=Limits(max_features=3))
    with bench(tmp_path, limits=Limits(max_features=3)) as found:
        found.learn(*small(4))
        for batch in small(4):
            model.learn(batch)
    for most, start in ((7, 4), (5, 8), (5, 12), (100, 16)):
        model.limit(Limits(max_features=most))
        with bench(tmp_path, limits=Limits(max_features=most)) as found:
            found.learn(*small(4, start))
            if most == 7:
                found.snapshot()
        for batch in small(4, start):
            model.learn(batch)
    with bench(tmp_path, limits=Limits(max_features=100)) as found:
        assert digest_of(found.model) == digest_of(model)
    newest = newest_snapshot(tmp_path)
    newest.write_bytes(newest.read_bytes()[:-1])
    with bench(tmp_path, limits=Limits(max_features=100)) as found:
        assert digest_of(found.model) == digest_of(model)


def test_clipping_holds_from_where_it_changed(tmp_path: Path) -> None:
    """Also where the newest snapshot is lost and the older one is replayed across the change."""
    batch = [({"a": 3.0, "b": -50.0}, 1), ({"a": 50.0, "c": 1.5}, -1, 9.0)]
    steps = [
        Limits(),
        Limits(max_value=4, clip=True),
        Limits(max_value=1e50, max_importance=2, clip=True),
        Limits(max_value=1000),
        Limits(max_value=4, max_importance=2, clip=True),
    ]
    model = OnlineSVM()
    for i, limits in enumerate(steps):
        model.limit(limits)
        with bench(tmp_path, limits=limits) as found:
            found.learn(batch)
            if i == 1:
                found.snapshot()
        model.learn(batch)
    for limits in (steps[-1], Limits(max_value=2)):
        with bench(tmp_path, limits=limits) as found:
            assert digest_of(found.model) == digest_of(model)
    newest = newest_snapshot(tmp_path)
    newest.write_bytes(newest.read_bytes()[:-1])
    with bench(tmp_path) as found:
        assert digest_of(found.model) == digest_of(model)


def test_a_bound_that_only_refuses_is_in_no_entry(tmp_path: Path) -> None:
    for limits, lsn in (
        (Limits(), 2), (Limits(max_value=5), 3), (Limits(max_importance=2), 4),
        (Limits(max_value=5, clip=True), 6), (Limits(max_value=5, clip=True), 7), (Limits(), 9),
    ):  # fmt: skip
        with bench(tmp_path, limits=limits) as found:
            assert found.log.lsn == lsn


def test_a_damaged_newest_snapshot_costs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with bench(tmp_path) as found:
        for i in range(4):
            found.learn(*small(3, 3 * i))
            found.snapshot()
        found.learn(*small(3, 12))
    newest = newest_snapshot(tmp_path)
    newest.write_bytes(newest.read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        assert opened(tmp_path) == (digest_after(small(15)), 22)
    assert f"snapshot passed over: {newest}" in caplog.text


def test_a_log_too_short_for_a_damaged_snapshot_is_refused(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        found.learn(*small(3))
        found.snapshot()
        found.learn(*small(3, 3))
        found.snapshot()
    last = segments_of(tmp_path)[-1][1]
    last.write_bytes(last.read_bytes()[:-1])
    newest = newest_snapshot(tmp_path)
    newest.write_bytes(newest.read_bytes()[:-1])
    with pytest.raises(StateError, match="up to LSN 8, which a damaged snapshot holds"):
        opened(tmp_path)
    report = recovered(tmp_path)
    assert (report["position"], report["lsn"], report["lost_entries"]) == (7, 7, 1)
    assert (report["unreadable_entries"], report["lost_samples"]) == (1, 0)
    assert opened(tmp_path) == (digest_after(small(5)), 7)


def test_segments_before_the_older_snapshot_go(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        for i in range(5):
            found.learn(*small(2, 2 * i))
            found.snapshot()
        found.learn(*small(1, 10))
    kept = [snapshot_path(tmp_path, lsn) for lsn in (10, 12)]
    kept += [segment_path(tmp_path, first) for first in (11, 13)]
    kept += [tmp_path / "log" / f"{12:020}.held"]
    assert files_in(tmp_path) == {"LOCK", *(str(path.relative_to(tmp_path)) for path in kept)}


def test_a_long_log_asks_for_a_snapshot(tmp_path: Path) -> None:
    with bench(tmp_path, log_bytes=100_000) as found:
        found.learn(*small(10))
        found.service.tick(0.0)
        assert not found.service.snapshotter.is_running
        while found.service.snapshotter.log_bytes <= 100_000:
            found.learn(*small(10))
        found.service.tick(0.0)
        lsn = found.log.lsn

        def written() -> bool:
            found.service.tick(0.0)
            return snapshot_path(tmp_path, lsn).exists()

        eventually(written, "a snapshot")


def test_requests_that_change_nothing_are_not_logged(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        found.learn([])
        found.turn(("predict", body_of([])[:1], {}, b"peer"))
        assert found.log.lsn == 2  # the term and the model


def test_requests_without_samples_fill_no_disk(tmp_path: Path) -> None:
    """They count towards a snapshot, which lets the segments go."""
    with bench(tmp_path, log_bytes=10_000) as found:
        for sequence in range(1, 2000):
            found.numbered("p", sequence, [])
            found.service.tick(0.0)
        found.settle()
        assert found.model.position == 0
        assert segments_of(tmp_path)[0][0] > 2
        size = sum(path.stat().st_size for _, path in segments_of(tmp_path))
        assert size < found.log.bytes / 2
    with bench(tmp_path) as found:
        assert found.resume("p") == {"sequence": 1999, "samples": 0, "cursor": None}


def test_a_snapshot_falls_due_by_time_where_no_sample_came(tmp_path: Path) -> None:
    with bench(tmp_path, every_s=60.0) as found:
        found.numbered("p", 1, [])
        found.service.tick(time.monotonic() + 61.0)
        found.settle()
        lsn = found.log.lsn
    assert newest_snapshot(tmp_path) == snapshot_path(tmp_path, lsn)


def test_segments_roll_by_time(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        found.learn(*small(1))
        found.log._segment_s = 0.0
        found.learn(*small(1, 1))
        found.learn(*small(1, 2))
    assert [first for first, _ in segments_of(tmp_path)] == [1, 4, 5]
    assert opened(tmp_path) == (digest_after(small(3)), POSITIONS[3])


def test_many_starts_leave_few_segments(tmp_path: Path) -> None:
    for _ in range(70):
        opened(tmp_path)
    assert len(segments_of(tmp_path)) < 70
    assert newest_snapshot(tmp_path).exists()


# Every byte of a small run.


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Pytest's, in memory."""
    with scratch() as folder:
        yield folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of LSN 6, segments from LSN 1, 7 and 10; 11 batches of 1 or 2 samples."""
    folder = tmp_path_factory.mktemp("run") / "state"
    with bench(folder, rule="sgd") as found:  # of few arrays, which are read at every start
        found.learn(*small(3))
        found.numbered("p", 1, small(1, 3)[0])
        found.snapshot()
        found.learn(*small(3, 4))
    with bench(folder) as found:
        found.learn(*small(2, 7))
        found.numbered("p", 2, small(1, 9)[0])
        found.learn(*small(1, 10))
    return folder


WHOLE = [digest_after(small(n), rule="sgd") for n in range(12)]
POSITIONS = [sum(map(len, small(n))) for n in range(12)]


# A third of the bytes meets every field of every entry.
EVERY_BYTE = pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.thorough)])


def segments_with_bytes(run: Path) -> Iterator[tuple[str, bytes]]:
    for _, path in segments_of(run):
        yield f"log/{path.name}", path.read_bytes()


@pytest.mark.long
@EVERY_BYTE
def test_a_log_cut_at_every_byte(run: Path, tmp_path: Path, step: int) -> None:
    segments = list(segments_with_bytes(run))
    assert len(segments) == 3
    for name, raw in segments:
        for size in range(0, len(raw), step):
            folder = copied(run, tmp_path / "cut", name, raw[:size])
            if name == segments[-1][0] and size < HEADER_BYTES:
                # The segment before tells that it was whole once.
                with pytest.raises(LogError, match=f"{name}: byte 0"):
                    opened(folder)
            elif name == segments[-1][0]:
                digest, position = opened(folder)
                batches = POSITIONS.index(position)
                assert 7 <= batches < 11
                assert digest == WHOLE[batches]
                assert opened(folder) == (digest, position)  # and it goes on from there
            elif name == segments[0][0] or size >= len(raw) - CLOSE_BYTES:
                # The snapshot has it, or all records are there.
                assert opened(folder) == (WHOLE[11], POSITIONS[11])
            else:
                with pytest.raises(LogError, match=f"{name}: byte"):
                    opened(folder)


@pytest.mark.long
@EVERY_BYTE
def test_a_log_flipped_at_every_byte(run: Path, tmp_path: Path, step: int) -> None:
    """Only the last entry can be taken for one that a crash left partial."""
    segments = list(segments_with_bytes(run))
    outcomes = set()
    for name, raw in segments:
        for i in range(0, len(raw), step):
            flipped = raw[:i] + bytes([raw[i] ^ (1 << i % 8)]) + raw[i + 1 :]
            folder = copied(run, tmp_path / "flipped", name, flipped)
            try:
                digest, position = opened(folder)
            except LogError as error:
                assert name in str(error)
                assert f"onlinesvm recover --state {folder}" in str(error)
                assert name != segments[0][0]
                outcomes.add("refused")
                report = recovered(folder)
                batches = POSITIONS.index(report["position"])
                assert opened(folder) == (WHOLE[batches], POSITIONS[batches])
                # The whole entries after the damage tell how many there were.
                assert report["lsn"] + report["lost_entries"] == 14
                assert report["lost_samples"] <= POSITIONS[11] - POSITIONS[batches]
                aside = [path for path in report["set_aside"] if name in path]
                assert len(aside) == 1
                assert Path(aside[0]).read_bytes() == flipped
            else:
                batches = POSITIONS.index(position)
                assert digest == WHOLE[batches]
                assert batches == 11 or (batches == 10 and name == segments[-1][0])
                outcomes.add(batches)
    assert outcomes == {"refused", 10, 11}


def test_every_snapshot_flipped_is_made_up_for(run: Path, tmp_path: Path) -> None:
    newest = newest_snapshot(run)
    raw = newest.read_bytes()
    for i in range(0, len(raw), 29):
        flipped = raw[:i] + bytes([raw[i] ^ 0x10]) + raw[i + 1 :]
        folder = copied(run, tmp_path / "flipped", str(newest.relative_to(run)), flipped)
        assert opened(folder) == (WHOLE[11], POSITIONS[11])


def test_a_torn_tail_is_logged(run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name, raw = list(segments_with_bytes(run))[-1]
    folder = copied(run, tmp_path / "torn", name, raw[:-3])
    with caplog.at_level(logging.WARNING):
        opened(folder)
    (record,) = caplog.records
    assert f"{folder / name}: byte " in record.getMessage()
    assert "bytes are cut off" in record.getMessage()
    left = (folder / name).read_bytes()[:-CLOSE_BYTES]
    assert left == raw[: len(left)]


@pytest.mark.parametrize("zeros", [1, 51, 52, 5000])
def test_zeros_after_the_last_record_are_a_torn_tail(run: Path, tmp_path: Path, zeros: int) -> None:
    name, raw = list(segments_with_bytes(run))[-1]
    folder = copied(run, tmp_path / "zeros", name, raw + bytes(zeros))
    assert opened(folder) == (WHOLE[11], POSITIONS[11])
    assert (folder / name).read_bytes()[:-CLOSE_BYTES] == raw


@pytest.mark.parametrize("raw", [b"", b"onls", bytes(HEADER_BYTES), bytes(4096)])
def test_a_segment_of_which_only_the_name_was_written(
    run: Path, tmp_path: Path, raw: bytes
) -> None:
    folder = copied(run, tmp_path / "named", f"log/{segment_name(15)}", raw)
    assert opened(folder) == (WHOLE[11], POSITIONS[11])


@pytest.mark.parametrize("raw", [b"", b"onls", bytes(HEADER_BYTES)], ids=["empty", "cut", "zeros"])
def test_an_emptied_first_segment_is_damage_and_no_new_folder(tmp_path: Path, raw: bytes) -> None:
    with bench(tmp_path / "state") as found:
        found.learn(*small(2))
    first = tmp_path / "state" / "log" / segment_name(1)
    first.write_bytes(raw)
    with pytest.raises(LogError, match="byte 0: expected a segment's header"):
        opened(tmp_path / "state")
    with pytest.raises(StateError, match="got none whole: start in another folder"):
        recovered(tmp_path / "state")
    assert first.read_bytes() == raw


def test_a_segment_that_is_missing(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "missing"
    shutil.copytree(run, folder)
    segments = segments_of(folder)
    segments[1][1].unlink()
    with pytest.raises(LogError, match=f"{segments[1][1].name}: byte 0: it is missing"):
        opened(folder)
    report = recovered(folder)
    assert report["position"] == POSITIONS[4]
    assert report["lost_entries"] == 8
    assert report["producers"] == {"p": {"first_sequence": 2, "last_sequence": 2, "samples": 2}}
    assert opened(folder) == (WHOLE[4], POSITIONS[4])


def test_recovering_a_whole_folder_loses_nothing(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "whole"
    shutil.copytree(run, folder)
    report = recovered(folder)
    assert (report["position"], report["lost_entries"]) == (POSITIONS[11], 0)
    assert (report["damage"], report["set_aside"]) == (None, [])
    assert report["digest"] == WHOLE[11]
    assert opened(folder) == (WHOLE[11], POSITIONS[11])


def test_a_log_without_any_snapshot(run: Path, tmp_path: Path) -> None:
    """It is replayed from the entry that created the model, as long as that is there."""
    folder = tmp_path / "bare"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("snapshot-*"))
    assert opened(folder) == (WHOLE[11], POSITIONS[11])
    segments_of(folder)[0][1].unlink()
    with pytest.raises(LogError, match="got LSN 7 and no snapshot"):
        opened(folder)
    with pytest.raises(StateError, match="expected a snapshot or a log, got none whole"):
        recovered(folder)


def test_bytes_that_look_like_an_entry_are_none(tmp_path: Path) -> None:
    """A request that holds a copy of a segment does not pass for damage, nor for records."""
    with bench(tmp_path / "a") as found:
        found.learn(*small(5))
    raw = segments_of(tmp_path / "a")[0][1].read_bytes()
    with bench(tmp_path / "b") as found:
        found.learn(*small(2))
        found.learn([([raw], 1)], [([raw[HEADER_BYTES:]], 1)])
    path = segments_of(tmp_path / "b")[0][1]
    path.write_bytes(path.read_bytes()[:-10])
    with bench(tmp_path / "b") as found:
        assert digest_of(found.model) == digest_after([*small(2), [([raw], 1)]])


# Exactly once.


def test_a_sequence_is_applied_once(tmp_path: Path) -> None:
    for _ in range(2):
        with bench(tmp_path) as found:
            for sequence, batch in enumerate(small(5), 1):
                found.numbered("p", sequence, batch)
                for earlier in range(1, sequence + 1):
                    answer = found.numbered("p", earlier, batch)
                    assert answer["duplicate"] is True
            refused = found.numbered("p", 7, small(1)[0])
            assert isinstance(refused, RequestError)
            assert (refused.code, refused.message) == ("SEQUENCE_GAP", "expected sequence 6, got 7")
            assert found.resume("p") == {"sequence": 5, "samples": 7, "cursor": None}
            assert found.resume("q") == {"sequence": 0, "samples": 0, "cursor": None}
            assert digest_of(found.model) == digest_after(small(5))


def test_retries_in_one_turn_are_applied_once(tmp_path: Path) -> None:
    def request(sequence: int) -> tuple[Any, ...]:
        return "learn", body_of(small(1)[0]), {"producer": b"p", "sequence": sequence}, b"peer"

    with bench(tmp_path) as found:
        answers = found.turn(*map(request, (1, 1, 3, 2, 1, 3, 2, 5)))
        codes = [
            a.code if isinstance(a, RequestError) else a.get("duplicate", False) for a in answers
        ]
        assert codes == [False, True, "SEQUENCE_GAP", False, True, False, True, "SEQUENCE_GAP"]
        assert found.model.position == 3
    with bench(tmp_path) as found:
        assert found.resume("p") == {"sequence": 3, "samples": 3, "cursor": None}


def test_a_numbered_request_without_samples_counts(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        found.numbered("p", 1, [])
        found.numbered("p", 2, small(1)[0])
        found.numbered("p", 3, [])
        found.snapshot()
        found.numbered("p", 4, [])
    with bench(tmp_path) as found:
        assert found.resume("p") == {"sequence": 4, "samples": 1, "cursor": None}
        found.numbered("p", 5, small(1)[0])
        found.numbered("p", 6, [])
    with bench(tmp_path) as found:
        assert found.resume("p") == {"sequence": 6, "samples": 2, "cursor": None}


def test_the_producer_applied_furthest_back_is_forgotten(tmp_path: Path) -> None:
    one = small(1)[0]
    with bench(tmp_path, max_producers=2) as found:
        found.numbered("a", 1, one)
        found.numbered("b", 1, one)
        found.numbered("a", 2, one)
        found.snapshot()
        found.numbered("a", 2, one)  # a retry is no application
        found.numbered("c", 1, one)
    for _ in range(2):
        with bench(tmp_path, max_producers=2) as found:
            assert [found.resume(name)["sequence"] for name in "abc"] == [2, 0, 1]
            refused = found.numbered("b", 2, one)
            assert (refused.code, refused.message) == (
                "SEQUENCE_GAP", "expected sequence 1, got 2"
            )  # fmt: skip
            found.snapshot()
    with bench(tmp_path, max_producers=2) as found:
        found.numbered("c", 2, one)
        found.numbered("d", 1, one)
        assert [found.resume(name)["sequence"] for name in "acd"] == [0, 2, 1]


@settings(max_examples=40)
@given(
    requests=st.lists(
        st.tuples(st.sampled_from("abcd"), st.integers(-1, 2), st.booleans(), st.booleans()),
        max_size=25,
    ),
    most=st.integers(1, 3),
)
def test_forgetting_does_not_depend_on_turns_or_restarts(
    requests: list[tuple[str, int, bool, bool]], most: int
) -> None:
    one = small(1)[0]
    known: dict[str, tuple[int, int]] = {}  # the oracle: in the order of application
    with scratch() as folder:
        pending = list(requests)
        while pending:
            with bench(folder, max_producers=most) as found:
                while pending:
                    turn, expected = [], []
                    while pending:
                        producer, ahead, same_turn, restart = pending.pop(0)
                        last = known.get(producer, (0, 0))
                        sequence = max(1, last[0] + ahead)
                        keys = {"producer": producer, "sequence": sequence}
                        turn.append(("learn", body_of(one), keys, b"peer"))
                        if sequence == last[0] + 1:
                            known.pop(producer, None)
                            known[producer] = (sequence, last[1] + 1)
                            if len(known) > most:
                                del known[next(iter(known))]
                        gap = sequence > last[0] + 1
                        expected.append("gap" if gap else sequence <= last[0])
                        if not same_turn:
                            break
                    answers = found.turn(*turn)
                    reported = [
                        "gap" if isinstance(a, RequestError) else a.get("duplicate", False)
                        for a in answers
                    ]
                    assert reported == expected
                    assert found.started.default.producers.dump() == {
                        producer.encode(): (*last, b"") for producer, last in known.items()
                    }
                    if restart:
                        break


def test_one_who_resumed_shuts_out_what_was_under_way_before(tmp_path: Path) -> None:
    batches = small(4)
    with bench(tmp_path) as found:
        found.numbered("p", 1, batches[0], peer=b"old")
        answers = found.turn(
            ("learn", body_of(batches[1]), {"producer": "p", "sequence": 2}, b"old"),
            ("resume", None, {"producer": "p"}, b"new"),
            ("learn", body_of(batches[3]), {"producer": "p", "sequence": 3}, b"old"),
            ("learn", body_of(batches[2]), {"producer": "p", "sequence": 3}, b"new"),
        )
        assert answers[1] == {"sequence": 2, "samples": 3, "cursor": None}
        assert answers[2].code == "SEQUENCE_GAP"
        assert "another connection" in answers[2].message
        assert digest_of(found.model) == digest_after(batches[:3])


# A disk that fails.


def codes(answers: list[Any]) -> list[str | None]:
    return [a.code if isinstance(a, RequestError) else None for a in answers]


@pytest.mark.parametrize("fsync", ["always", "everysec", "never"])
@pytest.mark.parametrize(
    "fault",
    [
        {"write": ENOSPC},
        {"write": (1, ENOSPC)},
        {"write": (30, ENOSPC)},
        {"write": (40, ENOSPC)},
        {"write": (60, EIO)},
        {"write": (50, ENOSPC), "truncate": EIO},
        {"write": EIO, "truncate": EIO, "create": ENOSPC},
        {"write": EIO, "truncate": EIO, "replace": ENOSPC},
    ],
    ids=str,
)
@pytest.mark.parametrize("first", [True, False], ids=["at first", "later"])
def test_what_cannot_be_written_is_refused_and_learning_resumes(
    tmp_path: Path, fsync: str, fault: dict[str, Any], first: bool
) -> None:
    disk = Disk()
    learned: list[Batch] = []
    with bench(tmp_path, fsync=fsync, files=FaultyFiles(disk)) as found:
        if not first:
            learned += small(3)
            assert codes(found.learn(*learned)) == [None] * 3
        for _ in range(3):
            disk.broken = dict(fault)
            before = digest_of(found.model)
            for _ in range(2):
                refused = found.learn(*small(2, 20))
                assert codes(refused) == ["NOT_DURABLE"] * 2
                assert refused[0].message.endswith("nothing of it is applied")
            assert found.numbered("p", 1, small(1)[0]).code == "NOT_DURABLE"
            assert digest_of(found.model) == before
            assert found.turn(("predict", b"\x90", {}, b"peer"))[0]["samples"] == 0
            assert found.turn(("stats", None, {}, b"peer"))[0]["log_error"]
            disk.broken = {}
            more = small(2, len(learned))
            assert codes(found.learn(*more)) == [None] * 2
            learned += more
            assert found.turn(("stats", None, {}, b"peer"))[0]["log_error"] is None
    assert opened(tmp_path) == (digest_after(learned), sum(map(len, learned)))


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_a_failed_fsync_makes_a_fresh_segment_and_snapshot_first(
    tmp_path: Path, fsync: str
) -> None:
    disk = Disk()
    learned: list[Batch] = small(3)
    with bench(tmp_path, fsync=fsync, files=FaultyFiles(disk)) as found:
        found.learn(*learned)
        disk.broken = {"sync": EIO}
        # Under `always` the request is reported at once; a second's data are found out about later.
        more = small(2, 3)
        answers = codes(found.learn(*more))
        assert answers == ([None] * 2 if fsync == "everysec" else ["NOT_DURABLE"] * 2)
        learned += more if fsync == "everysec" else []
        eventually(lambda: found.log.failure is not None, "the failed fsync")
        assert codes(found.learn(*small(1))) == ["NOT_DURABLE"]
        lsn = found.started.default.position.lsn
        if fsync == "everysec":
            assert not snapshot_path(tmp_path, lsn).exists()
        disk.broken = {}
        old = {path for _, path in segments_of(tmp_path)}
        clock = iter(range(0, 10_000, 10))

        def mended() -> bool:
            found.service.tick(float(next(clock)))
            return found.log.failure is None

        eventually(mended, "learning to be possible again")
        assert snapshot_path(tmp_path, lsn).exists()
        assert {path for _, path in segments_of(tmp_path)} - old
        more = small(3, 10)
        assert codes(found.learn(*more)) == [None] * 3
        learned += more
    # Bytes that the failed fsync may have lost are not needed any more.
    for path in old - {segments_of(tmp_path)[-1][1]}:
        path.unlink()
    assert opened(tmp_path) == (digest_after(learned), sum(map(len, learned)))


def test_a_folder_that_is_removed_under_a_daemon(tmp_path: Path) -> None:
    """Writes there would be lost, or would disturb the owner of a new folder."""
    folder = tmp_path / "state"
    with bench(folder) as found:
        found.learn(*small(3))
        shutil.rmtree(folder)
        found.service.tick(10.0)
        (refused,) = found.learn(*small(1))
        assert refused.code == "NOT_DURABLE"
        assert "replaced or removed meanwhile" in refused.message
        assert found.turn(("predict", b"\x90", {}, b"peer"))[0]["samples"] == 0
        with bench(folder) as other:
            other.learn(*small(2))
            found.service.tick(20.0)
            assert codes(found.learn(*small(1))) == ["NOT_DURABLE"]
        assert opened(folder) == (digest_after(small(2)), POSITIONS[2])


def test_a_snapshot_that_failed_is_tried_again(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        found.learn(*small(3))
        obstacle = snapshot_path(tmp_path, found.log.lsn)
        obstacle.mkdir()
        (asked,) = found.turn(("snapshot", None, {}, b"peer"))
        found.settle()
        with pytest.raises(RequestError, match="the snapshot failed"):
            asked.result(0)
        found.service.tick(0.0)
        assert "Is a directory" in found.turn(("stats", None, {}, b"peer"))[0]["snapshot_error"]
        found.learn(*small(1, 3))
        obstacle.rmdir()

        def written() -> bool:
            found.service.tick(time.monotonic() + 6)
            return snapshot_path(tmp_path, found.log.lsn).exists()

        eventually(written, "another try")
    assert opened(tmp_path) == (digest_after(small(4)), POSITIONS[4])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_acknowledged_is_replayed_after_any_disk_errors(data: st.DataObject) -> None:
    # One call in four fails, a write after some bytes. Drawn before the turn: the log calls from
    # threads of its own.
    calls = st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 120), st.sampled_from([ENOSPC, EIO])),
        max_size=8,
    )

    def plan() -> Callable[[str], Planned]:
        coming = iter(data.draw(calls))

        def outcome(call: str) -> Planned:
            luck, room, number = next(coming, (1, 0, 0))
            if luck:
                return None
            return (room, number) if call == "write" else number

        return outcome

    learned: list[Batch] = []
    refused: list[Batch] = []
    stuck = 0  # the segment that has them
    with scratch() as folder:
        files = FaultyFiles(lambda call: None)
        for life in range(3):
            with bench(folder, fsync="always", files=files) as found:
                # A refused turn whose bytes stay on the disk is there if the process dies before
                # a fresh segment makes them stale.
                while refused and sum(map(len, learned)) < found.model.position:
                    learned.append(refused.pop(0))
                refused = []
                assert digest_of(found.model) == digest_after(learned)
                for i in range(4 if life < 2 else 0):
                    turn = small(data.draw(st.integers(1, 3)), 4 * life + i)
                    files.plan = plan()
                    answers = codes(found.learn(*turn))
                    files.plan = lambda call: None
                    assert answers in ([None] * len(turn), ["NOT_DURABLE"] * len(turn))
                    if answers[0] is None:
                        learned += turn
                        refused = []
                    elif segments_of(folder) and found.log._segment is None:
                        last = segments_of(folder)[-1][1].stat().st_ino
                        if last != stuck or not refused:  # else no fresh one was begun
                            refused, stuck = turn, last
                    if found.log.failure is not None:
                        mend(found)
                        refused = []
                    if data.draw(st.booleans()):
                        found.snapshot()


def mend(found: Bench) -> None:
    clock = iter(range(0, 100_000, 10))

    def mended() -> bool:
        found.service.tick(float(next(clock)))
        return found.log.failure is None

    eventually(mended, "learning to be possible again")
    found.settle()  # what is removed meanwhile


# Records without samples, which do not move the position.


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.sampled_from("pq"), st.integers(0, 1)),
            st.sampled_from(["restart", "sample", "refused", "stuck", "fsync", "snapshot"]),
        ),
        max_size=14,
    ),
    segment_bytes=st.sampled_from([1, 2**20]),
)
def test_what_was_acknowledged_without_samples_stays(steps: list[Any], segment_bytes: int) -> None:
    known = dict.fromkeys("pq", (0, 0))
    broken = {
        "refused": {"write": (9, ENOSPC)},
        "stuck": {"write": (9, ENOSPC), "truncate": EIO},
        "fsync": {"sync": EIO},
    }
    pending = [*steps, "restart"]
    with scratch() as folder:
        while pending:
            disk = Disk()
            with bench(folder, fsync="always", files=FaultyFiles(disk)) as found:
                assert {name: found.resume(name) for name in "pq"} == {
                    name: {"sequence": last, "samples": count, "cursor": None}
                    for name, (last, count) in known.items()
                }
                found.log._segment_bytes = segment_bytes
                while (step := pending.pop(0)) != "restart":
                    if step == "sample":
                        assert codes(found.learn(*small(1))) == [None]
                    elif step == "snapshot":
                        found.snapshot()
                    elif isinstance(step, str):
                        disk.broken = dict(broken[step])
                        refused = found.numbered("p", known["p"][0] + 1, [])
                        assert refused.code == "NOT_DURABLE"
                        if step == "fsync" and found.log.failure is not None:
                            with pytest.raises(OSError, match="Input/output"):
                                found.log.begin_anew()
                        disk.broken = {}
                        if found.log.failure is not None:
                            # Before the snapshot that makes learning possible again.
                            found.log.begin_anew()
                            found.log.clear()
                    else:
                        name, n = step
                        last, count = known[name]
                        answer = found.numbered(name, last + 1, small(2)[1][:1] * n)
                        assert answer["samples"] == n
                        known[name] = (last + 1, count + n)


def test_a_life_without_samples_after_another_loses_neither(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        found.numbered("p", 1, [])
    for sequence in (1, 2):
        with bench(tmp_path) as found:
            assert found.resume("p")["sequence"] == 1
            found.numbered("q", sequence, [])
    with bench(tmp_path) as found:
        found.learn(*small(1))
    with bench(tmp_path) as found:
        assert [found.resume(name)["sequence"] for name in "pq"] == [1, 2]


# A bound on the producers that changes.


@settings(max_examples=60, deadline=None)
@given(
    lives=st.lists(
        st.tuples(st.integers(1, 3), st.lists(st.sampled_from("abcd"), max_size=6)), max_size=5
    ),
    damaged=st.booleans(),
)
def test_a_changed_bound_on_producers_holds_from_where_it_changed(
    lives: list[tuple[int, list[str]]], damaged: bool
) -> None:
    known: dict[str, tuple[int, int]] = {}  # the oracle: in the order of application
    with scratch() as folder:
        for most, names in lives:
            with bench(folder, max_producers=most) as found:
                known = dict(list(known.items())[-most:])
                for name in names:
                    last, count = known.pop(name, (0, 0))
                    found.numbered(name, last + 1, small(1)[0])
                    known[name] = (last + 1, count + 1)
                    if len(known) > most:
                        del known[next(iter(known))]
        if damaged and lives:
            with bench(folder, max_producers=9) as found:
                found.learn(*small(1))
                found.snapshot()
            newest = newest_snapshot(folder)
            newest.write_bytes(newest.read_bytes()[:-1])
        with bench(folder, max_producers=9) as found:
            assert found.started.default.producers.dump() == {
                name.encode(): (*last, b"") for name, last in known.items()
            }


# A header that cannot be read.


def test_entries_after_a_damaged_header_are_counted(run: Path, tmp_path: Path) -> None:
    (_, _), (second, raw), (_, _) = segments_with_bytes(run)
    for i in range(HEADER_BYTES):
        flipped = raw[:i] + bytes([raw[i] ^ (1 << i % 8)]) + raw[i + 1 :]
        folder = copied(run, tmp_path / "flipped", second, flipped)
        report = recovered(folder)
        assert report["position"] == POSITIONS[4]
        assert (report["lost_entries"], report["unreadable_entries"]) == (8, 0)
        assert report["lost_samples"] == POSITIONS[11] - POSITIONS[4]
        assert report["unreadable_bytes"] == HEADER_BYTES
    folder = tmp_path / "last"
    shutil.copytree(run, folder)
    last = segments_of(folder)[-1][1]
    raw = last.read_bytes()
    last.write_bytes(bytes(9) + raw[9:])
    with pytest.raises(LogError, match="expected a segment's header"):
        opened(folder)
    report = recovered(folder)
    assert (report["position"], report["lost_samples"]) == (
        POSITIONS[7], POSITIONS[11] - POSITIONS[7],
    )  # fmt: skip
    assert (report["lost_entries"], report["unreadable_entries"]) == (5, 0)
    assert report["producers"]["p"]["last_sequence"] == 2


def test_segments_that_changed_places(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "swapped"
    shutil.copytree(run, folder)
    _, (_, second), (_, third) = segments_of(folder)
    raw = second.read_bytes()
    shutil.copy(third, second)
    third.write_bytes(raw)
    with pytest.raises(
        LogError,
        match="expected the LSN of its name, 7, got 10: the header of another segment",
    ):
        opened(folder)
    report = recovered(folder)
    assert report["position"] == POSITIONS[4]
    assert report["lost_samples"] == POSITIONS[11] - POSITIONS[4]
    assert (report["lost_entries"], report["unreadable_bytes"]) == (8, 0)
    assert len(report["set_aside"]) == 2


# Files that may not grow, and a folder that is not the one it was.


@pytest.mark.parametrize("fsync", ["always", "never"])
def test_a_file_that_may_not_grow_is_followed_by_another(tmp_path: Path, fsync: str) -> None:
    class Small(FaultyFiles):
        """A limit on the size of a file."""

        def write(self, descriptor: int, parts: Sequence[Buffer]) -> int:
            room = 420 - os.fstat(descriptor).st_size
            if room <= 0:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            return super().write(descriptor, [b"".join(parts)[:room]])

    with bench(tmp_path, fsync=fsync, files=Small(lambda call: None)) as found:
        for i in range(11):
            assert codes(found.learn(*small(1, i))) == [None]
        large = found.learn([(["x" * 600], 1)])
        assert codes(large) == ["NOT_DURABLE"]
        assert "File too large" in large[0].message
        assert codes(found.learn(*small(1, 11))) == [None]
    assert len(segments_of(tmp_path)) > 2
    assert opened(tmp_path) == (digest_after(small(12)), sum(map(len, small(12))))


def test_a_segment_that_was_begun_in_vain_makes_nothing_void(tmp_path: Path) -> None:
    """It may be there all the same, and tells where the one before it ended."""

    class Small(FaultyFiles):
        """A limit on the size of a file, which a record of three hundred bytes would pass."""

        def write(self, descriptor: int, parts: Sequence[Buffer]) -> int:
            if sum(map(len, parts)) + os.fstat(descriptor).st_size > 400:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            return super().write(descriptor, parts)

    disk = Disk()
    with bench(tmp_path, fsync="always", files=Small(disk)) as found:
        assert codes(found.learn(*small(1))) == [None]
        disk.broken = {"sync_folder": EIO}
        assert codes(found.learn([(["x" * 300], 1)])) == ["NOT_DURABLE"]
        disk.broken = {}
        for i in range(1, 3):
            assert codes(found.learn(*small(1, i))) == [None]
    assert opened(tmp_path) == (digest_after(small(3)), POSITIONS[3])


@pytest.mark.parametrize("fsync", ["always", "everysec", "never"])
def test_what_there_was_no_memory_to_write_is_cut_off(tmp_path: Path, fsync: str) -> None:
    class Exhausted(FaultyFiles):
        """Writes a part; then there is no memory to go on."""

        left = 0

        def write(self, descriptor: int, parts: Sequence[Buffer]) -> int:
            if self.left == 1:
                raise MemoryError
            self.left -= 1
            return super().write(descriptor, [b"".join(parts)[: 40 if self.left else None]])

    files = Exhausted(lambda call: None)
    with bench(tmp_path, fsync=fsync, files=files) as found:
        for i in range(3):
            for first in (True, False):  # a segment, and a record in one that is there
                if first:
                    found.log._segment_bytes = 1
                files.left = 2
                (refused,) = found.learn(*small(1, 20))
                assert (refused.code, refused.message[:13]) == ("INTERNAL", "out of memory")
                files.left = 0
                assert codes(found.learn(*small(1, 2 * i + (not first)))) == [None]
                found.log._segment_bytes = 2**20
    assert len(segments_of(tmp_path)) == 4
    assert not list(tmp_path.glob("*.tmp"))
    assert opened(tmp_path) == (digest_after(small(6)), POSITIONS[6])


def test_a_copy_in_memory_that_stays_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()

    def refuse(*_: int) -> None:
        asked.set()
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "posix_fadvise", refuse, raising=False)
    with bench(tmp_path, fsync="everysec") as found:
        assert codes(found.learn([(["x" * 4000, "y" * 4000], 1)])) == [None]
        if sys.platform == "linux":
            assert asked.wait(20)
        found.log.close()
        assert found.log.failure is None


@pytest.mark.parametrize("how", ["lock", "moved"])
def test_a_folder_that_is_not_held_any_more_is_left_alone(tmp_path: Path, how: str) -> None:
    """Also where the segment is full, and where a file stands in the place of the lock."""
    folder, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    with bench(folder) as found:
        found.learn(*small(3))
        found.log._segment_bytes = 1
        if how == "moved":
            folder.rename(elsewhere)
            folder.mkdir()
        else:
            (folder / "LOCK").unlink()
        (folder / "LOCK").touch()
        before = sorted(folder.iterdir())
        for now in (None, 10.0, 20.0):
            (refused,) = found.learn(*small(1))
            assert refused.code == "NOT_DURABLE"
            assert "replaced or removed meanwhile" in refused.message
            assert sorted(folder.iterdir()) == before
            if now is not None:
                found.service.tick(now)
        if how == "moved":
            shutil.rmtree(folder)
            elsewhere.rename(folder)
            mend(found)
            assert codes(found.learn(*small(1, 3))) == [None]
    assert opened(folder)[1] == POSITIONS[4 if how == "moved" else 3]
