"""A loop that is driven step by step: what is answered between the slices of long work."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from onlinesvm import Limits, OnlineSVM
from onlinesvm.service.protocol import encode_request
from onlinesvm.service.server import loop as loops
from onlinesvm.service.server import slices
from onlinesvm.service.server.counters import Counters
from onlinesvm.service.server.loop import Loop
from onlinesvm.service.storage.posix import Files
from tests.daemons import ANY_PORT, DEADLINE_S, digest_of, eventually, raw, receive, send
from tests.logs import Bench, bench, body_of, digest_after, scratch

SAMPLES = [([f"f{i % 7}", f"g{i % 31}", f"n{i}"], 1 if i % 3 else -1) for i in range(4000)]


class Driven:
    """A loop and its service; a turn only when it is asked for. wake: ends a wait of the loop."""

    def __init__(self, loop: Loop, found: Bench) -> None:
        self.loop = loop
        self.found = found

    @property
    def endpoint(self) -> str:
        return self.loop.endpoint

    def step(self) -> None:
        if not self.loop._work or self.loop._work.awaited is not None:
            self.loop.wake()  # so that it does not wait for a message
        self.loop._turn(self.found.service)

    def take(self) -> None:
        """Have the loop take what a client has sent while there is work under way."""
        assert self.loop._work
        eventually(lambda: self.loop._router.socket.poll(0), "a message")
        self.step()

    def receive(self, socket: zmq.Socket[bytes]) -> tuple[dict[str, Any], Any]:
        """The next reply to a client, after as many turns as it takes."""
        while not socket.poll(0):
            self.step()
        return receive(socket)

    def until(self, condition: Any) -> None:
        while not condition():
            self.step()


@contextlib.contextmanager
def driven(folder: Path, **given: Any) -> Iterator[Driven]:
    with bench(folder, **given) as found:
        loop = Loop(ANY_PORT, Limits(), Counters())
        try:
            yield Driven(loop, found)
        finally:
            loop.is_stopping = True
            while loop._work:
                loop._turn(found.service)
            loop.close()


def ask(socket: zmq.Socket[bytes], op: str, id: int, body: bytes = b"", **keys: Any) -> None:
    send(socket, encode_request(op, id, **keys), *([body] if body else []))


@pytest.fixture
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of a few samples."""
    monkeypatch.setattr(slices, "_READ", 256)
    monkeypatch.setattr(slices, "_MOST", 64)
    monkeypatch.setattr(slices, "_LEAST", 16)
    monkeypatch.setattr("onlinesvm.service.server.loop.SLICE_S", 0.0)


@pytest.mark.usefixtures("short_slices")
def test_a_prediction_is_answered_within_a_long_request_by_a_whole_model(tmp_path: Path) -> None:
    features = [["f1", "g2"], ["n3"], []]
    with driven(tmp_path) as it, raw(it.endpoint) as learner, raw(it.endpoint) as other:
        ask(learner, "learn", 1, body_of(SAMPLES))
        it.until(lambda: it.found.model.position)
        positions = []
        for id in range(3):
            ask(other, "predict", id, msgpack.packb(features))
            it.take()
            header, margins = receive(other)
            assert it.loop._work, "the request was learned before"
            model = OnlineSVM()
            model.learn(SAMPLES[: header["position"]])
            assert margins == model.decision_function(features).tolist()
            positions.append(header["position"])
        assert not learner.poll(0)
        assert 0 < positions[0] <= positions[1] <= positions[2] < len(SAMPLES)
        assert it.receive(learner)[0]["position"] == len(SAMPLES)
        assert digest_of(it.found.model) == digest_after([SAMPLES])
    with bench(tmp_path) as found:
        assert digest_of(found.model) == digest_after([SAMPLES])


@pytest.mark.usefixtures("short_slices")
def test_a_prediction_waits_for_what_its_own_connection_learns(tmp_path: Path) -> None:
    with driven(tmp_path) as it, raw(it.endpoint) as client:
        ask(client, "learn", 1, body_of(SAMPLES[:500]))
        ask(client, "predict", 2, msgpack.packb([["f1"]]))
        ask(client, "ping", 3)
        ask(client, "learn", 4, body_of(SAMPLES[500:600]))
        heads = [it.receive(client)[0] for _ in range(4)]
        assert [head["id"] for head in heads] == [1, 2, 3, 4]
        assert [heads[i]["position"] for i in (0, 1, 3)] == [500, 500, 600]


@pytest.mark.usefixtures("short_slices")
def test_predictions_of_another_model_do_not_wait(tmp_path: Path) -> None:
    with driven(tmp_path) as it, raw(it.endpoint) as client:
        for id, name in enumerate(("a", "b")):
            ask(client, "create", id, model=name, config={})
            assert it.receive(client)[0]["ok"]
        ask(client, "learn", 3, body_of(SAMPLES), model="a")
        ask(client, "predict", 4, msgpack.packb([["f1"]]), model="b")
        ask(client, "predict", 5, msgpack.packb([["f1"]]), model="a")
        assert [it.receive(client)[0]["id"] for _ in range(3)] == [4, 3, 5]


