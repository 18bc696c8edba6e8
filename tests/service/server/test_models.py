"""Many models in one daemon: created, dropped, unloaded and loaded, each as if it were alone."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM
from onlinesvm.service.errors import StateError
from onlinesvm.service.protocol import RequestError
from onlinesvm.service.server.leader import Policy
from onlinesvm.service.server.memory import Memory
from onlinesvm.service.server.snapshot_round import Job, Round
from onlinesvm.service.server.turnstile import Turnstile
from onlinesvm.service.storage.recovery import recover
from onlinesvm.service.storage.snapshots import DroppedModel, model_folder, snapshots_in
from onlinesvm.service.storage.state_dir import StateDir
from tests.daemons import DEADLINE_S, digest_of, eventually, files_in
from tests.logs import Batch, Bench, bench, body_of, scratch, segments_of

SGD: dict[str, Any] = {"rule": "sgd", "eta0": 0.5}
PEER = b"peer"


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Pytest's, in memory."""
    with scratch() as folder:
        yield folder


def small(n: int, start: int = 0) -> list[Batch]:
    return [[([f"f{i % 7}", "all"], 1 if i % 3 else -1)] for i in range(start, start + n)]


def ask(found: Bench, op: str, model: str, body: bytes | None = None, **keys: Any) -> Any:
    """One request of a turn of its own; its keys, or the error."""
    return done(found, found.turn((op, body, {"model": model, **keys}, PEER))[0])


def done(found: Bench, answer: Any) -> Any:
    """The keys of an answer, which may come later, or the error."""
    if not isinstance(answer, Future):
        return answer

    def is_done() -> bool:
        found.tick(0.0)
        return answer.done()

    eventually(is_done, "an answer")
    error = answer.exception(0)
    return error if error is not None else answer.result(0).keys


def learn(found: Bench, model: str, batch: Batch, **keys: Any) -> Any:
    return ask(found, "learn", model, body_of(batch), **keys)


def create(found: Bench, model: str, **keys: Any) -> Any:
    return ask(found, "create", model, config=keys.pop("config", SGD), **keys)


def digest(found: Bench, model: str) -> str:
    ask(found, "stats", model)
    return digest_of(found.service.handlers._registry.get(model).model)


def unload(found: Bench, model: str) -> None:
    """Have a model leave the memory."""
    ask(found, "snapshot", model)
    found.settle()
    registry = found.service.handlers._registry
    hosted = registry.get(model)
    assert found.service._may_leave(hosted)
    registry.unload(model)


def codes(answers: list[Any]) -> list[str | None]:
    return [answer.code if isinstance(answer, RequestError) else None for answer in answers]


# Create, drop, list.


def test_a_model_is_created_learns_and_is_dropped(tmp_path: Path) -> None:
    expected = OnlineSVM(**SGD)
    with bench(tmp_path) as found:
        reply = create(found, "spam")
        assert (reply["model"], reply["position"]) == ("spam", 0)
        for batch in small(5):
            assert learn(found, "spam", batch)["position"] == expected.position + 1
            expected.learn(batch)
        assert found.model.position == 0
        assert digest(found, "spam") == digest_of(expected)
    with bench(tmp_path) as found:
        assert digest(found, "spam") == digest_of(expected)
        assert ask(found, "drop", "spam") == {}
        assert ask(found, "stats", "spam").code == "NO_MODEL"
        assert create(found, "spam", config={})["position"] == 0
    with bench(tmp_path) as found:
        assert digest(found, "spam") == digest_of(OnlineSVM())


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        create(found, "spam")
        assert create(found, "spam").code == "EXISTS"
        assert create(found, "spam", if_exists="same")["model"] == "spam"
        refused = create(found, "spam", config={"rule": "pa1"}, if_exists="same")
        assert refused.code == "EXISTS"
        assert "rule=sgd" in refused.message and "rule=pa1" in refused.message


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"rule": "none"}, "rule: expected one of"),
        ({"rate": 1}, "unknown parameter 'rate'"),
        ({"rule": "sgd", "eta0": "much"}, "eta0: expected a number"),
    ],
)
def test_a_configuration_that_cannot_be(tmp_path: Path, config: Any, text: str) -> None:
    with bench(tmp_path) as found:
        refused = create(found, "spam", config=config)
        assert refused.code == "BAD_REQUEST"
        assert text in refused.message
        assert ask(found, "stats", "spam").code == "NO_MODEL"


