"""A reader of a folder of many models: each is loaded when it is asked for."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from onlinesvm import Limits, OnlineSVM
from onlinesvm.service.protocol import Request, RequestError
from onlinesvm.service.server.counters import Counters
from onlinesvm.service.server.service import Reading
from onlinesvm.service.server.slices import finish
from onlinesvm.service.storage.snapshots import model_folder, snapshot_name
from tests.daemons import eventually

BODY = msgpack.packb([["f1", "all"]])
LISTING = {"after": "", "limit": 100}


def grow(model: OnlineSVM, folder: Path, name: str) -> None:
    """Let `model` learn, and save it as its learner would."""
    model.learn([([f"f{i % 5}", "all"], 1 if i % 3 else -1) for i in range(7)])
    own = model_folder(folder, name)
    own.mkdir(parents=True, exist_ok=True)
    model.save(own / snapshot_name(model.position))


def reading(folder: Path, **options: Any) -> Reading:
    return Reading(folder, Limits(), Counters(), lambda: None, reload_every_s=3600.0, **options)


def answer(service: Reading, op: str, model: str = "default", **keys: Any) -> Any:
    """The reply, or the error's code."""
    request = Request(op, 7, BODY if op == "predict" else b"", model=model, **keys)
    (plan,) = finish(service.plan([request]))
    try:
        found = finish(service.handle(request, plan))
        if not isinstance(found, Future):
            return found

        def is_done() -> bool:
            service.tick(0.0)
            finish(service.waited())
            return found.done()

        eventually(is_done, "an answer")
        return found.result(0)
    except RequestError as error:
        return error.code


def test_models_are_loaded_when_they_are_asked_for(tmp_path: Path) -> None:
    models = {name: OnlineSVM(rule="sgd") for name in ("a", "b", "default")}
    for name, model in models.items():
        grow(model, tmp_path, name)
    service = reading(tmp_path)
    rows = answer(service, "models", options=LISTING).keys["models"]
    assert [(row["name"], row["loaded"]) for row in rows] == [
        ("a", False), ("b", False), ("default", True)
    ]  # fmt: skip
    for name, model in models.items():
        reply = answer(service, "predict", name)
        expected = model.decision_function([["f1", "all"]])
        assert np.array(msgpack.unpackb(reply.body)).tobytes() == expected.tobytes()
    assert answer(service, "predict", "none") == "NO_MODEL"
    assert answer(service, "create", "new") == "READ_ONLY"
    grow(models["a"], tmp_path, "a")
    assert answer(service, "predict", "a").keys["position"] == 7
    assert answer(service, "reload", "a").keys == {
        "reloaded": True, "position": 14, "reload_error": None,
        "path": str(model_folder(tmp_path, "a") / snapshot_name(14)),
    }  # fmt: skip
    assert answer(service, "predict", "a").keys["position"] == 14
    service.stop()


def test_a_model_without_a_whole_snapshot_is_busy_and_the_others_are_not(tmp_path: Path) -> None:
    model = OnlineSVM(rule="sgd")
    grow(model, tmp_path, "default")
    folder = model_folder(tmp_path, "bad")
    folder.mkdir()
    (folder / snapshot_name(3)).write_bytes(b"no snapshot")
    service = reading(tmp_path)
    for _ in range(2):
        assert answer(service, "predict", "bad") == "BUSY"
        assert answer(service, "predict").keys["position"] == 7
    grow(model, tmp_path, "bad")
    assert answer(service, "predict", "bad").keys["position"] == 14
    service.stop()


def test_a_reader_holds_to_its_memory(tmp_path: Path) -> None:
    for name in "abcd":
        grow(OnlineSVM(rule="sgd"), tmp_path, name)
    service = reading(tmp_path, max_memory_bytes=2**15)
    for name in "abcdabcd":
        assert answer(service, "predict", name).keys["position"] == 7
        service.tick(0.0)
        finish(service.waited())
        assert len(list(service.handlers._registry)) <= 2
    service.stop()
