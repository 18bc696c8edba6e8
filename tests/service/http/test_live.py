"""The live figures of a real door: history, events, and the list of models."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from onlinesvm.service.http.live import MAX_LISTENERS
from onlinesvm.service.http.watch import MAX_KEPT
from tests.daemons import DEADLINE_S, DaemonProcess, eventually, serve
from tests.service.http.doors import DoorProcess, problem


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with serve(tmp_path_factory.mktemp("state")) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def door(daemon: DaemonProcess) -> Iterator[DoorProcess]:
    with DoorProcess(daemon.endpoint) as door:
        eventually(lambda: overview(door)["count"], "a look")
        yield door


def overview(door: DoorProcess, **query: Any) -> dict[str, Any]:
    answer = door.http.get("/v1/overview", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def history(door: DoorProcess, model: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = door.http.get(
        "/v1/history", params={} if model is None else {"model": model}
    ).json()
    return found


@contextlib.contextmanager
def listening(door: DoorProcess, **query: Any) -> Iterator[Iterator[dict[str, Any]]]:
    """The events of a stream, as they come."""
    with httpx.stream(
        "GET", f"http://127.0.0.1:{door.port}/v1/live", params=query, timeout=DEADLINE_S,
        trust_env=False,
    ) as answer:  # fmt: skip
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")

        def events() -> Iterator[dict[str, Any]]:
            for line in answer.iter_lines():
                if line:
                    assert line.startswith("data: ")
                    yield json.loads(line[6:])

        yield events()


def test_events_go_on_where_the_history_ends(daemon: DaemonProcess, door: DoorProcess) -> None:
    client = daemon.client()
    client.create("followed")
    followed = daemon.client(model="followed")
    with listening(door, model="followed") as first:
        next(first)
        followed.learn([(["free"], "spam"), (["noon"], "ham")] * 10)
        eventually(lambda: (history(door, "followed")["model"] or {}).get("samples"), "rows")
    past = history(door, "followed")
    seconds = past["model"]["t"]
    with listening(door, model="followed", since=past["second"]) as events:
        for event in events:
            seconds += event["model"]["t"]
            assert event["error"] is None
            assert event["status"]["mode"] == "leader"
            if len(seconds) > 4:
                break
    assert seconds == list(range(seconds[0], seconds[-1] + 1))
    samples = history(door, "followed")["model"]["samples"]
    assert samples[-1] == 20
    assert history(door, "followed")["daemon"]["turn_ms"][-1] is not None


def test_the_figures_are_those_of_stats(daemon: DaemonProcess, door: DoorProcess) -> None:
    daemon.client().create("figures")
    figures = daemon.client(model="figures")
    eventually(lambda: overview(door, search="figures")["rows"], "a look at it")
    figures.learn([([str(i % 7)], "ab"[i % 3 == 0]) for i in range(100)])

    def row() -> dict[str, Any]:
        found = history(door, "figures")["model"] or {"samples": [None]}
        return {name: values[-1] for name, values in found.items()}

    with listening(door, model="figures"):
        eventually(lambda: row()["samples"] == 100, "its row")
    stats, found = figures.stats(), row()
    for name, key in {
        "error": "progressive_error", "recent_error": "recent_error",
        "loss": "progressive_hinge_loss", "recent_loss": "recent_hinge_loss",
        "calibration_error": "recent_calibration_error", "drifts": "drifts",
        "features": "features",
    }.items():  # fmt: skip
        assert found[name] == pytest.approx(stats[key], rel=1e-4), name
    (seen,) = overview(door, search="FIGURES")["rows"]
    assert (seen["samples"], seen["task"], seen["loaded"]) == (100, "binary", True)
    assert seen["error"] == pytest.approx(stats["recent_error"], rel=1e-4)
    assert sum(seen["spark"]) > 0


def test_listeners_are_bounded_and_one_that_leaves_makes_room(door: DoorProcess) -> None:
    with contextlib.ExitStack() as stack:

        def is_taken() -> bool:
            answer = door.http.send(door.http.build_request("GET", "/v1/live"), stream=True)
            if answer.status_code == 200:
                stack.callback(answer.close)
                return False
            answer.read()
            refused = problem(answer, 503, "BUSY")
            assert f"at most {MAX_LISTENERS} listeners" in refused["detail"]
            assert int(answer.headers["retry-after"]) >= 1
            return True

        found = [is_taken() for _ in range(MAX_LISTENERS + 2)]
        # Those of the tests before may not have been missed yet.
        assert MAX_LISTENERS - 2 <= found.count(False) <= MAX_LISTENERS
        assert found[-1]
        assert door.http.get("/healthz").status_code == 200

    def has_room() -> bool:
        answer = door.http.send(door.http.build_request("GET", "/v1/live"), stream=True)
        answer.close()
        return answer.status_code == 200

    eventually(has_room, "room")


def test_pages_of_models_in_four_orders(daemon: DaemonProcess, door: DoorProcess) -> None:
    client = daemon.client()
    for i in range(8):
        client.create(f"page-{i}", rule="sgd")
        daemon.client(model=f"page-{i}").learn([(["a"], 1 if i % 2 else -1)] * (i + 1))
    eventually(
        lambda: (
            [r["samples"] for r in overview(door, search="page-", sort="samples")["rows"]]
            == list(range(8, 0, -1))
        ),
        "the models",
    )
    names = [row["name"] for row in overview(door, search="page-", sort="name")["rows"]]
    assert names == [f"page-{i}" for i in range(8)]
    part = overview(door, search="page-", sort="name", offset=3, limit=2)
    assert ([row["name"] for row in part["rows"]], part["matches"]) == (["page-3", "page-4"], 8)
    errors = [row["error"] for row in overview(door, search="page-", sort="error")["rows"]]
    assert errors == sorted(errors, key=lambda x: -(-1 if x is None else x))
    overview(door, sort="active", limit=0)
    client.drop("page-7")
    eventually(lambda: overview(door, search="page-")["matches"] == 7, "that one is gone")


@pytest.mark.parametrize(
    ("path", "at"),
    [
        ("overview?sort=size", "sort"), ("overview?limit=201", "limit"),
        ("overview?offset=-1", "offset"), ("overview?offset=x", "offset"),
        ("live?model=../etc", "model"), ("live?model=", "model"),
        ("models/default/inspect?top=1001", None), ("models/default/inspect?top=x", "top"),
        ("models/default/inspect?label=spam", None),
    ],
)  # fmt: skip
def test_a_query_that_is_none(door: DoorProcess, path: str, at: str | None) -> None:
    assert problem(door.http.get(f"/v1/{path}"), 400, "BAD_REQUEST").get("at") == at


def test_rows_are_kept_of_few_models(daemon: DaemonProcess, door: DoorProcess) -> None:
    client = daemon.client()
    for i in range(MAX_KEPT + 20):
        client.create(f"kept-{i:03}", rule="sgd")
    clients = [daemon.client(model=f"kept-{i:03}") for i in range(MAX_KEPT + 20)]

    def kept() -> list[str]:
        return [c for c in range(len(clients)) if history(door, f"kept-{c:03}")["model"]]

    for i, each in enumerate(clients):
        each.learn([(["a"], 1)] * (i + 1))
    eventually(kept, "some of them")
    assert len(kept()) <= MAX_KEPT
    with listening(door, model="kept-000") as events:
        eventually(lambda: "model" in next(events), "rows of the one that is looked at")
        assert 0 in kept()
        assert len(kept()) <= MAX_KEPT


def test_a_stop_ends_the_streams(daemon: DaemonProcess) -> None:
    with DoorProcess(daemon.endpoint) as door, listening(door) as events:
        next(events)
        door.process.terminate()
        assert list(events) is not None  # up to its end
        assert door.process.wait(DEADLINE_S) == 0