class Stalled(Files):
    """A disk whose syncs wait."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()

    def sync(self, descriptor: int) -> None:
        assert self.goes_on.wait(DEADLINE_S)
        super().sync(descriptor)


def test_predictions_do_not_wait_for_the_disk(tmp_path: Path) -> None:
    files = Stalled()
    files.goes_on.set()
    with (
        driven(tmp_path, files=files, fsync="always") as it,
        raw(it.endpoint) as learner,
        raw(it.endpoint) as other,
    ):
        ask(learner, "learn", 1, body_of(SAMPLES[:2]))
        assert it.receive(learner)[0]["position"] == 2
        files.goes_on.clear()
        ask(learner, "learn", 2, body_of(SAMPLES[2:5]))
        it.until(lambda: it.loop._work.awaited is not None)
        ask(other, "predict", 3, msgpack.packb([["f1"]]))
        assert it.receive(other)[0]["position"] == 2
        assert not learner.poll(0)
        files.goes_on.set()
        assert it.receive(learner)[0]["position"] == 5


@pytest.mark.usefixtures("short_slices")
def test_a_client_of_many_requests_does_not_hold_up_another_that_learns(tmp_path: Path) -> None:
    """Its ten wait from before; the other's only one is carried out in the next turn."""
    big = body_of([([f"{'x' * 300}{i % 5}", f"n{i}"], 1) for i in range(4000)])  # over a megabyte
    with driven(tmp_path) as it, raw(it.endpoint) as greedy, raw(it.endpoint) as modest:
        for id in range(10):
            ask(greedy, "learn", id, big)
        it.until(lambda: it.loop._lines._number >= 4)
        ask(modest, "learn", 0, body_of(SAMPLES[:1]))
        header, _ = it.receive(modest)
        assert header["position"] < 10 * 4000, "it came last"


@pytest.mark.usefixtures("short_slices")
def test_a_large_prediction_holds_up_no_small_one_and_sees_one_model(tmp_path: Path) -> None:
    rows = [features for features, _ in SAMPLES] * 2
    with (
        driven(tmp_path) as it,
        raw(it.endpoint) as large,
        raw(it.endpoint) as small,
        raw(it.endpoint) as learner,
    ):
        ask(learner, "learn", 1, body_of(SAMPLES[:50]))
        assert it.receive(learner)[0]["position"] == 50
        ask(large, "predict", 2, msgpack.packb(rows))
        it.until(lambda: it.loop._work._next_round or it.loop._work._round)
        ask(learner, "learn", 3, body_of(SAMPLES[50:90]))
        it.take()
        ask(small, "predict", 4, msgpack.packb(rows[:1]))
        it.take()
        assert receive(small)[0]["position"] == 50
        assert it.loop._work._round, "the large one was answered before"
        header, margins = it.receive(large)
        model = OnlineSVM()
        model.learn(SAMPLES[: header["position"]])
        assert margins == model.decision_function(rows).tolist()
        assert it.receive(learner)[0]["position"] == 90


def test_a_creation_that_is_in_the_log_is_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where as many answers as may be are being prepared, one that would have to be is refused."""
    monkeypatch.setattr(loops, "_MAX_DEFERRED", 0)
    with driven(tmp_path) as it, raw(it.endpoint) as client:
        ask(client, "create", 1, model="other", config={"rule": "sgd"})
        assert it.receive(client)[0]["ok"]
        ask(client, "learn", 2, body_of(SAMPLES[:5]), model="other")
        assert it.receive(client)[0]["position"] == 5
        ask(client, "create", 3, model="copy", copy_of="other")
        assert it.receive(client)[0]["error"]["code"] == "BUSY"
        ask(client, "create", 4, model="copy", config={"rule": "sgd"})
        assert it.receive(client)[0]["ok"]
        names = it.found.service._registry.names_after("", 10)
    with bench(tmp_path) as found:
        assert found.service._registry.names_after("", 10) == names


OPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["learn", "predict", "hold", "ping"])),
    min_size=1, max_size=14,
)  # fmt: skip


@settings(max_examples=25)
@given(ops=OPS, steps=st.lists(st.integers(0, 3), max_size=14))
def test_each_connection_sees_its_own_requests_in_their_order(
    ops: list[tuple[int, str]], steps: list[int]
) -> None:
    """Of any mix: replies in order where they change the model, and what is predicted has all that
    the connection has learned before; the log gives the same model.
    """
    with scratch() as folder:
        with driven(folder) as it, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(raw(it.endpoint)) for _ in range(3)]
            learned = [0, 0, 0]  # samples that a connection has sent
            expected: list[list[tuple[int, str, int]]] = [[], [], []]
            for id, (at, op) in enumerate(ops):
                if op == "learn":
                    learned[at] += 3
                    ask(clients[at], "learn", id, body_of(SAMPLES[id * 3 : id * 3 + 3]))
                elif op == "predict":
                    ask(clients[at], "predict", id, msgpack.packb([["f1"]]))
                elif op == "hold":
                    keys = {"hold": True, "ttl_s": 60.0}
                    body = msgpack.packb([[b"%d" % id], [["f1"]]])
                    send(
                        clients[at],
                        msgpack.packb({"v": 1, "op": "predict", "id": id, **keys}),
                        body,
                    )
                else:
                    ask(clients[at], "ping", id)
                expected[at].append((id, op, learned[at]))
                for _ in range(steps[id] if id < len(steps) else 0):
                    it.step()
            for client, wanted in zip(clients, expected, strict=True):
                heads = {}
                order = []
                for _ in wanted:
                    header, _ = it.receive(client)
                    assert header["ok"]
                    heads[header["id"]] = header
                    order.append(header["id"])
                of_model = [id for id, op, _ in wanted if op != "ping"]
                assert [id for id in order if id in of_model] == of_model
                for id, op, before in wanted:
                    assert op == "ping" or heads[id]["position"] >= before
            digest = digest_of(it.found.model)
        with bench(folder) as found:
            assert digest_of(found.model) == digest
