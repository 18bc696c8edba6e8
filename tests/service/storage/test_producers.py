"""Producers that are remembered and forgotten: the same in a live run, a replay and a snapshot."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from onlinesvm.service.protocol import RequestError
from tests.logs import Bench, bench, body_of, scratch

ONE: tuple[Any, ...] = (["f", "g"], 1)
IGNORED: tuple[Any, ...] = (["f", "new"], -1, 0.0)  # of importance 0: counted, nothing else

# A request of a producer with so many samples, and its cursor; or what the daemon is made to do.
Step = tuple[str, int, str] | str
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("abcd"), st.integers(0, 2), st.sampled_from(["", "1-0", "2-0"])),
        st.sampled_from(["snapshot", "restart", "lose the newest snapshot"]),
    ),
    max_size=25,
)


ENDS = ("restart", "lose the newest snapshot")


class Known:
    """The oracle: producers in the order of their last application, and what they had applied."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.applied: dict[str, tuple[int, int, bytes]] = {}

    def next_of(self, name: str) -> int:
        return self.applied.get(name, (0, 0, b""))[0] + 1

    def note(self, name: str, samples: int, cursor: str) -> None:
        sequence, before, last = self.applied.pop(name, (0, 0, b""))
        self.applied[name] = (sequence + 1, before + samples, cursor.encode() or last)
        if len(self.applied) > self._most:
            del self.applied[next(iter(self.applied))]

    def check(self, found: Bench) -> None:
        """The order too: it says who is forgotten next."""
        producers = found.started.default.producers
        assert list(producers.dump().items()) == [
            (name.encode(), last) for name, last in self.applied.items()
        ]
        assert producers.cursor_bytes == sum(len(last[2]) for last in self.applied.values())
        for name, (sequence, samples, cursor) in self.applied.items():
            expected = {"sequence": sequence, "samples": samples, "cursor": cursor or None}
            assert found.resume(name) == expected


TIES: list[Step] = [
    ("b", 1, "1-0"), ("c", 1, ""), ("a", 0, "1-0"), ("c", 0, "2-0"), ("d", 0, ""), "snapshot",
]  # fmt: skip


@settings(max_examples=100, deadline=None)
@example(steps=TIES, most=2, in_one_turn=False)
@example(steps=[*TIES, ("a", 0, ""), ("c", 1, "1-0")], most=2, in_one_turn=True)
@given(steps=steps, most=st.integers(1, 3), in_one_turn=st.booleans())
def test_forgetting_by_position_is_the_same_after_any_start(
    steps: list[Step], most: int, in_one_turn: bool
) -> None:
    """Requests without samples tie: they leave the position where it is."""
    known = Known(most)
    pending = [*steps, "restart", "restart"]
    with scratch() as folder:
        while pending:
            with bench(folder, max_producers=most) as found:
                known.check(found)
                while (step := pending.pop(0)) != "restart":
                    if step == "lose the newest snapshot":
                        newest = sorted(folder.glob("snapshot-*.msgpack"))
                        if len(newest) > 1:
                            newest[-1].unlink()
                            break
                        continue
                    turn: list[tuple[Any, ...]] = []
                    while True:
                        if isinstance(step, tuple):
                            name, n, cursor = step
                            keys = {"producer": name, "sequence": known.next_of(name)}
                            keys.update({"cursor": cursor} if cursor else {})
                            turn.append(("learn", body_of([ONE, IGNORED][:n]), keys, b"peer"))
                            known.note(name, n, cursor)
                        else:
                            turn.append(("snapshot", None, {}, b"peer"))
                        if step == "snapshot" or not in_one_turn or pending[0] in ENDS:
                            break
                        step = pending.pop(0)
                    answers = found.turn(*turn)
                    assert not any(isinstance(answer, RequestError) for answer in answers)
                    found.settle()
                    known.check(found)
