"""The ways of a learn request and of a prediction, as docs/architecture.md draws them."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import msgpack
import pytest

from onlinesvm import Limits
from onlinesvm.service.protocol import encode_request
from onlinesvm.service.server.counters import Counters
from onlinesvm.service.server.loop import Loop
from tests.daemons import ANY_PORT, raw, receive, send
from tests.logs import bench, body_of
from tests.test_house import HOUSE, files, imports, module_of

# The stages, and the modules that each is made of.
SERVER, STORAGE = "onlinesvm.service.server.", "onlinesvm.service.storage."
STAGES = {
    "router": {SERVER + "router", SERVER + "unsent", SERVER + "auth.door"},
    "loop": {
        SERVER + name for name in ("loop", "lines", "work", "slices", "order", "counters")
    },
    "protocol": {
        "onlinesvm.service.protocol." + name
        for name in ("request", "header", "numbering", "options", "refusals", "reply", "bodies")
    } | {SERVER + "auth.users", SERVER + "auth.quotas"},
    "leader": {
        SERVER + name
        for name in (
            "service", "leader", "writer", "registry", "snapshotter", "changes", "disk_space",
            "background", "memory", "waiting", "turn", "released",
        )
    } | {STORAGE + "producers", STORAGE + "ownership"},
    "log": {
        STORAGE + name for name in ("log", "open_segment", "entry", "posix", "fsync", "state_dir")
    },
    "plan": {
        SERVER + "handlers", SERVER + "plan", SERVER + "label_order", STORAGE + "model_state",
        STORAGE + "held",
    },
    "model": {
        "onlinesvm.model.model", "onlinesvm.model.head", "onlinesvm.data.codec",
        "onlinesvm.model.labels", "onlinesvm.model.mappings", "onlinesvm.data.label",
        "onlinesvm.data.bounds", "onlinesvm.data.pieces", "onlinesvm.data.sweep",
        "onlinesvm.config",
    },
}  # fmt: skip
STAGE_OF = {module: stage for stage, modules in STAGES.items() for module in modules}
LEARN = ["router", "loop", "protocol", "leader", "log", "plan", "model"]
PREDICT = ["router", "loop", "protocol", "leader", "plan", "model"]


class Entered(NamedTuple):
    """A call into a module of the house, and the module that it came from."""

    module: str
    function: str
    caller: str


def module_at(frame: FrameType | None) -> str | None:
    """The module of the house that a frame runs in; None outside of it."""
    path = Path(frame.f_code.co_filename).resolve() if frame else HOUSE
    in_house = any(path.is_relative_to(HOUSE / folder) for folder in ("onlinesvm", "service"))
    return module_of(path) if in_house and path.suffix == ".py" else None


def way(folder: Path, op: str, body: bytes) -> list[Entered]:
    """The calls of a turn of the loop with one request, the second of its kind."""
    entered: list[Entered] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            module, caller = module_at(frame), module_at(frame.f_back)
            if module is not None and caller is not None:
                entered.append(Entered(module, frame.f_code.co_name, caller))

    with bench(folder, rule="sgd") as found:
        loop = Loop(ANY_PORT, Limits(), Counters())
        try:
            with raw(loop.endpoint) as socket:
                for _ in range(2):
                    entered.clear()
                    send(socket, encode_request(op, 1), body)
                    loop._due = time.monotonic() + 1e6  # no tick
                    sys.setprofile(note)
                    try:
                        loop._turn(found.service)
                        while loop._work:
                            loop._turn(found.service)
                    finally:
                        sys.setprofile(None)
                    assert receive(socket)[0]["ok"]
        finally:
            loop.close()
    return entered


def above() -> dict[str, set[str]]:
    """Module → those that import it, directly or not."""
    importers: dict[str, set[str]] = {}
    for folder in ("onlinesvm", "service"):
        for path in files(folder):
            for found in imports(path):
                for target in (found.module, found.module.rpartition(".")[0]):
                    if found.when == "load":
                        importers.setdefault(target, set()).add(module_of(path))
    closed: dict[str, set[str]] = {}
    for module in importers:
        reached, rest = set(), [module]
        while rest:
            new = importers.get(rest.pop(), set()) - reached
            reached |= new
            rest += new
        closed[module] = reached
    return closed


REQUESTS = {
    "learn": (body_of([(["a"], 1)]), LEARN),
    "predict": (msgpack.packb([["a"]]), PREDICT),
}


@pytest.mark.parametrize("op", REQUESTS)
def test_the_way_is_the_one_drawn(tmp_path: Path, op: str) -> None:
    body, drawn = REQUESTS[op]
    entered = [
        STAGE_OF[each.module]
        for each in way(tmp_path, op, body)
        # The leader asks the model for memory and for drifts, and a plan for its entry; nothing is
        # carried out then.
        if STAGE_OF[each.module] != "model" or each.function in ("learn_batch", "score_batch")
        if each.function not in ("entry", "size", "hold_back", "is_held", "memory_bytes")
        # Before it looks at the socket, the loop looks at what is due.
        if each.function not in ("_rest", "_receive", "is_between", "awaited", "__bool__")
        if each.function != "is_full" or each.module != SERVER + "lines"
    ]
    assert list(dict.fromkeys(entered)) == drawn


@pytest.mark.parametrize("op", REQUESTS)
def test_no_call_goes_back_up(tmp_path: Path, op: str) -> None:
    importers = above()
    assert SERVER + "loop" in importers[SERVER + "plan"]
    up = [
        each
        for each in way(tmp_path, op, REQUESTS[op][0])
        if each.module in importers.get(each.caller, set())
    ]
    assert up == []
