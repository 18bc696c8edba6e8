"""Labels that come later: requests in turns, kills and restarts, an explicit clock."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM
from onlinesvm.data.codec import pack_array
from onlinesvm.data.objects import Packer
from onlinesvm.model.given import Given
from onlinesvm.service.protocol import RequestError
from onlinesvm.service.server.counters import Counters
from onlinesvm.service.server.order import parts_of
from onlinesvm.service.server.service import Reading
from tests.daemons import digest_of, eventually
from tests.logs import ENOSPC, LIMITS, Bench, Disk, FaultyFiles, bench, body_of, scratch
from tests.service.server.test_handlers import answer, refusal
from tests.service.storage.test_held import Oracle

SGD: dict[str, Any] = {"rule": "sgd", "eta0": 0.5}
PEER = b"peer"
TAUGHT = [(["a", "b"], 1), (["c"], -1)]


class Clock:
    """Milliseconds that pass when they are to."""

    def __init__(self) -> None:
        self.now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Pytest's, in memory."""
    with scratch() as folder:
        yield folder


@pytest.fixture
def clock() -> Clock:
    return Clock()


def hold(keys: list[Any], samples: list[Any], **options: Any) -> tuple[Any, ...]:
    """A predict request with hold, for a turn."""
    return "predict", msgpack.packb([keys, samples]), {"hold": True, **options}, PEER


def label(*labels: list[Any], **options: Any) -> tuple[Any, ...]:
    return "label", msgpack.packb(list(labels)), options, PEER


def learn(batch: list[Any], **options: Any) -> tuple[Any, ...]:
    return "learn", body_of(batch), options, PEER


def state_of(found: Bench, model: str = "default") -> Any:
    return found.service.handlers._registry.get(model).learning[0]


def tick(found: Bench) -> None:
    """Let what is due happen."""
    found.tick(0.0)


def held_alone(samples: list[Any], labels: list[Any], margins: Any, model: OnlineSVM) -> None:
    """Teach a model that has no daemon the samples that were predicted with these margins."""
    body = body_of(list(zip(samples, labels, strict=True)))
    model.learn_batch(model.decode(body, labelled=True), given=np.array(margins))


def test_a_held_sample_is_learned_by_its_label(tmp_path: Path, clock: Clock) -> None:
    expected = OnlineSVM(**SGD)
    with bench(tmp_path, clock=clock, **SGD) as found:
        found.learn(TAUGHT)
        expected.learn(TAUGHT)
        margins = expected.decision_function([["a"], {"c": 2.0}])
        reply = answer(found.service, "predict", hold(["k", 7], [["a"], {"c": 2.0}])[1],
                       options={"ttl_ms": 1000, "default": None})  # fmt: skip
        assert reply.keys == {"samples": 2, "position": 2, "duplicate": []}
        assert msgpack.unpackb(reply.body) == margins.tolist()
        more = [(["a", "b"], -1)]
        found.learn(more)
        expected.learn(more)
        reply = answer(found.service, "label", label(["7", 1, 2.0], ["k", -1], ["x", 1])[1])
        assert reply.keys == {"samples": 2, "position": 5}
        assert msgpack.unpackb(reply.body) == ["learned", "learned", "unknown"]
        body = pack_array(
            [Packer().sample({"c": 2.0}, 1, 2.0, index=0), Packer().sample(["a"], -1, 1.0, index=1)]
        )
        given_ = margins[::-1].copy()
        expected.learn_batch(expected.decode(body, labelled=True), given=given_)
        assert digest_of(found.model) == digest_of(expected)
        figures = answer(found.service, "stats").keys
        counts = {key: figures[key] for key in ("held", "labelled", "unknown", "expired")}
        assert counts == {"held": 0, "labelled": 2, "unknown": 1, "expired": 0}


def test_progressive_validation_goes_by_the_margins_that_were_given(
    tmp_path: Path, clock: Clock
) -> None:
    with bench(tmp_path, clock=clock, **SGD) as found:
        found.turn(hold(["k"], [["a"]]))
        found.learn([(["a"], 1)] * 20)
        before = found.model.progressive.totals.copy()
        assert found.model.decision_function_one(["a"]) > 0.5
        found.turn(label(["k", 1]))
        after = found.model.progressive.totals
        assert after[0] - before[0] == 1.0
        assert after[3] - before[3] == 1.0  # the hinge loss of margin 0, not of now


