"""Producers that belong to users: the same in a live run, a replay and a snapshot."""

from __future__ import annotations

from errno import EIO
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from onlinesvm.service.keys.permit import ANYONE, Permit
from onlinesvm.service.protocol import RequestError
from onlinesvm.service.storage.ownership import Ownership
from tests.logs import Bench, bench, body_of, failing_at, scratch

ONE: tuple[Any, ...] = (["f", "g"], 1)
USERS = {name: Permit(name, "0" * 40, "learn") for name in ("u", "v")}

# A request of a user under a producer's name, or what the daemon is made to do.
Step = tuple[str, str] | str
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("uv"), st.sampled_from("abcd")),
        st.sampled_from(["snapshot", "restart"]),
    ),
    max_size=25,
)


class Known:
    """The oracle: producers in the order of their last application, each with its user."""

    def __init__(self, most: int, of_a_user: int) -> None:
        self._most = most
        self._of_a_user = of_a_user
        self.applied: dict[str, tuple[str, int]] = {}

    def next_of(self, name: str) -> int:
        return self.applied.get(name, ("", 0))[1] + 1

    def may(self, user: str, name: str) -> bool:
        return self.applied.get(name, (user, 0))[0] == user

    def note(self, user: str, name: str) -> None:
        if name not in self.applied:
            own = [n for n, (owner, _) in self.applied.items() if owner == user]
            if len(own) >= self._of_a_user:
                del self.applied[own[0]]
        _, sequence = self.applied.pop(name, (user, 0))
        self.applied[name] = user, sequence + 1
        if len(self.applied) > self._most:
            del self.applied[next(iter(self.applied))]

    def check(self, found: Bench) -> None:
        producers = found.started.default.producers
        assert [(name.decode(), last.sequence) for name, last in producers.dump().items()] == [
            (name, sequence) for name, (_, sequence) in self.applied.items()
        ]
        owners = {name: user for name, (user, _) in self.applied.items()}
        ownership = producers.ownership
        assert {name.decode(): user for name, user in ownership.dump().items()} == owners
        for user in USERS:
            own = [name.encode() for name, owner in owners.items() if owner == user]
            assert list(ownership.names_of(user)) == own
            assert ownership.count(user) == len(own)


@settings(max_examples=150, deadline=None)
@example(
    steps=[("u", "a"), ("u", "b"), ("u", "a"), ("v", "a"), ("v", "b"), "restart"],
    most=9, of_a_user=1, in_one_turn=True,
)  # fmt: skip
@example(
    steps=[("u", "a"), ("v", "b"), ("u", "c"), ("u", "d"), ("u", "a"), ("v", "c"), "snapshot"],
    most=3, of_a_user=2, in_one_turn=True,
)  # fmt: skip
@given(steps=steps, most=st.integers(2, 9), of_a_user=st.integers(1, 3), in_one_turn=st.booleans())
def test_a_name_is_the_users_who_used_it_first_after_any_start(
    steps: list[Step], most: int, of_a_user: int, in_one_turn: bool
) -> None:
    """Beyond its own bound a user forgets producers of its own, and those of no other user."""
    most = max(most, 2 * of_a_user)  # else others are forgotten too
    known = Known(most, of_a_user)
    pending = [*steps, "restart", "restart"]
    with scratch() as folder:
        while pending:
            with bench(folder, max_producers=most, max_user_producers=of_a_user) as found:
                known.check(found)
                while pending and pending[0] != "restart":
                    turn: list[tuple[Any, ...]] = []
                    expected: list[str | None] = []
                    while pending and isinstance(pending[0], tuple):
                        user, name = pending.pop(0)
                        keys = {"producer": name, "sequence": known.next_of(name)}
                        turn.append(("learn", body_of([ONE]), keys, b"peer", USERS[user]))
                        expected.append(None if known.may(user, name) else "FORBIDDEN")
                        if known.may(user, name):
                            known.note(user, name)
                        if not in_one_turn:
                            break
                    if not turn:
                        assert pending.pop(0) == "snapshot"
                        found.snapshot()
                        continue
                    answers = found.turn(*turn)
                    codes = [a.code if isinstance(a, RequestError) else None for a in answers]
                    assert codes == expected
                    known.check(found)
                pending.pop(0)


def learn(user: str, name: str, sequence: int) -> tuple[Any, ...]:
    keys = {"producer": name, "sequence": sequence}
    permit = USERS[user] if user else ANYONE
    return "learn", body_of([ONE]), keys, b"peer", permit


def code(answer: Any) -> str | None:
    return answer.code if isinstance(answer, RequestError) else None


