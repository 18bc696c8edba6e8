"""Inspections: diagrams at once, the strongest features beside the loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onlinesvm import Limits
from onlinesvm.service.errors import RequestRefused
from onlinesvm.service.inspection import decode_inspection
from onlinesvm.service.protocol import Reply, RequestError, encode_request, parse_request
from onlinesvm.service.server.counters import Counters
from onlinesvm.service.server.inspector import _MOST
from onlinesvm.service.server.service import Leading, Reading
from onlinesvm.service.server.slices import finish
from tests.daemons import DEADLINE_S, digest_of, eventually, serve
from tests.logs import Bench, bench


@pytest.fixture
def found(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "state", rule="sgd", eta0=0.5, bias=False) as found:
        found.learn([(["free", "prize"], "spam"), (["free"], "spam"), (["noon"], "ham")])
        yield found


def asked(service: Leading | Reading, **keys: Any) -> Any:
    """The answer to an inspection, or one to come."""
    request = parse_request([encode_request("inspect", 1, **keys)], Limits())
    (plan,) = finish(service.plan([request]))
    return finish(service.handle(request, plan))


def inspected(service: Leading | Reading, **keys: Any) -> dict[str, Any]:
    answer = asked(service, **keys)
    if not isinstance(answer, Reply):
        answer = answer.result(DEADLINE_S)
    return {**answer.keys, **decode_inspection(answer.body)}


def test_both_modes_show_diagrams_and_features(found: Bench) -> None:
    before = digest_of(found.model)
    found.snapshot()
    reading = Reading(
        found.log.folder.parent, Limits(), Counters(), lambda: None, reload_every_s=3600
    )
    try:
        for service in (found.service, reading):
            shown = inspected(service)
            assert (shown["position"], shown["features"]) == (3, 3)
            assert shown["confusion"]["labels"] == ["spam", "ham"]
            assert sum(map(sum, shown["confusion"]["weights"])) == pytest.approx(3, rel=1e-3)
            assert sum(weight for weight, _, _ in shown["calibration"]) == pytest.approx(
                3, rel=1e-3
            )
            (down, *_), (up, *_) = shown["strongest"]["down"], shown["strongest"]["up"]
            assert (down[0], up[0]) == ("free", "noon")
            assert shown["strongest"]["matches"] == 3
            assert len(inspected(service, top=1)["strongest"]["down"]) == 1
            part = inspected(service, contains="RIZ")["strongest"]
            assert [name for name, _ in part["down"]] == ["prize"]
            assert (part["up"], part["matches"]) == ([], 1)
            assert inspected(service, top=0)["strongest"] is None
    finally:
        reading.stop()
    assert digest_of(found.model) == before


def test_diagrams_alone_are_answered_at_once(found: Bench) -> None:
    assert isinstance(asked(found.service, top=0), Reply)


def test_a_binary_model_has_no_features_of_a_label(found: Bench) -> None:
    with pytest.raises(RequestError, match="expected a multiclass model for inspect"):
        asked(found.service, label="spam")


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"top": 1001}, "expected top as an integer from 0 to 1000, got 1001"),
        ({"top": -1}, "expected top as an integer from 0 to"),
        ({"contains": 5}, "expected contains as text or bytes, got 5"),
        ({"contains": "x" * 257}, "expected contains of at most 256 bytes, got 257"),
        ({"first": 1}, 'expected no key "first" for inspect'),
    ],
)
def test_a_request_that_is_none(found: Bench, keys: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestError) as caught:
        asked(found.service, **keys)
    assert caught.value.code == "BAD_REQUEST"
    assert text in caught.value.message


def test_inspections_are_bounded_and_a_stop_refuses_those_that_wait(found: Bench) -> None:
    inspector = found.service._inspector
    gate = threading.Event()
    inspector._worker.submit(gate.wait, DEADLINE_S)
    waiting = [asked(found.service) for _ in range(_MOST)]
    with pytest.raises(RequestError, match=f"expected at most {_MOST} models to inspect") as caught:
        asked(found.service)
    assert (caught.value.code, caught.value.retry_after_s) == ("BUSY", 1.0)
    found.learn([(["later"], "ham")])  # goes on meanwhile
    closing = threading.Thread(target=inspector.close)
    closing.start()
    eventually(lambda: waiting[-1].done(), "an answer")
    gate.set()
    closing.join(DEADLINE_S)
    assert not closing.is_alive()
    for answer in waiting:
        error = answer.exception(DEADLINE_S)
        assert isinstance(error, RequestError)
        assert error.args[:2] == ("BUSY", "the daemon stops")


def test_a_client_inspects_many_classes(tmp_path: Path) -> None:
    with serve(tmp_path) as daemon, daemon.client() as client:
        client.create("many", task="multiclass")
        many = daemon.client(model="many")
        many.learn([([name, "all"], name) for name in "ABC" * 5])
        shown = many.inspect(5, label="B")
        assert shown["strongest"]["up"][0][0] == "B"
        assert shown["confusion"]["labels"] == ["A", "B", "C"]
        with pytest.raises(RequestRefused, match="expected a label as text, integer") as caught:
            many.inspect()
        assert caught.value.code == "BAD_SAMPLE"
        many.close()