@pytest.mark.parametrize("rule", ["sgd", "hedge"])
def test_a_turn_is_as_its_requests_one_by_one(tmp_path: Path, clock: Clock, rule: str) -> None:
    requests = [
        learn(TAUGHT),
        hold(["k1", "k2"], [["a"], ["c", "d"]]),
        hold(["k3", "k1"], [["b"], ["e"]]),
        label(["k1", 1]),
        learn([(["a"], -1)]),
        label(["k1", -1], ["k3", -1]),
        hold(["k4"], [["a", "b", "c"]]),
        label(["k4", 1], ["k2", 1], ["k2", -1]),
    ]
    with bench(tmp_path / "a", clock=clock, rule=rule) as found:
        at_once = found.turn(*requests)
        digest, packed = digest_of(found.model), state_of(found).held.view().pack()
    with bench(tmp_path / "b", clock=clock, rule=rule) as found:
        assert [found.turn(request)[0] for request in requests] == at_once
        assert digest_of(found.model) == digest
        assert state_of(found).held.view().pack() == packed
    assert [reply.get("duplicate") for reply in at_once[1:3]] == [[], [1]]
    assert [reply["samples"] for reply in at_once] == [2, 2, 2, 1, 1, 1, 1, 2]


def test_a_turn_of_holds_alone_is_one_part(tmp_path: Path) -> None:
    def part(*requests: tuple[Any, ...]) -> list[int]:
        from onlinesvm.service.protocol import encode_request, parse_request

        parsed = [
            parse_request([encode_request(op, 1, **keys), body], Limits())
            for op, body, keys, _ in requests
        ]
        parts = list(parts_of(parsed))
        assert [request for each in parts for request in each] == parsed
        return [len(each) for each in parts]

    held, labelled, learned = hold(["k"], [["a"]]), label(["k", 1]), learn(TAUGHT)
    assert part(held, held, held) == [3]
    assert part(learned, labelled, labelled, learned) == [4]
    assert part(learned, held, labelled) == [1, 1, 1]
    assert part(held, labelled, held) == [1, 1, 1]
    assert part(learn(TAUGHT, model="other"), held, learned) == [3]


def test_samples_leave_when_their_time_is_up(tmp_path: Path, clock: Clock) -> None:
    expected = OnlineSVM(**SGD)
    with bench(tmp_path, clock=clock, **SGD) as found:
        for batch in (TAUGHT,):
            found.learn(batch)
            expected.learn(batch)
        margin = expected.decision_function_one(["a"])
        found.turn(
            hold(["k1"], [["a"]], ttl_s=10, default_label=-1), hold(["k2"], [["b"]], ttl_s=10)
        )
        clock.now += 9_999
        tick(found)
        assert len(state_of(found).held) == 2
        clock.now += 1
        assert found.turn(label(["k1", 1]))[0]["samples"] == 0  # too late, though it is still held
        tick(found)
        held_alone([["a"]], [-1], [margin], expected)
        assert digest_of(found.model) == digest_of(expected)
        reply = answer(found.service, "label", label(["k1", 1], ["k2", 1])[1])
        assert msgpack.unpackb(reply.body) == ["expired", "expired"]
        assert found.turn(hold(["k1"], [["a"]]))[0]["duplicate"] == [0]
        clock.now += 10_000
        reply = answer(found.service, "label", label(["k1", 1], ["k2", 1])[1])
        assert msgpack.unpackb(reply.body) == ["unknown", "unknown"]
        assert found.turn(hold(["k1"], [["a"]]))[0]["duplicate"] == []


def test_many_samples_leave_in_order_a_piece_at_a_time(tmp_path: Path, clock: Clock) -> None:
    expected = OnlineSVM(**SGD)
    samples = [[f"f{i % 17}", "all"] for i in range(2500)]
    with bench(tmp_path, clock=clock, **SGD) as found:
        found.turn(hold([f"k{i}" for i in range(2500)], samples, ttl_s=1, default_label="no"))
        clock.now += 1000
        ticks = 0
        while len(state_of(found).held):
            tick(found)
            ticks += 1
        assert ticks == 3
        held_alone(samples, ["no"] * 2500, [0.0] * 2500, expected)
        assert digest_of(found.model) == digest_of(expected)


