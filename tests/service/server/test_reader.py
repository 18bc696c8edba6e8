"""Followers: what they load, when, and what stands in the way."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgpack
import pytest

from onlinesvm import Limits, OnlineSVM, Scorer
from onlinesvm.model import model as models
from onlinesvm.service import Client
from onlinesvm.service.errors import RequestRefused
from onlinesvm.service.protocol import Reply, Request, RequestError
from onlinesvm.service.server.counters import Counters
from onlinesvm.service.server.service import Reading
from onlinesvm.service.server.slices import finish
from tests.daemons import (
    HeldLook,
    ask,
    digest_of,
    eventually,
    follow,
    following_on_a_thread,
    raw,
    receive,
    send,
    serve,
    snapshot_name,
    snapshot_path,
    thread,
)

SELDOM_S = 3600.0
OFTEN_S = 0.01


def grow(model: OnlineSVM, folder: Path, samples: int = 3) -> Path:
    """Let `model` learn, and save it as its learner would."""
    for i in range(samples):
        model.learn_one({f"f{(model.position + i) % 11}": 0.3, "all": 1}, 1 if i % 3 else -1)
    path = snapshot_path(folder, model.position)
    model.save(path)
    return path


def place(path: Path, raw: bytes) -> None:
    """Put a file in place at once, so that nobody sees a part of it."""
    path.with_suffix(".new").write_bytes(raw)
    path.with_suffix(".new").rename(path)


def reading(folder: Path) -> Reading:
    return Reading(folder, Limits(), Counters(), lambda: None, reload_every_s=SELDOM_S)


def reload(service: Reading) -> dict[str, Any]:
    """The keys of the answer to a reload request, as the loop gets it."""
    answer = finish(service.handle(Request("reload", None, b""), None))
    assert isinstance(answer, Future)
    eventually(answer.done, "an answer")
    service.tick(0)
    finish(service.waited())
    keys: dict[str, Any] = answer.result().keys
    return keys


def served(service: Reading) -> OnlineSVM:
    return service.handlers._registry.get("default").model


@pytest.fixture
def model() -> OnlineSVM:
    return OnlineSVM(rule="sgd", eta0=0.3)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Reading]:
    service = reading(tmp_path)
    yield service
    service.stop()


# Operations.


def test_it_serves_the_newest_and_nothing_else(tmp_path: Path, model: OnlineSVM) -> None:
    grow(model, tmp_path)
    newest = grow(model, tmp_path)
    features: list[Any] = [["f1", "all"], {"f2": 2.0}, []]
    with follow(tmp_path, reload_every_s=SELDOM_S) as daemon, daemon.client() as client:
        assert (
            client.decision_function(features).tobytes()
            == model.decision_function(features).tobytes()
        )
        stats = client.stats()
        assert stats["mode"] == client.ping()["mode"] == "reader"
        assert stats["position"] == stats["snapshot_position"] == model.position
        assert stats["features"] == len(model.lookup)
        assert stats["progressive_error"] == model.progressive.error
        assert stats["snapshot_path"] == str(newest)
        assert stats["reload_error"] is None
        assert stats["config"]["eta0"] == 0.3
        for refused in (lambda: client.learn([(["a"], 1)]), lambda: client.learn([]),
                        client.snapshot):  # fmt: skip
            with pytest.raises(RequestRefused) as caught:
                refused()
            assert caught.value.code == "READ_ONLY"
        with pytest.raises(RequestRefused, match=r"BAD_SAMPLE: .* got nan at \$\[0\]\[\"len\"\]"):
            client.decision_function([{"len": float("nan")}])
        assert client.stats()["errors"] == {"READ_ONLY": 3, "BAD_SAMPLE": 1}
        assert daemon.stop() == 0
    assert {path.name for path in newest.parent.iterdir()} == {
        snapshot_name(3), snapshot_name(6)
    }  # fmt: skip


def test_weights_are_fixed_once_a_load(
    tmp_path: Path, model: OnlineSVM, service: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixed: list[int] = []

    class Counted(Scorer):
        @classmethod
        def sharing(cls, model: Any) -> Scorer:
            fixed.append(model.position)
            return Scorer.sharing(model)

    monkeypatch.setattr(models, "Scorer", Counted)
    for _ in range(2):
        grow(model, tmp_path)
        assert reload(service)["reloaded"]
        for features in (["f1", "all"], {"f2": 2.0}, []):
            answer = finish(
                service.handle(Request("predict", None, msgpack.packb([features])), None)
            )
            assert isinstance(answer, Reply)
            assert msgpack.unpackb(answer.body) == [model.decision_function_one(features)]
    assert fixed == [3, 6]  # the model here was not asked enough to have one


@pytest.mark.parametrize("there", [True, False])
def test_it_is_busy_until_there_is_a_model(tmp_path: Path, model: OnlineSVM, there: bool) -> None:
    folder = tmp_path / "state"
    if there:
        folder.mkdir()
    with follow(folder, reload_every_s=SELDOM_S) as daemon, daemon.client() as client:
        with pytest.raises(RequestRefused) as caught:
            client.decision_function([["a"]])
        assert caught.value.code == "BUSY"
        stats = client.stats()
        figures = ("position", "features", "kernel", "rule", "progressive_error", "snapshot_path")
        assert [stats[key] for key in figures] == [None] * 6
        reason = "no snapshot there" if there else "No such file or directory"
        assert stats["reload_error"] == f"{folder}: {reason}"
        nothing = {"reloaded": False, "position": None, "path": None}
        assert client.reload() == {**nothing, "reload_error": stats["reload_error"]}
        folder.mkdir(exist_ok=True)
        path = grow(model, folder)
        assert client.reload() == {
            "reloaded": True, "position": 3, "path": str(path), "reload_error": None
        }  # fmt: skip
        assert (
            client.decision_function([["all"]]).tobytes()
            == model.decision_function([["all"]]).tobytes()
        )


def test_it_looks_by_itself(tmp_path: Path, model: OnlineSVM) -> None:
    with follow(tmp_path, reload_every_s=OFTEN_S) as daemon, daemon.client() as client:
        for _ in range(3):
            grow(model, tmp_path)
            eventually(lambda: client.stats()["position"] == model.position, "the newest model")
            assert (
                client.decision_function([["all"]]).tobytes()
                == model.decision_function([["all"]]).tobytes()
            )


def test_a_learner_and_its_follower(tmp_path: Path) -> None:
    state = tmp_path / "state"
    features = [[f"f{i}"] for i in range(20)]
    with (
        serve(state, rule="sgd", eta0=0.3) as learner,
        follow(state, reload_every_s=SELDOM_S) as follower,
        learner.client() as teacher,
        follower.client() as reader,
    ):
        for i in range(5):
            teacher.learn([([f"f{i}", f"f{i + 1}"], 1), ([f"f{i + 2}"], -1)])
            position = teacher.snapshot()["position"]
            assert reader.reload()["position"] == position
            assert (
                reader.decision_function(features).tobytes()
                == teacher.decision_function(features).tobytes()
            )
        assert not reader.reload()["reloaded"]


# Swapping.


def test_no_request_fails_or_sees_half_a_model_while_it_swaps(
    tmp_path: Path, model: OnlineSVM
) -> None:
    """Every prediction has, bit for bit, the margins of the model at the position of its reply."""
    names = [f"feature number {i}" for i in range(4000)]
    features = [names[i : i + 5] for i in range(0, 200, 5)]
    predict = msgpack.packb({"v": 1, "op": "predict"}), msgpack.packb(features)
    margins: dict[int, list[float]] = {}

    def teach() -> None:
        label = 1 if len(margins) % 3 else -1
        model.learn([(names[j : j + 40], label) for j in range(0, 4000, 40)])
        margins[model.position] = model.decision_function(features).tolist()
        model.save(snapshot_path(tmp_path, model.position))
        for old in sorted(snapshot_path(tmp_path, 0).parent.glob("snapshot-*"))[:-2]:
            old.unlink()

    teach()
    with follow(tmp_path, reload_every_s=OFTEN_S) as daemon, raw(daemon.endpoint) as dealer:
        seen: list[int] = []
        for _ in range(20):
            teach()
            reloaded, under_way = False, 0
            send(dealer, msgpack.packb({"v": 1, "op": "reload", "id": "reload"}))
            while not reloaded or under_way:
                while not reloaded and under_way < 4:
                    send(dealer, *predict)
                    under_way += 1
                header, got = receive(dealer)
                assert header["ok"], header
                if header["id"] == "reload":
                    reloaded = True
                    assert header["position"] == model.position
                else:
                    under_way -= 1
                    seen.append(header["position"])
                    assert got == margins[header["position"]]
            assert ask(dealer, "predict", features)[1] == margins[model.position]
        assert seen == sorted(seen)
        assert ask(dealer, "stats")[0]["errors"] == {}


def test_it_serves_while_it_loads(
    tmp_path: Path, model: OnlineSVM, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = grow(model, tmp_path)
    with (
        following_on_a_thread(tmp_path, reload_every_s=SELDOM_S) as daemon,
        Client(daemon.endpoint) as client,
        raw(daemon.endpoint) as dealer,
    ):
        held = HeldLook(tmp_path, 99, monkeypatch)
        before = model.decision_function([["all"]]).tobytes()
        for id in ("first", "second", "third"):
            send(dealer, msgpack.packb({"v": 1, "op": "reload", "id": id}))
        assert ask(dealer, "ping", id="meanwhile")[0]["id"] == "meanwhile"
        newest = grow(model, tmp_path)
        assert client.decision_function([["all"]]).tobytes() == before
        held.release()
        header, _ = receive(dealer)
        assert (header["id"], header["reloaded"], header["path"]) == ("first", False, str(old))
        assert header["reload_error"].startswith(f"{held.path}: expected a file of format")
        # A request during the look gets one that began after the request.
        for id in ("second", "third"):
            header, _ = receive(dealer)
            assert (header["id"], header["reloaded"], header["path"]) == (id, True, str(newest))
            assert header["reload_error"] is None
        assert (
            client.decision_function([["all"]]).tobytes()
            == model.decision_function([["all"]]).tobytes()
        )


def test_a_reload_that_is_under_way_at_the_end_is_answered(
    tmp_path: Path, model: OnlineSVM, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(model, tmp_path)
    with (
        following_on_a_thread(tmp_path, reload_every_s=SELDOM_S) as daemon,
        raw(daemon.endpoint) as dealer,
    ):
        held = HeldLook(tmp_path, 99, monkeypatch)
        send(dealer, msgpack.packb({"v": 1, "op": "reload"}))
        assert ask(dealer, "ping", id=1)[0]["id"] == 1
        daemon.stop()
        held.release()
        assert receive(dealer)[0]["position"] == 3


# Obstacles.


def test_a_damaged_newer_one_is_reported(tmp_path: Path, model: OnlineSVM) -> None:
    old = grow(model, tmp_path)
    margins = model.decision_function([["all"]]).tobytes()
    with follow(tmp_path, reload_every_s=OFTEN_S) as daemon, daemon.client() as client:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        whole = grow(model, elsewhere)
        newer = old.parent / whole.name
        place(newer, whole.read_bytes()[:-1])
        error = eventually(lambda: client.stats()["reload_error"], "an error")
        assert error.startswith(f"{newer}: expected a trailer and then the end of the file")
        assert client.decision_function([["all"]]).tobytes() == margins
        for _ in range(3):  # it is reported every time, and logged once
            reply = client.reload()
            assert (reply["reloaded"], reply["path"]) == (False, str(old))
            assert reply["reload_error"] == client.stats()["reload_error"] == error
        eventually(lambda: "passed over" in daemon.log, "a line in the log")
        assert daemon.log.count("passed over") == 1
        place(newer, whole.read_bytes())
        eventually(lambda: client.stats()["snapshot_path"] == str(newer), "the repaired one")
        assert client.stats()["reload_error"] is None
        assert (
            client.decision_function([["all"]]).tobytes()
            == model.decision_function([["all"]]).tobytes()
        )


def test_several_damaged_ones_are_read_once_each(
    tmp_path: Path, model: OnlineSVM, caplog: pytest.LogCaptureFixture
) -> None:
    grow(model, tmp_path)
    for position in (7, 8, 9):
        snapshot_path(tmp_path, position).write_bytes(b"no snapshot")
    with caplog.at_level(logging.ERROR):
        service = reading(tmp_path)
        assert served(service).position == 3
        assert reload(service)["reload_error"].startswith(str(snapshot_path(tmp_path, 9)))
        assert reload(service)["reloaded"] is False
        service.stop()
    assert len([record for record in caplog.records if "passed over" in record.message]) == 3


def test_it_starts_with_the_newest_that_is_whole(tmp_path: Path, model: OnlineSVM) -> None:
    grow(model, tmp_path)
    damaged = snapshot_path(tmp_path, 9)
    damaged.write_bytes(b"")
    service = reading(tmp_path)
    assert digest_of(served(service)) == digest_of(model)
    stats = finish(service.handle(Request("stats", None, b""), None))
    assert isinstance(stats, Reply)
    assert stats.keys["reload_error"].startswith(str(damaged))
    service.stop()


def test_a_file_that_cannot_be_read_is_tried_again(tmp_path: Path, model: OnlineSVM) -> None:
    grow(model, tmp_path)
    snapshot_path(tmp_path, 9).symlink_to(snapshot_name(9))
    service = reading(tmp_path)
    assert served(service).position == 3
    reply = reload(service)
    assert (reply["reloaded"], reply["position"]) == (False, 3)
    assert "symbolic links" in reply["reload_error"]
    snapshot_path(tmp_path, 9).unlink()
    assert reload(service)["reload_error"] is None
    service.stop()


def test_a_snapshot_that_was_written_again_is_loaded_again(
    tmp_path: Path, service: Reading, model: OnlineSVM
) -> None:
    path = grow(model, tmp_path)
    assert reload(service)["reloaded"]
    assert not reload(service)["reloaded"]
    other = OnlineSVM(rule="sgd", eta0=0.7)
    other.learn([(["z"], 1)] * 3)
    other.save(path)
    assert reload(service)["reloaded"]
    assert digest_of(served(service)) == digest_of(other)


def test_a_folder_that_is_emptied_leaves_the_model(
    tmp_path: Path, service: Reading, model: OnlineSVM
) -> None:
    path = grow(model, tmp_path)
    assert reload(service)["reloaded"]
    path.unlink()
    reply = reload(service)
    assert (reply["reloaded"], reply["position"]) == (False, 3)
    assert reply["reload_error"] == f"{tmp_path}: no snapshot there"
    assert digest_of(served(service)) == digest_of(model)


def test_a_file_that_is_lost_in_mid_listing_makes_it_list_again(
    tmp_path: Path, model: OnlineSVM
) -> None:
    """The link leads nowhere when it is looked at, and its target comes while it is listed."""
    newest = snapshot_path(tmp_path, 9)
    newest.symlink_to(tmp_path / "nowhere")
    grow(model, tmp_path)
    service = reading(tmp_path)
    with pytest.raises(RequestError, match="BUSY"):
        served(service)
    assert "change faster than they can be read" in reload(service)["reload_error"]
    newest.unlink()
    assert reload(service)["reloaded"]
    service.stop()


def test_files_come_and_go_while_it_looks(tmp_path: Path, model: OnlineSVM) -> None:
    """A learner that keeps one snapshot: the one that was listed is often gone when it is read."""
    grow(model, tmp_path)
    service = reading(tmp_path)
    done = threading.Event()

    def churn() -> None:
        try:
            for _ in range(150):
                old = snapshot_path(tmp_path, model.position)
                grow(model, tmp_path, samples=1)
                old.unlink()
        finally:
            done.set()

    positions = []
    with thread(churn):
        while not done.is_set():
            reply = reload(service)
            positions.append(reply["position"])
            error = reply["reload_error"]
            assert error is None or "change faster" in error, error
    assert positions == sorted(positions)
    assert reload(service)["position"] == model.position
    assert digest_of(served(service)) == digest_of(model)
    service.stop()


def test_limits_of_the_follower_are_its_own(tmp_path: Path) -> None:
    model = OnlineSVM()
    model.learn([(["long name", "b"], 1)])
    model.save(snapshot_path(tmp_path, 1))
    with follow(tmp_path, max_name_bytes=4, max_features=1) as daemon, daemon.client() as client:
        assert (
            client.decision_function([["b"]]).tolist() == model.decision_function([["b"]]).tolist()
        )
        with pytest.raises(RequestRefused, match="at most 4 bytes a feature name"):
            client.decision_function([["long name"]])