def test_others_may_not_resume_repeat_or_go_on(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        (answer,) = found.turn(learn("u", "p", 1))
        assert code(answer) is None
        refused = found.turn(
            learn("v", "p", 1), learn("v", "p", 2), learn("v", "p", 9),
            ("resume", None, {"producer": "p"}, b"peer", USERS["v"]),
        )  # fmt: skip
        assert list(map(code, refused)) == ["FORBIDDEN"] * 4
        assert "belongs to v or to nobody yet" in refused[0].message
        (own,) = found.turn(("resume", None, {"producer": "p"}, b"peer", USERS["u"]))
        assert own["sequence"] == 1


def test_a_producer_from_before_the_keys_is_the_users_who_goes_on(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        found.turn(learn("", "p", 1))
        assert found.started.default.producers.ownership.dump() == {}
        answers = found.turn(learn("u", "p", 2), learn("v", "p", 3), learn("u", "p", 3))
        assert list(map(code, answers)) == [None, "FORBIDDEN", None]
    with bench(tmp_path) as found:
        assert found.started.default.producers.ownership.dump() == {b"p": "u"}
        assert code(found.turn(learn("v", "p", 4))[0]) == "FORBIDDEN"
        assert code(found.turn(learn("", "p", 4))[0]) is None  # without keys again


@pytest.mark.parametrize("write", range(3, 7))
@pytest.mark.parametrize("room", [0, 60, 200])
def test_a_claim_and_its_request_are_logged_together(tmp_path: Path, write: int, room: int) -> None:
    """A disk that takes a part of them takes neither."""
    files = failing_at(write, (room, EIO))
    with bench(tmp_path, files=files, part_bytes=1, max_user_producers=1) as found:
        for turn in ([learn("u", "p", 1)], [learn("u", "q", 1), learn("v", "r", 1)]):
            found.turn(*turn)
        producers = found.started.default.producers
        live = producers.dump(), producers.ownership.dump()
        assert live[0].keys() == live[1].keys()
    with bench(tmp_path, max_user_producers=1) as found:
        producers = found.started.default.producers
        assert (producers.dump(), producers.ownership.dump()) == live


def test_a_held_key_is_its_users_after_any_start(tmp_path: Path) -> None:
    def hold(user: str, key: bytes) -> tuple[Any, ...]:
        body = msgpack.packb([[key], [["a"]]])
        return "predict", body, {"hold": True}, b"peer", USERS[user] if user else ANYONE

    def label(user: str, *keys: bytes) -> tuple[Any, ...]:
        body = msgpack.packb([[key, 1] for key in keys])
        return "label", body, {}, b"peer", USERS[user]

    with bench(tmp_path) as found:
        assert list(map(code, found.turn(hold("u", b"k"), hold("u", b"l"), hold("", b"n")))) == (
            [None] * 3
        )
        refused = found.turn(hold("v", b"k"), label("v", b"other", b"k"), label("v", b"n"))
        assert list(map(code, refused)) == ["FORBIDDEN", "FORBIDDEN", None]
        assert (refused[0].at, refused[1].at, refused[1].sample) == ("$[0][0]", "$[1]", 1)
    for key in (b"k", b"l"):
        with bench(tmp_path) as found:
            answers = found.turn(label("v", key), label("u", key))
            assert list(map(code, answers)) == ["FORBIDDEN", None]
            assert answers[1]["samples"] == 1
            found.snapshot()


def test_models_of_a_user_are_bounded(tmp_path: Path) -> None:
    admin = {name: Permit(name, "0" * 40, "admin") for name in ("u", "v")}

    def create(user: str, name: str) -> tuple[Any, ...]:
        return "create", None, {"model": name}, b"peer", admin[user]

    def drop(user: str, name: str) -> tuple[Any, ...]:
        return "drop", None, {"model": name}, b"peer", admin[user]

    with bench(tmp_path, max_user_models=2) as found:
        answers = found.turn(create("u", "a"), create("u", "b"), create("u", "c"), create("v", "d"))
        assert list(map(code, answers)) == [None, None, "TOO_LARGE", None]
        assert (
            "expected at most 2 models of u (max_user_models), got one more" in answers[2].message
        )
    with bench(tmp_path, max_user_models=2) as found:
        answers = found.turn(create("u", "c"), drop("v", "a"), create("u", "c"), create("v", "e"))
        assert list(map(code, answers)) == ["TOO_LARGE", None, None, None]
        found.turn(("snapshot", None, {"model": "c"}, b"peer"))
        found.settle()
    with bench(tmp_path, max_user_models=2) as found:
        answers = found.turn(create("u", "f"), create("v", "f"), drop("u", "c"), create("u", "f"))
        assert list(map(code, answers)) == ["TOO_LARGE", "TOO_LARGE", None, None]


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["claim", "touch", "forget"]), st.binary(max_size=1),
                  st.sampled_from("uv"))
    )
)  # fmt: skip
def test_ownership_against_a_list(steps: list[tuple[str, bytes, str]]) -> None:
    ownership = Ownership()
    pairs: list[tuple[bytes, str]] = []
    for step, name, user in steps:
        old = [pair for pair in pairs if pair[0] == name]
        getattr(ownership, step)(*((name, user) if step == "claim" else (name,)))
        if step != "touch" or old:
            pairs = [pair for pair in pairs if pair[0] != name]
        pairs += {"claim": [(name, user)], "touch": old, "forget": []}[step]
        assert ownership.dump() == dict(pairs)
        for each in "uv":
            assert list(ownership.names_of(each)) == [n for n, owner in pairs if owner == each]
            assert ownership.count(each) == sum(owner == each for _, owner in pairs)
        assert ownership.user_of(name) == dict(pairs).get(name, "")
        assert Ownership(ownership.dump()).dump() == ownership.dump()