def test_a_default_label_that_has_no_side_any_more_is_dropped(tmp_path: Path, clock: Clock) -> None:
    with bench(tmp_path, clock=clock, **SGD) as found:
        found.learn([(["a"], "yes")])
        found.turn(hold(["k1", "k2"], [["a"], ["b"]], ttl_s=1, default_label="no"))
        found.learn([(["b"], "maybe")])
        clock.now += 1000
        tick(found)
        assert found.model.position == 2
        assert state_of(found).held.figures.expired == 2
        (error,) = found.turn(hold(["k3"], [["a"]], default_label="no"))
        assert error.code == "BAD_SAMPLE"
        assert error.message.startswith("default_label: expected one of the model's two labels")


def test_default_labels_beyond_max_labels_are_dropped_by_a_replay_too(
    tmp_path: Path, clock: Clock
) -> None:
    limits = replace(LIMITS, max_labels=3)
    with bench(tmp_path, clock=clock, limits=limits, task="multiclass") as found:
        found.learn([(["a"], "x"), (["b"], "y")])
        for key, default in ("k1", "new"), ("k2", "one too many"), ("k3", "new"):
            found.turn(hold([key], [[key]], ttl_s=1, default_label=default))
        clock.now += 1000
        tick(found)
        assert found.model.position == 4
        digest = digest_of(found.model)
    with bench(tmp_path, clock=clock, limits=limits, task="multiclass") as found:
        assert digest_of(found.model) == digest


def test_an_expiry_that_a_start_notes_too_early_is_noted_anew(tmp_path: Path, clock: Clock) -> None:
    """A start looks at the entries that hold samples alone, not at those that label them."""
    with bench(tmp_path, clock=clock, **SGD) as found:
        found.turn(hold(["k"], [["a"]], ttl_s=1))
        found.turn(label(["k", 1]))
    with bench(tmp_path, clock=clock, **SGD) as found:
        clock.now += 1000
        tick(found)
        assert found.service._expiries.tick(0.0) == (math.inf, [])


def test_models_that_hold_samples_and_are_dropped_leave_nothing(
    tmp_path: Path, clock: Clock
) -> None:
    with bench(tmp_path, clock=clock, **SGD) as found:
        expiries = found.service._expiries
        found.turn(hold(["k"], [["a"]], ttl_s=1))
        for _ in range(100):
            found.turn(("create", None, {"config": SGD, "model": "m"}, PEER))
            found.turn(hold(["k"], [["a"]], ttl_s=3600, model="m"))
            found.turn(("drop", None, {"model": "m"}, PEER))
        assert len(expiries._queued) == 1
        assert len(expiries._queue) < 100
        clock.now += 1000  # the sample of the model that stays leaves in its time
        tick(found)
        assert len(state_of(found).held) == 0


def test_a_clock_that_goes_back_shortens_no_samples_time(tmp_path: Path, clock: Clock) -> None:
    with bench(tmp_path, clock=clock, **SGD) as found:
        found.turn(hold(["k1"], [["a"]], ttl_s=5))
        clock.now -= 600_000
        found.turn(hold(["k2"], [["a"]], ttl_s=5))
        reply = answer(found.service, "label", label(["k1", 1], ["k2", -1])[1])
        assert msgpack.unpackb(reply.body) == ["learned", "learned"]
        packed = state_of(found).held.view().pack()
    with bench(tmp_path, clock=clock, **SGD) as found:
        assert state_of(found).held.view().pack() == packed


def test_requests_without_an_entry_leave_the_latest_time_as_it_is(
    tmp_path: Path, clock: Clock
) -> None:
    """A replay does not see them."""
    with bench(tmp_path, clock=clock, **SGD) as found:
        found.turn(hold(["k"], [["a"]], ttl_s=1))
        found.turn(label(["k", 1]))
        latest = clock.now
        clock.now += 500
        found.turn(hold([], []))
        found.turn(label(["k", 1]))
        assert state_of(found).held.now == latest


