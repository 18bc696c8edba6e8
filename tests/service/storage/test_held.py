"""The table of held samples against a dumb one: lists, and an explicit clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm.service.storage.held import Group, Held, Outcome

KEYS = [b"a", b"b", b"c", b"d", b"e", b"f"]
Step = tuple[Any, ...]


def group(keys: list[bytes], now: int, ttl: int, default: bytes | None = None) -> Group:
    samples = msgpack.packb([[key] for key in keys])
    return Group(samples, keys, [float(i) for i in range(len(keys))], now, ttl, default)


@dataclass
class Oracle:
    """Held and remembered keys as lists, walked from end to end."""

    limit: int
    now: int = 0
    held: list[tuple[bytes, int, int, float]] = field(default_factory=list)  # key, since, until
    remembered: list[tuple[bytes, int, Outcome]] = field(default_factory=list)

    def _is_known(self, key: bytes) -> bool:
        lasting = [row for row in self.remembered if row[1] > self.now]
        return any(row[0] == key for row in (*self.held, *lasting))

    def hold(self, keys: list[bytes], now: int, ttl: int) -> list[int]:
        self.now = max(self.now, now)
        known = []
        for i, key in enumerate(keys):
            if self._is_known(key):
                known.append(i)
            else:
                self.remembered = [row for row in self.remembered if row[0] != key]
                self.held.append((key, self.now, self.now + ttl, i))
        self.held = self.held[max(0, len(self.held) - self.limit) :]
        return known

    def outcomes(self, keys: list[bytes], now: int) -> list[Outcome]:
        found: list[Outcome] = []
        for i, key in enumerate(keys):
            outcome = Outcome.UNKNOWN
            for name, until, how in self.remembered:
                if name == key and until > max(now, self.now):
                    outcome = how
            for name, _, until, _ in self.held:
                if name == key:
                    lasts = until > max(now, self.now)
                    outcome = Outcome.LEARNED if lasts else Outcome.EXPIRED
            if outcome is Outcome.LEARNED and key in keys[:i]:
                outcome = Outcome.DUPLICATE
            found.append(outcome)
        return found

    def leave(self, keys: list[bytes], now: int, how: Outcome) -> None:
        self.now = max(self.now, now)
        for key in keys:
            (row,) = [row for row in self.held if row[0] == key]
            self.held.remove(row)
            until = self.now + row[2] - row[1]
            self.remembered = [row for row in self.remembered if row[0] != key]
            self.remembered.append((key, until, how))
            while self.remembered and (
                self.remembered[0][1] <= self.now or len(self.remembered) > self.limit
            ):
                del self.remembered[0]

    def due(self, now: int, most: int) -> list[bytes]:
        """In order of time, then of the requests, then within one."""
        due = [row for row in self.held if row[2] <= max(now, self.now)]
        return [row[0] for row in sorted(due, key=lambda row: row[2])][:most]


KEY = st.sampled_from(KEYS)
STEPS = st.one_of(
    st.tuples(st.just("hold"), st.lists(KEY, max_size=4), st.integers(1, 30)),
    st.tuples(st.just("label"), st.lists(KEY, max_size=4)),
    st.tuples(st.just("expire"), st.integers(1, 3)),
    st.tuples(st.just("pass"), st.integers(-5, 25)),
    st.tuples(st.just("restore")),
)


@settings(max_examples=300, deadline=None)
@given(steps=st.lists(STEPS, max_size=40), limit=st.sampled_from([1, 2, 3, 100]))
def test_the_table_is_as_the_dumb_one(steps: list[Step], limit: int) -> None:
    held, oracle, now = Held(limit), Oracle(limit), 1000
    for kind, *rest in steps:
        if kind == "hold" and len(rest[0]) <= limit:
            keys, ttl = rest
            expected = oracle.hold(keys, now, ttl)
            assert held.hold(group(keys, now, ttl)) == expected
        elif kind == "label":
            (keys,) = rest
            outcomes = oracle.outcomes(keys, now)
            assert held.outcomes(keys, now) == outcomes
            learned = [key for key, o in zip(keys, outcomes, strict=True) if o is Outcome.LEARNED]
            held.label(learned, now)
            oracle.leave(learned, now, Outcome.DUPLICATE)
        elif kind == "expire":
            due = oracle.due(now, rest[0])
            assert held.due(now, rest[0]) == due
            held.expire(due, now)
            oracle.leave(due, now, Outcome.EXPIRED)
        elif kind == "pass":
            now = max(0, now + rest[0])  # a clock may be set back
        elif kind == "restore":
            packed = held.view().pack()
            held = Held.restored(packed, limit)
            assert held.view().pack() == packed
        assert len(held) == len(oracle.held)
        assert held.remembered == len(oracle.remembered)
        assert held.next_expiry == min((row[2] for row in oracle.held), default=None)
        for key, _, _, given_ in oracle.held:
            assert held.sample(key).sample == msgpack.packb([key])
            assert held.sample(key).given == given_


def test_a_sample_counts_as_its_kib() -> None:
    held = Held(4)
    held.hold(Group(msgpack.packb([["x" * 2000]]), [b"large"], [0.5], 0, 10, None))
    held.hold(group([b"a", b"b"], 1, 10))
    assert len(held) == 3
    held.hold(group([b"c"], 2, 10))
    assert len(held) == 3
    assert held.outcomes([b"large", b"a"], 3) == [Outcome.UNKNOWN, Outcome.LEARNED]
    assert held.figures.evicted == 1


def test_a_flood_of_keys_takes_bounded_memory() -> None:
    held = Held(100)
    for i in range(5000):
        keys = [b"%d" % (2 * i), b"%d" % (2 * i + 1)]
        held.hold(group(keys, i, 10**9))
        held.label(keys[:1], i)
    assert 99 <= len(held) <= 100
    assert held.remembered == 100
    assert len(held._queue) <= 2 * len(held._groups) + 66
    assert held.memory_bytes < 60_000
    held.bound(10)
    assert (len(held), held.remembered) == (10, 10)


def test_a_view_keeps_what_leaves_meanwhile() -> None:
    held = Held(10)
    held.hold(group([b"a", b"b"], 0, 10))
    view, packed = held.view(), held.view().pack()
    held.label([b"a", b"b"], 1)
    held.hold(group([b"c"], 2, 10))
    assert view.pack() == packed
    restored = Held.restored(packed, 10)
    assert restored.sample(b"b").given == 1.0


def test_delays_are_reported() -> None:
    held = Held(10)
    assert held.figures.report()["label_delay_p50_s"] is None
    held.hold(group(KEYS, 1000, 100_000))
    for i, key in enumerate(KEYS):
        held.label([key], 1000 + 1000 * i)
    report = held.figures.report()
    assert (report["label_delay_p50_s"], report["label_delay_p99_s"]) == (3.0, 5.0)
    assert report["labelled"] == 6


GOOD = [
    [7, 1, 1],
    [1, 9, None, "u", msgpack.packb([["x"], ["y"]]), [b"a", b"b"], [0, 1], [0.5, 0.5]],
    [b"k", 12, "expired"],
]


def packed(*rows: Any) -> bytes:
    return b"".join(msgpack.packb(row) for row in rows)


def test_a_restored_table_goes_on() -> None:
    held = Held.restored(packed(*GOOD), 10)
    assert held.now == 7
    assert held.outcomes([b"a", b"b", b"k"], 8) == ["learned", "learned", "expired"]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [[7, 1]],
        [[7, 2, 1], *GOOD[1:]],
        [*GOOD, b"more"],
        [[-1, 1, 1], *GOOD[1:]],
        [GOOD[0], [1, 9, "x", *GOOD[1][3:]], GOOD[2]],
        [GOOD[0], [*GOOD[1][:3], b"user", *GOOD[1][4:]], GOOD[2]],
        [GOOD[0], [*GOOD[1][:4], "samples", *GOOD[1][5:]], GOOD[2]],
        [GOOD[0], [*GOOD[1][:5], [b"a", b"a"], *GOOD[1][6:]], GOOD[2]],
        [GOOD[0], [*GOOD[1][:5], [b"a", b""], *GOOD[1][6:]], GOOD[2]],
        [GOOD[0], [*GOOD[1][:6], [0, 2], *GOOD[1][7:]], GOOD[2]],
        [GOOD[0], [*GOOD[1][:7], [0.5]], GOOD[2]],
        [*GOOD[:2], [b"k", 12, "lost"]],
    ],
)
def test_other_bytes_are_refused(rows: list[Any]) -> None:
    with pytest.raises(ValueError, match="held samples: expected what a view has packed"):
        Held.restored(packed(*rows), 10)
