"""The operations, one handler each, in both modes."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from onlinesvm import Limits, OnlineSVM
from onlinesvm.service.protocol import (
    OPERATIONS,
    Reply,
    Request,
    RequestError,
    decode_features,
)
from onlinesvm.service.server.counters import Counters
from onlinesvm.service.server.service import Leading, Reading
from onlinesvm.service.server.slices import finish
from tests.daemons import digest_of, eventually
from tests.logs import Bench, bench, body_of

SGD: dict[str, Any] = {"rule": "sgd", "eta0": 0.5}
TAUGHT = [(["a", "b"], 1), (["c"], -1)]
FEATURES: list[Any] = [["a"], {"c": 2.0}, []]


@pytest.fixture
def found(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path / "leader", **SGD) as found:
        found.learn(TAUGHT)
        found.snapshot()
        yield found


@pytest.fixture
def reading(found: Bench) -> Iterator[Reading]:
    reading = Reading(
        found.log.folder.parent, Limits(), Counters(), lambda: None, reload_every_s=3600
    )
    yield reading
    reading.stop()


def answer(service: Leading | Reading, op: str, body: bytes = b"", **keys: Any) -> Reply:
    request = Request(op, 7, body, **keys)
    (plan,) = finish(service.plan([request]))
    answer = finish(service.handle(request, plan))
    if not isinstance(answer, Future):
        return answer

    def is_done() -> bool:
        service.tick(time.monotonic())
        finish(service.waited())
        return answer.done()

    eventually(is_done, "an answer")
    return answer.result(0)


def refusal(service: Leading | Reading, op: str, body: bytes = b"", **keys: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        answer(service, op, body, **keys)
    assert caught.value.id == 7
    return caught.value


def body_for(op: str) -> bytes:
    if not OPERATIONS[op]:
        return b""
    if op == "upload":
        return bytes(msgpack.packb(b"piece"))
    if op == "label":
        return bytes(msgpack.packb([["key", 1]]))
    return body_of([(["a"], 1)]) if op == "learn" else bytes(msgpack.packb([["a"]]))


OPTIONS: dict[str, dict[str, Any]] = {
    "create": {"config": {}, "copy_of": None, "if_exists": "error", "upload": None},
    "models": {"after": "", "limit": 10},
    "inspect": {"top": 3, "contains": b"", "label": None},
    "lag": {"entries": 3, "seconds": None, "bytes": None},
    "upload": {"upload": None, "offset": 0, "size": 9, "checksum": zlib.crc32(b"piece")},
}


ANSWERED = {
    "leader": set(OPERATIONS) - {"reload", "labels", "drop_label"},  # of a binary model
    "reader": {
        "ping",
        "predict",
        "explain",
        "features",
        "inspect",
        "stats",
        "reload",
        "models",
        "fetch",
    },
}


@pytest.mark.parametrize("op", OPERATIONS)
@pytest.mark.parametrize("mode", ANSWERED)
def test_every_operation_is_answered_or_refused(
    found: Bench, reading: Reading, mode: str, op: str
) -> None:
    service = found.service if mode == "leader" else reading
    keys: dict[str, Any] = {"producer": b"p", "options": OPTIONS.get(op, {})}
    if op == "create":
        keys["model"] = "new"
    if op == "fetch":
        newest = found.hosted.learning[1].newest
        assert newest is not None
        keys["options"] = {"lsn": newest.lsn, "offset": 0}
    if op == "lag" and mode == "leader":
        answer(service, "resume", **keys, peer=b"another")
        assert refusal(service, op, **keys).code == "SEQUENCE_GAP"
        answer(service, "resume", **keys)
    if op in ANSWERED[mode]:
        assert isinstance(answer(service, op, body_for(op), **keys), Reply)
    else:
        code = "BAD_REQUEST" if mode == "leader" or op == "labels" else "READ_ONLY"
        assert refusal(service, op, body_for(op), **keys).code == code


def test_both_modes_predict_and_explain_alike(found: Bench, reading: Reading) -> None:
    body = msgpack.packb(FEATURES)
    expected = found.model.decision_function(FEATURES)
    for service in (found.service, reading):
        reply = answer(service, "predict", body)
        assert reply.keys == {"samples": 3, "position": 2}
        assert np.array(msgpack.unpackb(reply.body)).tobytes() == expected.tobytes()
        explained = msgpack.unpackb(answer(service, "explain", body).body or b"")
        assert [part["margin"] for part in explained] == expected.tolist()
        probable = answer(service, "predict", body, output="probability")
        assert msgpack.unpackb(probable.body) == found.model.probabilities(expected).tolist()


@pytest.mark.parametrize("output", ["margin", "probability"])
def test_a_binary_model_answers_in_pairs(found: Bench, output: str) -> None:
    body = msgpack.packb(FEATURES)
    options = {"options": {"pairs": True}}
    pairs = msgpack.unpackb(answer(found.service, "predict", body, output=output, **options).body)
    margins = found.model.decision_function(FEATURES)
    labels = found.model.predict(FEATURES).tolist()
    scores = margins.tolist()
    if output == "probability":
        scores = found.model.predict_proba(FEATURES).max(axis=1).tolist()
    assert pairs == [[[label, score]] for label, score in zip(labels, scores, strict=True)]
    plain = answer(found.service, "predict", body, output="label", **options)
    assert msgpack.unpackb(plain.body) == labels


def test_both_modes_show_features(found: Bench, reading: Reading) -> None:
    for service in (found.service, reading):
        reply = answer(service, "features", msgpack.packb(FEATURES))
        assert reply.keys == {"samples": 3, "position": 2}
        assert decode_features(reply.body or b"") == [[("a", 1.0)], [("c", 2.0)], []]


@pytest.mark.parametrize("op", ["explain", "features"])
def test_what_is_shown_is_bounded(tmp_path: Path, op: str) -> None:
    limits = Limits(max_features_per_sample=40, max_message_bytes=3000)
    with bench(tmp_path / "state", limits=limits) as found:
        long = "".join(f"{i} " for i in range(400))  # about 1,200 characters
        assert refusal(found.service, op, msgpack.packb([["a"] * 20, ["b"] * 21])).message == (
            f"expected at most 40 features to {op} at once, got 41"
        )
        error = refusal(found.service, op, msgpack.packb([long]))
        assert error.code == "TOO_LARGE"
        assert error.message.startswith("expected a reply of at most 3000 bytes, got ")
    with bench(tmp_path / "other", limits=Limits(max_features_per_sample=40)) as found:
        reply = answer(found.service, op, msgpack.packb([long]))
        assert reply.keys["samples"] == 1
        words = msgpack.packb([f"{i}" for i in range(40)])
        assert isinstance(answer(found.service, op, b"\x91" + words), Reply)


def test_answers_leave_the_model_as_it_was(found: Bench) -> None:
    before = digest_of(found.model)
    for op in ("ping", "predict", "explain", "features", "stats", "snapshot", "resume"):
        answer(found.service, op, body_for(op), producer=b"p")
    assert digest_of(found.model) == before


def test_a_learn_reply_has_the_margins_before_the_update(found: Bench) -> None:
    expected = OnlineSVM(**SGD)
    expected.learn(TAUGHT)
    more = [(["a"], -1), (["c"], 1)]
    reply = answer(found.service, "learn", body_of(more))
    assert reply.keys == {"samples": 2, "position": 4}
    assert msgpack.unpackb(reply.body) == expected.learn(more).tolist()


def test_an_error_names_its_sample(found: Bench) -> None:
    bad = msgpack.packb([["a"], {"b": float("nan")}])
    error = refusal(found.service, "predict", bad)
    assert (error.code, error.at, error.sample) == ("BAD_SAMPLE", '$[1]["b"]', 1)
    bad = msgpack.packb([[1, ["a"]], [1, ["a"]], [2, ["a"]]])
    error = refusal(found.service, "learn", bad)
    assert (error.code, error.at, error.sample) == ("BAD_SAMPLE", "$[2][0]", 2)
    error = refusal(found.service, "learn", msgpack.packb(7))
    assert (error.code, error.at, error.sample) == ("BAD_SAMPLE", "$", None)


@pytest.mark.parametrize("op", ["learn", "predict", "explain", "snapshot", "resume", "stats"])
def test_a_model_that_does_not_exist(found: Bench, op: str) -> None:
    error = refusal(found.service, op, body_for(op), producer=b"p", model="spam")
    assert error.code == "NO_MODEL"
    assert error.message == "expected the name of a model (default), got spam"


def test_more_features_than_can_be_explained_at_once(tmp_path: Path) -> None:
    limits = Limits(max_features_per_sample=3)
    with bench(tmp_path, limits=limits, **SGD) as found:
        body = msgpack.packb([["a", "b"], ["c", "d"]])
        error = refusal(found.service, "explain", body)
        assert (error.code, error.at) == ("TOO_LARGE", "$")
        assert error.message == "expected at most 3 features to explain at once, got 4"


def test_a_reader_without_a_snapshot_is_busy(tmp_path: Path) -> None:
    reading = Reading(tmp_path, Limits(), Counters(), lambda: None, reload_every_s=3600)
    for op in ("predict", "explain"):
        error = refusal(reading, op, body_for(op))
        assert error.code == "BUSY"
        assert error.message.startswith("no snapshot could be loaded from")
    assert answer(reading, "stats").keys["position"] is None
    assert refusal(reading, "predict", body_for("predict"), model="spam").code == "NO_MODEL"
    reading.stop()


def test_both_modes_report_what_they_share(found: Bench, reading: Reading) -> None:
    leading, reader = (answer(s, "stats").keys for s in (found.service, reading))
    shared = set(leading) & set(reader)
    changing = {"mode", "uptime_s", "memory_bytes", "snapshot_age_s", "samples_per_s"}
    changing |= {"requests_per_s"}
    assert shared > {"position", "features", "config", "errors", "snapshot_path"}
    for key in shared - changing:
        assert leading[key] == reader[key], key