KEY = st.sampled_from(["k0", "k1", "k2", "k3", "k4"])
LABEL = st.sampled_from([-1, 1])
STEPS = st.one_of(
    st.tuples(st.just("learn"), st.lists(LABEL, max_size=3)),
    st.tuples(st.just("hold"), st.lists(KEY, max_size=4), st.integers(1, 20),
              st.sampled_from([None, -1, 1])),
    st.tuples(st.just("label"), st.lists(st.tuples(KEY, LABEL), max_size=4)),
    st.tuples(st.just("pass"), st.integers(0, 15)),
    st.tuples(st.just("snapshot")),
    st.tuples(st.just("kill")),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(STEPS, max_size=25),
    rule=st.sampled_from(["sgd", "hedge"]),
    limit=st.sampled_from([3, 100]),
)
def test_a_daemon_that_is_killed_is_as_one_that_is_not(
    steps: list[Any], rule: str, limit: int
) -> None:
    """Each label is learned exactly once; the oracle has no log and no snapshot."""
    clock, model, oracle = Clock(), OnlineSVM(rule=rule), Oracle(limit)
    known: dict[str, tuple[Any, float, Any]] = {}  # of the samples held: features, margin, default
    number = 0
    with scratch() as folder:
        opened = bench(folder, clock=clock, max_held=limit, rule=rule)
        found = opened.__enter__()
        for kind, *rest in steps:
            if kind == "learn":
                batch = [([f"f{i}", "all"], y) for i, y in enumerate(rest[0])]
                found.learn(batch)
                model.learn(batch)
            elif kind == "hold" and len(rest[0]) <= limit:
                keys, ttl, default = rest
                number += 1
                samples = [[f"f{(number + i) % 5}", "all"] for i in range(len(keys))]
                margins = model.decision_function(samples)
                options = {} if default is None else {"default_label": default}
                (reply,) = found.turn(hold(keys, samples, ttl_s=ttl, **options))
                duplicates = oracle.hold([k.encode() for k in keys], clock.now, ttl * 1000)
                assert reply["duplicate"] == duplicates
                for i, key in enumerate(keys):
                    if i not in duplicates:
                        known[key] = samples[i], float(margins[i]), default
            elif kind == "label":
                keys = [key.encode() for key, _ in rest[0]]
                outcomes = oracle.outcomes(keys, clock.now)
                reply = answer(found.service, "label", label(*map(list, rest[0]))[1])
                assert msgpack.unpackb(reply.body) == outcomes
                learned = [row for row, o in zip(rest[0], outcomes, strict=True) if o == "learned"]
                oracle.leave([key.encode() for key, _ in learned], clock.now, "duplicate")  # type: ignore[arg-type]
                held_alone(
                    [known[key][0] for key, _ in learned], [y for _, y in learned],
                    [known[key][1] for key, _ in learned], model,
                )  # fmt: skip
            elif kind == "pass":
                clock.now += rest[0] * 1000
                tick(found)
                due = oracle.due(clock.now, 1000)
                rows = [known[key.decode()] for key in due]
                rows = [row for row in rows if row[2] is not None]
                held_alone([row[0] for row in rows], [row[2] for row in rows],
                           [row[1] for row in rows], model)  # fmt: skip
                oracle.leave(due, clock.now, "expired")  # type: ignore[arg-type]
            elif kind == "snapshot":
                found.snapshot()
            elif kind == "kill":
                opened.__exit__(None, None, None)
                opened = bench(folder, clock=clock, max_held=limit, rule=rule)
                found = opened.__enter__()
            assert digest_of(found.model) == digest_of(model)
            assert len(state_of(found).held) == len(oracle.held)
        opened.__exit__(None, None, None)


def test_an_unloaded_model_is_loaded_when_a_sample_expires(tmp_path: Path, clock: Clock) -> None:
    with bench(tmp_path, clock=clock, **SGD) as found:
        config = {"config": SGD}
        found.turn(("create", None, {"model": "m", **config}, PEER))
        found.turn(hold(["k"], [["a"]], ttl_s=5, default_label=1, model="m"))
        asked = found.turn(("snapshot", None, {"model": "m"}, PEER))[0]
        found.settle()
        asked.result(0)
        registry = found.service.handlers._registry
        registry.unload("m")
        clock.now += 4_000
        tick(found)
        assert registry.find("m") is None
        clock.now += 1_000

        def is_learned() -> bool:
            tick(found)
            hosted = registry.find("m")
            return hosted is not None and hosted.model.position == 1

        eventually(is_learned, "the sample's default label")
        stored = registry.stored("m")
        assert stored is not None
        assert stored.next_expiry == 0


def test_a_model_that_was_never_loaded_expires_its_samples(tmp_path: Path, clock: Clock) -> None:
    """The next expiry is in the head of its snapshot, or in its entries of the log."""
    for name, has_snapshot in (("m", True), ("n", False)):
        with bench(tmp_path, clock=clock, **SGD) as found:
            found.turn(("create", None, {"model": name, "config": SGD}, PEER))
            found.turn(hold(["k"], [["a"]], ttl_s=5, default_label=1, model=name))
            if has_snapshot:
                asked = found.turn(("snapshot", None, {"model": name}, PEER))[0]
                found.settle()
                asked.result(0)
    with bench(tmp_path, clock=clock, **SGD) as found:
        registry = found.service.handlers._registry
        assert registry.find("m") is registry.find("n") is None
        clock.now += 5_000

        def are_learned() -> bool:
            tick(found)
            models = [registry.find(name) for name in "mn"]
            return all(hosted is not None and hosted.model.position == 1 for hosted in models)

        eventually(are_learned, "the samples' default labels")


