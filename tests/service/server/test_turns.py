"""Turns that go into the log in parts, while what came before is applied."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.service.protocol import RequestError
from tests.daemons import digest_of
from tests.logs import (
    EIO,
    ENOSPC,
    bench,
    body_of,
    digest_after,
    failing_at,
    scratch,
    segments_of,
)

BATCHES = [[([f"f{i % 3}", f"n{i}"], 1 if i % 2 else -1)] for i in range(12)]
PEER = b"peer"


def learn(i: int, sequence: int | None = None) -> tuple[Any, ...]:
    keys = {} if sequence is None else {"producer": b"p", "sequence": sequence}
    return "learn", body_of(BATCHES[i]), keys, PEER


@given(
    part_bytes=st.sampled_from([1, 60, 2**20]),
    turns=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    write=st.integers(2, 14),  # the first two are the segment's header and the model
    room=st.integers(0, 120),
    fault=st.sampled_from([ENOSPC, EIO]),
    fsync=st.sampled_from(["never", "always"]),
)
def test_what_is_acknowledged_is_what_is_replayed(
    part_bytes: int, turns: list[int], write: int, room: int, fault: int, fsync: str
) -> None:
    learned = []
    with scratch() as folder:
        files = failing_at(write, (room, fault))
        with bench(folder, files=files, fsync=fsync, part_bytes=part_bytes) as found:
            rest = iter(range(len(BATCHES)))
            for size in turns:
                turn = [i for i, _ in zip(rest, range(size), strict=False)]
                answers = found.turn(*map(learn, turn))
                refused = [isinstance(answer, RequestError) for answer in answers]
                assert refused == sorted(refused), "a record followed one that is missing"
                assert {a.code for a in answers if isinstance(a, RequestError)} <= {"NOT_DURABLE"}
                learned += [BATCHES[i] for i, no in zip(turn, refused, strict=True) if not no]
            assert digest_of(found.model) == digest_after(learned)
        with bench(folder) as found:
            assert digest_of(found.model) == digest_after(learned)


def test_a_retry_of_what_this_turn_refused_is_no_duplicate(tmp_path: Path) -> None:
    # Writes 0 to 3 are the segment's header, the model, and sequences 1 and 2.
    with bench(tmp_path, files=failing_at(4, EIO), part_bytes=1) as found:
        assert found.turn(learn(0, 1))[0]["samples"] == 1
        answers = found.turn(learn(1, 2), learn(2, 3), learn(2, 3), learn(1, 2), learn(3, 4))
        codes = [a.code if isinstance(a, RequestError) else a.get("duplicate") for a in answers]
        assert codes == [None, "NOT_DURABLE", "NOT_DURABLE", True, "NOT_DURABLE"]
        assert found.resume("p")["sequence"] == 2
        answers = found.turn(learn(2, 3), learn(3, 4))
        assert [a.get("duplicate") for a in answers] == [None, None]
    with bench(tmp_path) as found:
        assert digest_of(found.model) == digest_after(BATCHES[:4])
        assert found.resume("p") == {"sequence": 4, "samples": 4, "cursor": None}


def test_a_snapshot_in_the_middle_of_a_turn(tmp_path: Path) -> None:
    """It holds what came before it; the rest of the turn is in the log after it."""
    snapshot = ("snapshot", None, {}, PEER)
    stats = ("stats", None, {}, PEER)
    with bench(tmp_path, part_bytes=1) as found:
        answers = found.turn(learn(0), learn(1), snapshot, learn(2), stats, learn(3))
        assert answers[2].result(20).keys["position"] == 2
        assert answers[4]["position"] == 3
        found.service.tick(0.0)
    with bench(tmp_path) as found:
        assert found.stored is not None and found.stored.position == 2
        assert digest_of(found.model) == digest_after(BATCHES[:4])


def test_a_full_segment_is_followed_by_another(tmp_path: Path) -> None:
    with bench(tmp_path, part_bytes=1) as found:
        found.log._segment_bytes = 1
        for first in range(0, 12, 4):
            answers = found.turn(*map(learn, range(first, first + 4)))
            assert [answer["position"] for answer in answers] == list(range(first + 1, first + 5))
    assert [first for first, _ in segments_of(tmp_path)] == [1, *range(3, 15)]
    with bench(tmp_path) as found:
        assert digest_of(found.model) == digest_after(BATCHES)


def test_room_is_made_of_what_a_snapshot_has_alone(tmp_path: Path) -> None:
    """One in the middle of a turn, on a full disk: later ones are in the log alone."""
    snapshot = ("snapshot", None, {}, PEER)
    # Writes 0 to 4 are the segment's header, the model, and the first three batches.
    with bench(tmp_path, files=failing_at(5, ENOSPC), part_bytes=1) as found:
        assert [answer["position"] for answer in found.turn(learn(0), learn(1))] == [1, 2]
        answers = found.turn(snapshot, learn(2), learn(3))
        assert answers[0].result(20).keys["position"] == 2
        assert answers[1]["position"] == 3
        assert answers[2].code == "NOT_DURABLE"
        found.turn(("stats", None, {}, PEER))  # takes the outcome, and asks for no other snapshot
    with bench(tmp_path) as found:
        assert found.stored is not None and found.stored.position == 2
        assert digest_of(found.model) == digest_after(BATCHES[:3])