def test_a_turn_sees_its_own_models(tmp_path: Path) -> None:
    (batch,) = small(1)
    requests = [
        ("learn", body_of(batch), {"model": "a"}, PEER),
        ("create", None, {"model": "a", "config": SGD}, PEER),
        ("learn", body_of(batch), {"model": "a"}, PEER),
        ("drop", None, {"model": "a"}, PEER),
        ("learn", body_of(batch), {"model": "a"}, PEER),
        ("create", None, {"model": "a", "config": {}}, PEER),
        ("learn", body_of(batch), {"model": "a"}, PEER),
        ("drop", None, {"model": "b"}, PEER),
    ]
    with bench(tmp_path) as found:
        answers = found.turn(*requests)
        assert codes(answers) == [
            "NO_MODEL", None, None, None, "NO_MODEL", None, None, "NO_MODEL"
        ]  # fmt: skip
        assert digest(found, "a") == digest_after_all([batch])
    with bench(tmp_path) as found:
        assert digest(found, "a") == digest_after_all([batch])


def digest_after_all(batches: list[Batch], **config: Any) -> str:
    model = OnlineSVM(**config)
    for batch in batches:
        model.learn(batch)
    return digest_of(model)


def test_the_list_comes_in_pages(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        for i in range(7):
            create(found, f"m{i}")
        learn(found, "m3", small(1)[0])
        names: list[str] = []
        after: str | None = ""
        while after is not None:
            page = ask(found, "models", "default", after=after, limit=3)
            assert page["count"] == 8
            assert len(page["models"]) <= 3
            names += [row["name"] for row in page["models"]]
            after = page["next"]
        assert names == ["default", *(f"m{i}" for i in range(7))]
        (row,) = ask(found, "models", "default", after="m2", limit=1)["models"]
        assert (row["name"], row["position"], row["loaded"]) == ("m3", 1, True)


def test_the_first_sample_creates_a_model_where_that_is_wanted(tmp_path: Path) -> None:
    with bench(tmp_path, **SGD) as found:
        found.service.leader.policy = Policy(Limits(), given=SGD, auto_create=True, max_models=3)
        batches = small(3)
        requests = [("learn", body_of(batch), {"model": "new"}, PEER) for batch in batches]
        assert codes(found.turn(*requests)) == [None] * 3
        assert learn(found, "other", batches[0])["position"] == 1
        refused = learn(found, "beyond", batches[0])
        assert refused.code == "TOO_LARGE"
        assert "at most 3 models" in refused.message
        assert ask(found, "predict", "unknown", b"\x90").code == "NO_MODEL"
    with bench(tmp_path) as found:
        assert digest(found, "new") == digest_after_all(batches, **SGD)


def test_producers_are_a_models_own(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        for name in "ab":
            create(found, name)
            assert learn(found, name, small(1)[0], producer="p", sequence=1)["position"] == 1
        assert learn(found, "a", small(1)[0], producer="p", sequence=1)["duplicate"]
        assert learn(found, "a", small(1)[0], producer="p", sequence=2)["position"] == 2
        assert ask(found, "resume", "b", producer="p")["sequence"] == 1


# Unloaded and loaded.


def test_a_model_that_left_the_memory_comes_back(tmp_path: Path) -> None:
    batches = small(6)
    with bench(tmp_path) as found:
        create(found, "spam")
        for batch in batches[:3]:
            learn(found, "spam", batch)
        unload(found, "spam")
        assert found.service.handlers._registry.find("spam") is None
        for batch in batches[3:]:
            assert learn(found, "spam", batch)["samples"] == 1
        assert digest(found, "spam") == digest_after_all(batches, **SGD)
    with bench(tmp_path) as found:
        assert digest(found, "spam") == digest_after_all(batches, **SGD)


def test_a_late_request_of_a_broken_connection_is_refused_after_an_unload(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        create(found, "spam")
        ask(found, "resume", "spam", producer="p")
        keys = {"model": "spam", "producer": "p", "sequence": 1}
        for _ in range(2):
            unload(found, "spam")
            late = found.turn(("learn", body_of(small(1)[0]), keys, b"broken"))[0]
            error = done(found, late)
            assert isinstance(error, RequestError)
            assert error.code == "SEQUENCE_GAP"
        assert learn(found, "spam", small(1)[0], producer="p", sequence=1)["samples"] == 1


def test_a_producer_reports_its_lag_to_a_model_that_left_the_memory(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        create(found, "spam")
        ask(found, "resume", "spam", producer="p")
        learn(found, "spam", small(1)[0], producer="p", sequence=1)
        unload(found, "spam")
        assert ask(found, "lag", "spam", producer="p", entries=3) == {}
        (shown,) = ask(found, "stats", "spam")["ingest"]
        assert shown["lag_entries"] == 3


def test_what_comes_after_a_request_that_waits_for_its_model_waits_too(tmp_path: Path) -> None:
    """A drop needs no model in memory; it must not overtake what its connection has sent before."""
    with bench(tmp_path) as found:
        create(found, "a")
        learn(found, "a", small(1)[0])
        unload(found, "a")
        turn = [
            ("learn", body_of(small(1, 1)[0]), {"model": "a"}, PEER),
            ("drop", None, {"model": "a"}, PEER),
            ("create", None, {"model": "a", "config": SGD}, PEER),
            ("learn", body_of(small(1, 2)[0]), {"model": "a"}, PEER),
        ]
        first, *others = [done(found, answer) for answer in found.turn(*turn)]
        assert first["position"] == 2
        assert [answer.get("position") for answer in others] == [None, 0, 1]
        unload(found, "a")
        waiting = found.turn(("learn", body_of(small(1, 3)[0]), {"model": "a"}, PEER))[0]
        dropped = found.turn(("drop", None, {"model": "a"}, b"another peer"))[0]
        assert dropped == {}, "another connection's need not wait"
        error = done(found, waiting)
        assert isinstance(error, RequestError)
        assert error.code == "NO_MODEL"


def test_requests_for_models_in_memory_do_not_wait_for_others(tmp_path: Path) -> None:
    batches = small(4)
    with bench(tmp_path) as found:
        create(found, "away")
        learn(found, "away", batches[0])
        unload(found, "away")
        requests = [("learn", body_of(b), {"model": "away"}, PEER) for b in batches[1:]]
        here = ("learn", body_of(batches[0]), {}, PEER)
        answers = found.turn(requests[0], here, *requests[1:])
        assert answers[1]["position"] == 1
        waiting = [answer for i, answer in enumerate(answers) if i != 1]
        assert all(isinstance(answer, Future) for answer in waiting)
        assert [done(found, answer)["position"] for answer in waiting] == [2, 3, 4]
        assert digest(found, "away") == digest_after_all(batches, **SGD)


def test_the_models_used_furthest_back_leave_first(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        for name in "abcd":
            create(found, name)
            learn(found, name, small(1)[0])
        registry = found.service.handlers._registry
        ask(found, "stats", "a")
        memory: Memory = found.service._memory
        memory.max_bytes = memory.bytes * 2 // 5 + 1  # two of five

        def is_within() -> bool:
            found.tick(0.0)
            return memory.bytes <= memory.max_bytes  # type: ignore[operator]

        eventually(is_within, "room")
        assert {hosted.name for hosted in registry} == {"d", "a"}
        assert memory.unloaded == 3
        memory.max_bytes = None
        for name in "bcd":
            assert digest(found, name) == digest_after_all(small(1), **SGD)


def test_a_killed_daemon_loads_what_is_asked_for(tmp_path: Path) -> None:
    batches = small(4)
    with bench(tmp_path) as found:
        for name in "ab":
            create(found, name)
            learn(found, name, batches[0])
        ask(found, "snapshot", "a")
        found.settle()
        for batch in batches[1:]:
            learn(found, "a", batch)
    with bench(tmp_path) as found:
        registry = found.service.handlers._registry
        assert [hosted.name for hosted in registry] == ["default"]
        assert digest(found, "a") == digest_after_all(batches, **SGD)
        assert registry.find("b") is None
        assert digest(found, "b") == digest_after_all(batches[:1], **SGD)


# The log.


def test_a_model_that_is_not_changed_keeps_no_log(tmp_path: Path) -> None:
    with bench(tmp_path, every_s=0.01) as found:
        create(found, "idle")
        learn(found, "idle", small(1)[0])
        ask(found, "snapshot", "idle")
        for i in range(5):
            found.learn(*small(3, 3 * i))
            found.snapshot()

        def is_short() -> bool:
            found.tick(0.0)
            return len(segments_of(tmp_path)) <= 2

        eventually(is_short, "the end of the old segments")
    with bench(tmp_path) as found:
        assert digest(found, "idle") == digest_after_all(small(1), **SGD)
        assert found.model.position == 15


def test_a_snapshot_of_a_model_that_is_dropped_meanwhile_has_no_model(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        create(found, "spam")
        learn(found, "spam", small(1)[0])
        keys = {"model": "spam"}
        asked, dropped = found.turn(("snapshot", None, keys, PEER), ("drop", None, keys, PEER))
        assert dropped == {}
        answer = done(found, asked)
        if isinstance(answer, RequestError):  # else it was written before
            assert (answer.code, answer.message) == ("NO_MODEL", "model spam was dropped")
        again = ask(found, "snapshot", "spam")
        assert again.code == "NO_MODEL"


def test_a_model_that_is_dropped_before_its_round_runs_leaves_no_snapshot(tmp_path: Path) -> None:
    """Or the next start would serve it again, once the log with the drop is gone."""
    with bench(tmp_path) as found:
        create(found, "a")
        learn(found, "a", small(1)[0])
        hosted = found.service.handlers._registry.get("a")
        state, _ = hosted.learning
        job = Job(hosted, state.view(found.started.folder), state.position.lsn, Future())
        assert ask(found, "drop", "a") == {}
        snapshotter, snapshots = found.service.snapshotter, found.started.snapshots
        Round([job], None, None, job.lsn).run(
            snapshots, snapshotter._disk, snapshotter._released, Turnstile()
        )
        assert isinstance(job.error, DroppedModel)
        assert not snapshots_in(model_folder(tmp_path, "a"))


def test_a_copy_whose_name_is_taken_meanwhile_leaves_no_file(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        learn(found, "default", small(1)[0])
        (copied,) = found.turn(("create", None, {"model": "spam", "copy_of": "default"}, PEER))
        create(found, "spam")
        error = done(found, copied)
        assert isinstance(error, RequestError)
        assert error.code == "EXISTS"
        assert not list(tmp_path.glob("models/spam/*"))
        ask(found, "snapshot", "spam")


def test_a_copy_whose_name_came_and_went_meanwhile_is_not_created(tmp_path: Path) -> None:
    """Its file left with the folder of the model that was dropped."""
    with bench(tmp_path) as found:
        learn(found, "default", small(1)[0])
        (copied,) = found.turn(("create", None, {"model": "spam", "copy_of": "default"}, PEER))
        found.service.handlers._transfers._creations["spam"].made.result(DEADLINE_S)
        found.turn(("create", None, {"model": "spam", "config": SGD}, PEER))
        found.turn(("drop", None, {"model": "spam"}, PEER))
        error = done(found, copied)
        assert isinstance(error, RequestError)
        assert error.code == "EXISTS"
    with bench(tmp_path) as found:
        assert ask(found, "stats", "spam").code == "NO_MODEL"


def test_there_are_as_many_models_as_there_may_be(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        leader = found.service.leader
        leader.policy = replace(leader.policy, max_models=2)
        create(found, "spam")
        for keys in ({"config": SGD}, {"copy_of": "default"}):
            error = ask(found, "create", "more", **keys)
            assert isinstance(error, RequestError)
            assert error.code == "TOO_LARGE"
            assert error.message == "expected at most 2 models (max_models), got one more"
        assert not list(tmp_path.glob("models/more"))
        ask(found, "drop", "spam")
        assert ask(found, "create", "more", config=SGD)["model"] == "more"


def test_a_repair_names_the_models_that_there_are(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        create(found, "spam")
    with (
        StateDir(tmp_path) as state,
        pytest.raises(
            StateError, match=r"expected the name of a model \(default, spam\), got ham$"
        ),
    ):
        recover(state, name="ham")


def test_a_dropped_model_leaves_no_file(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        create(found, "spam")
        ask(found, "snapshot", "spam")
        ask(found, "drop", "spam")
        found.settle()
        assert not [name for name in files_in(tmp_path) if "spam" in name or "dropped" in name]
        assert found.service.snapshotter.changes.held > 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["create", "drop", "learn", "learn", "snapshot", "unload"]),
                  st.sampled_from("abc")),
        st.tuples(st.sampled_from(["restart", "tick"]), st.just("")),
    ),
    max_size=25,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_each_model_is_as_if_it_were_alone(steps: list[tuple[str, str]]) -> None:
    """Whatever is created, learned, dropped, unloaded, and however often the process dies."""
    models: dict[str, OnlineSVM] = {}
    remaining = iter(steps)
    with scratch() as folder:
        is_running = True
        while is_running:
            is_running = False
            with bench(folder) as found:
                for name, model in models.items():
                    assert digest(found, name) == digest_of(model)
                for i, (step, name) in enumerate(remaining):
                    if step == "restart":
                        is_running = True
                        break
                    act(found, models, step, name, i)


def act(found: Bench, models: dict[str, OnlineSVM], step: str, name: str, number: int) -> None:
    """One step of a run, on the daemon and on `models`."""
    refused = None if name in models else "NO_MODEL"
    if step == "create":
        refused = "EXISTS" if name in models else None
        answer = create(found, name)
        models.setdefault(name, OnlineSVM(**SGD))
    elif step == "learn":
        batch = small(1, number)[0]
        answer = learn(found, name, batch)
        if name in models:
            models[name].learn(batch)
    elif step == "tick":
        found.settle()
        return
    elif step == "unload":
        if name in models:
            unload(found, name)
        return
    else:
        answer = ask(found, step, name)
        if step == "drop":
            models.pop(name, None)
    assert codes([answer]) == [refused]


# Damage.


def damaged(folder: Path) -> Batch:
    """A folder whose model `spam` has no whole snapshot, and no log to make up for it."""
    (batch,) = small(1)
    with bench(folder, every_s=0.01) as found:
        create(found, "spam")
        learn(found, "spam", batch)
        ask(found, "snapshot", "spam")
        found.learn(batch)
        found.snapshot()

        def is_short() -> bool:
            found.tick(0.0)
            return len(segments_of(folder)) <= 1

        eventually(is_short, "the end of the old segments")
    ((_, path),) = snapshots_in(model_folder(folder, "spam"))
    path.write_bytes(path.read_bytes()[:-1])
    return batch


def test_a_damaged_model_is_damaged_alone(tmp_path: Path) -> None:
    batch = damaged(tmp_path)
    for _ in range(2):
        with bench(tmp_path) as found:
            assert found.model.position >= 1
            answer = learn(found, "spam", batch)
            assert answer.code == "DAMAGED"
            assert f"recover --state {tmp_path} --model spam" in answer.message
            assert ask(found, "stats", "spam").code == "DAMAGED"
            found.learn(batch)
            (row,) = ask(found, "models", "default", after="default", limit=1)["models"]
            assert row["name"] == "spam" and "damage" in row


def test_one_model_is_repaired_alone(tmp_path: Path) -> None:
    batches = small(6)
    with bench(tmp_path, every_s=0.01) as found:
        create(found, "spam")
        learn(found, "spam", batches[0])
        ask(found, "snapshot", "spam")
        for batch in batches[1:3]:
            learn(found, "spam", batch)
        ask(found, "snapshot", "spam")
        for batch in batches[3:]:
            learn(found, "spam", batch)
            found.learn(batch)
            ask(found, "snapshot", "spam")
            found.snapshot()

        def is_short() -> bool:
            found.tick(0.0)
            return segments_of(tmp_path)[0][0] > 5

        eventually(is_short, "the end of the old segments")
    newest = snapshots_in(model_folder(tmp_path, "spam"))[0][1]
    newest.write_bytes(newest.read_bytes()[:-1])
    with bench(tmp_path) as found:
        digests = digest(found, "default")
        assert ask(found, "stats", "spam").code == "DAMAGED"
    with StateDir(tmp_path) as state:
        report = recover(state, name="spam")
    assert [row["model"] for row in report["snapshots"]] == ["spam"]
    with bench(tmp_path) as found:
        assert digest(found, "default") == digests
        before = ask(found, "stats", "spam")["position"]
        assert before == report["snapshots"][0]["position"]
        assert learn(found, "spam", batches[0])["position"] == before + 1


# Copies.


def test_a_copy_goes_on_from_the_model_it_was_made_of(tmp_path: Path) -> None:
    batches = small(6)
    with bench(tmp_path) as found:
        create(found, "spam")
        for batch in batches[:3]:
            learn(found, "spam", batch)
        answer = ask(found, "create", "trial", copy_of="spam")
        assert (answer["model"], answer["position"]) == ("trial", 3)
        learn(found, "trial", batches[3])
        assert ask(found, "create", "trial", copy_of="spam").code == "EXISTS"
        assert ask(found, "create", "other", copy_of="none").code == "NO_MODEL"
    with bench(tmp_path) as found:
        assert digest(found, "trial") == digest_after_all(batches[:4], **SGD)
        assert digest(found, "spam") == digest_after_all(batches[:3], **SGD)


def test_a_file_that_was_never_a_model_is_removed(tmp_path: Path) -> None:
    with bench(tmp_path) as found:
        create(found, "spam")
        ask(found, "create", "trial", copy_of="spam")
    origin = model_folder(tmp_path, "trial") / "origin.msgpack"
    orphan = model_folder(tmp_path, "never") / "origin.msgpack"
    orphan.parent.mkdir()
    orphan.write_bytes(origin.read_bytes())
    with bench(tmp_path) as found:
        assert origin.exists()
        assert not orphan.parent.exists()
        assert ask(found, "stats", "never").code == "NO_MODEL"


def test_a_model_that_is_in_memory_is_not_replaced_by_one_that_was_loaded(tmp_path: Path) -> None:
    batches = small(3)
    with bench(tmp_path) as found:
        create(found, "spam")
        learn(found, "spam", batches[0])
        unload(found, "spam")
        loader = found.service._loader
        stored = found.service.handlers._registry.stored("spam")
        assert stored is not None
        late = loader._worker.submit(loader._load, stored)
        for batch in batches[1:]:
            learn(found, "spam", batch)
        late.result(20)
        loader._asked[stored.id] = stored, late
        found.tick(0.0)
        assert digest(found, "spam") == digest_after_all(batches, **SGD)