def test_samples_stay_while_nothing_can_be_written(tmp_path: Path, clock: Clock) -> None:
    disk = Disk()
    with bench(tmp_path, clock=clock, files=FaultyFiles(disk), **SGD) as found:
        found.turn(hold(["k1", "k2"], [["a"], ["b"]], ttl_s=5, default_label=1))
        digest = digest_of(found.model)
        disk.broken = {"write": (0, ENOSPC), "open": ENOSPC, "create": ENOSPC}
        for request in (hold(["k3"], [["a"]]), label(["k1", 1])):
            (error,) = found.turn(request)
            assert (error.code, "nothing of it is applied" in error.message) == (
                "NOT_DURABLE",
                True,
            )
        clock.now += 5_000
        tick(found)
        assert (len(state_of(found).held), digest_of(found.model)) == (2, digest)
        disk.broken = {}

        def has_expired() -> bool:
            clock.now += 1_000
            tick(found)
            return not len(state_of(found).held)

        eventually(has_expired, "the samples' default labels")
        assert found.model.position == 2


def test_a_change_of_the_limit_is_replayed(tmp_path: Path, clock: Clock) -> None:
    with bench(tmp_path, clock=clock, **SGD) as found:
        found.turn(hold(["k1", "k2", "k3"], [["a"], ["b"], ["c"]]))
    with bench(tmp_path, clock=clock, max_held=2, **SGD) as found:
        assert len(state_of(found).held) == 2
        found.turn(hold(["k4"], [["d"]]))
        packed = state_of(found).held.view().pack()
    with bench(tmp_path, clock=clock, max_held=2, **SGD) as found:
        assert state_of(found).held.view().pack() == packed
        (error,) = found.turn(hold(["k5", "k6", "k7"], [[], [], []]))
        assert (error.code, error.message) == (
            "TOO_LARGE",
            "expected samples that count as at most 2 (max_held), got 3: each KiB counts as one",
        )


def test_a_faulty_request_changes_nothing(tmp_path: Path, clock: Clock) -> None:
    with bench(tmp_path, clock=clock, limits=Limits(), **SGD) as found:
        found.learn([(["a"], 1), (["b"], -1)])
        found.turn(hold(["k1", "k2"], [["a"], ["b"]]))
        digest, packed = digest_of(found.model), state_of(found).held.view().pack()
        for request, code, at in (
            (hold(["k3", "k4"], [["a"], {"b": float("nan")}]), "BAD_SAMPLE", '$[1][1]["b"]'),
            (hold(["k3"], [{"b": 1e9}]), "BAD_SAMPLE", '$[1][0]["b"]'),
            (hold(["k3", ""], [["a"], ["b"]]), "BAD_SAMPLE", "$[0][1]"),
            (hold(["k3"], []), "BAD_SAMPLE", "$[1]"),
            (hold(["k3"], [["a"]], default_label="spam"), "BAD_SAMPLE", None),
            (label(["k1", 1], ["k2", "spam"]), "BAD_SAMPLE", "$[1][1]"),
            (label(["k0", 1], ["k1", 1], ["k2", 1, 33.0]), "BAD_SAMPLE", "$[2][2]"),
            (label(["k1", 1], ["k2"]), "BAD_SAMPLE", "$[1]"),
            (label(["k1", 1.5]), "BAD_SAMPLE", "$[0][1]"),
        ):
            (error,) = found.turn(request)
            assert isinstance(error, RequestError)
            assert (error.code, error.at) == (code, at), error
        assert digest_of(found.model) == digest
        assert state_of(found).held.view().pack() == packed


def test_labels_of_too_large_samples_are_refused_at_once(tmp_path: Path, clock: Clock) -> None:
    limits = Limits(max_message_bytes=4096)
    with bench(tmp_path, clock=clock, limits=limits, **SGD) as found:
        for key in ("k1", "k2"):
            found.turn(hold([key], [["x" * 3000]]))
        (error,) = found.turn(label(["k1", 1], ["k2", 1]))
        assert error.code == "TOO_LARGE"
        assert "send fewer labels at once" in error.message
        assert [found.turn(label([key, 1]))[0]["samples"] for key in ("k1", "k2")] == [1, 1]


def test_texts_and_fields_are_held_as_they_came(tmp_path: Path, clock: Clock) -> None:
    samples = ["Free prize!!", {"subject": "Win now", "size": 3.5}]
    expected = OnlineSVM()
    with bench(tmp_path, clock=clock) as found:
        found.turn(hold(["k1", "k2"], samples))
        found.turn(label(["k2", "ham"], ["k1", "spam"]))
        held_alone(samples[::-1], ["ham", "spam"], [0.0, 0.0], expected)
        assert digest_of(found.model) == digest_of(expected)


def test_a_reader_holds_nothing(tmp_path: Path, clock: Clock) -> None:
    with bench(tmp_path / "leader", clock=clock, **SGD) as found:
        found.learn(TAUGHT)
        found.snapshot()
        reading = Reading(tmp_path / "leader", Limits(), Counters(), lambda: None,
                          reload_every_s=3600)  # fmt: skip
        options = {"ttl_ms": 1000, "default": None}
        error = refusal(reading, "predict", hold(["k"], [["a"]])[1], options=options)
        assert error.code == "READ_ONLY"
        assert refusal(reading, "label", label(["k", 1])[1]).code == "READ_ONLY"
        reading.stop()


def test_a_copy_of_a_model_holds_nothing(tmp_path: Path, clock: Clock) -> None:
    with bench(tmp_path, clock=clock, **SGD) as found:
        found.turn(hold(["k"], [["a"]]))
        (asked,) = found.turn(("create", None, {"model": "copy", "copy_of": "default"}, PEER))
        assert isinstance(asked, Future)

        def is_there() -> bool:
            tick(found)
            return asked.done()

        eventually(is_there, "the copy")
        assert len(state_of(found, "copy").held) == 0
        assert len(state_of(found).held) == 1


@pytest.mark.parametrize("op", ["predict", "label"])
def test_a_model_that_does_not_exist(tmp_path: Path, clock: Clock, op: str) -> None:
    with bench(tmp_path, clock=clock, **SGD) as found:
        request = hold(["k"], [["a"]], model="m") if op == "predict" else label(["k", 1], model="m")
        assert found.turn(request)[0].code == "NO_MODEL"
        create = ("create", None, {"model": "m", "config": SGD}, PEER)
        drop = ("drop", None, {"model": "m"}, PEER)
        replies = found.turn(create, hold(["k"], [["a"]], model="m"), label(["k", 1], model="m"),
                             drop, request)  # fmt: skip
        assert replies[1]["samples"] == replies[2]["samples"] == 1
        assert replies[4].code == "NO_MODEL"


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_many_classes_are_held_too(tmp_path: Path, clock: Clock, task: str) -> None:
    expected = OnlineSVM(task=task)
    taught = [(["a"], "x"), (["b"], "y"), (["c"], "z")] * 5

    def given_for(*asked: list[str]) -> Given:
        batch = expected.decode(msgpack.packb(asked), labelled=False)
        return Given.unpacked(expected.give_batch(batch))

    def learn(before: Given, *samples: Any) -> None:
        body = body_of([(features, label) for features, label in samples])
        expected.learn_batch(expected.decode(body, labelled=True), given=before)

    with bench(tmp_path, clock=clock, task=task) as found:
        found.turn(hold(["k0"], [["q"]]))
        before_all = given_for(["q"])
        found.learn(taught)
        expected.learn(taught)
        request = hold(["k1", "k2"], [["a"], ["b", "c"]], ttl_s=5, default_label="new", top=2)
        (reply,) = found.turn(request)
        assert reply["duplicate"] == []
        first, second = given_for(["a"]), given_for(["b", "c"])
        held = state_of(found).held
        assert Given.unpacked([held.sample(b"k1").given]).best[0].tolist() == first.best[0].tolist()
        found.learn(taught)
        expected.learn(taught)
        found.turn(label(["k1", "y"], ["k0", "w"]))
        learn(first, (["a"], "y"))
        learn(before_all, (["q"], "w"))
        packed = held.view().pack()
    with bench(tmp_path, clock=clock, task=task) as found:
        assert state_of(found).held.view().pack() == packed
        clock.now += 5_000
        tick(found)
        learn(second, (["b", "c"], "new"))
        assert digest_of(found.model) == digest_of(expected)
