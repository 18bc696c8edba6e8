"""The pipeline by itself: whatever a daemon answers, every sample is settled once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from onlinesvm import Limits
from onlinesvm.data.codec import encode_margins
from onlinesvm.service.client import pipeline
from onlinesvm.service.client.batches import Batch
from onlinesvm.service.client.exactly_once import Delivery, ExactlyOnce, delivery_of
from onlinesvm.service.errors import DaemonLost, RequestRefused, StreamBroken

WINDOW_REQUESTS = 16
LIMITS = Limits(max_samples_per_batch=7, max_message_bytes=2000)


@pytest.fixture(autouse=True, scope="module")
def stopped_clock() -> Iterator[None]:
    """Pauses end when a test ends them, so that an example runs the same way each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_monotonic", lambda: 0.0)
        yield


class Daemon:
    """A daemon in a few lines: learns numbers, but for those in `bad`, and counts producers."""

    def __init__(self, bad: set[int], max_samples: int) -> None:
        self.bad = bad
        self.max_samples = max_samples
        self.learned: list[int] = []
        self.sequence = self.samples = 0
        self.cursor: bytes | None = None

    def answer(self, batch: Batch, code: str | None) -> tuple[dict[str, Any], bytes]:
        numbers = [int(row[1][0]) for row in msgpack.unpackb(batch.body)]
        if batch.sequence and batch.sequence <= self.sequence:
            return {"ok": True, "duplicate": True}, b""
        if code is not None:
            return self.refusal(code, None)
        if len(numbers) > self.max_samples:
            return self.refusal("TOO_LARGE", None)
        # Faults of one kind are found in all samples before those of the next.
        faulty = [i for i, number in enumerate(numbers) if number in self.bad]
        if faulty:
            first = min(faulty, key=lambda i: (numbers[i] % 2, i))
            return self.refusal("BAD_SAMPLE", first)
        if batch.sequence:
            if batch.sequence != self.sequence + 1:
                return self.refusal("SEQUENCE_GAP", None)
            self.sequence += 1
            self.samples += len(numbers)
            # Every sample before a cursor is learned or refused, and none after it is.
            self.cursor = batch.cursor
            assert self.cursor in (None, b"%d" % (numbers[-1] + 1))
        self.learned += numbers
        return {"ok": True}, encode_margins(np.array(numbers, dtype=np.float64))

    def refusal(self, code: str, sample: int | None) -> tuple[dict[str, Any], bytes]:
        error = {"code": code, "message": "no", "at": "$", "sample": sample}
        return {"ok": False, "error": error}, b""


class Run:
    """A pipeline and a daemon, joined by whatever `draw` decides."""

    def __init__(self, delivery: Delivery, daemon: Daemon, draw: Any) -> None:
        self.delivery, self.daemon, self.draw = delivery, daemon, draw
        self.in_flight: dict[int, Batch] = {}
        self.ids = 0
        self.refused: list[int] = []
        self.busy_left = 6

    def send(self) -> None:
        while (batch := self.delivery.next_batch()) is not None:
            assert len(self.in_flight) < WINDOW_REQUESTS
            assert batch.samples <= 7 and len(batch.body) <= 2000
            self.ids += 1
            self.delivery.sent(self.ids)
            self.in_flight[self.ids] = batch

    def answer_one(self) -> None:
        """One answer: in order of the requests for a numbered stream, else of any."""
        ids = sorted(self.in_flight)
        numbered = self.delivery.producer is not None
        id = ids[0] if numbered or len(ids) == 1 else self.draw(st.sampled_from(ids))
        code = None
        if self.busy_left and self.draw(st.integers(0, 5)) == 0:
            self.busy_left -= 1
            code = self.draw(st.sampled_from(["BUSY", "NOT_DURABLE"]))
        self.delivery.take(id, self.daemon.answer(self.in_flight.pop(id), code))
        self.delivery.take(id, ({"ok": True}, b""))  # a second answer is ignored

    def settle(self) -> None:
        """Drive the pipeline as a stream does until everything is settled, with shorter pauses."""
        for _ in range(10_000):
            self.send()
            if self.delivery.is_settled:
                break
            if self.in_flight:
                self.answer_one()
            elif self.delivery.pause.until is not None:
                self.delivery.pause.until = 0.0
            else:
                pytest.fail("nothing is in flight, nothing pauses, and nothing is settled")
        assert self.delivery.is_settled
        self.raise_refused()

    def raise_refused(self) -> None:
        refusal = self.delivery.take_refusal()
        if refusal is not None:
            assert refusal.sample is not None
            self.refused.append(refusal.sample)
            assert refusal.applied == self.delivery.applied


def margins_of(seen: dict[int, float]) -> Any:
    def on_margins(start: int, margins: NDArray[np.float64]) -> None:
        for i, margin in enumerate(margins.tolist(), start):
            assert i not in seen
            seen[i] = margin

    return on_margins


@pytest.mark.parametrize("producer", [None, "p"])
@given(data=st.data())
def test_every_sample_is_settled_once(producer: str | None, data: st.DataObject) -> None:
    """Any cuts, answers in any order, refusals, smaller limits, busy daemons, breaks."""
    n = data.draw(st.integers(0, 60))
    bad = data.draw(st.sets(st.integers(0, max(0, n - 1)), max_size=4)) if n else set()
    daemon = Daemon(bad, data.draw(st.sampled_from([2, 7, 99])))
    seen: dict[int, float] = {}
    delivery = delivery_of(producer, LIMITS, margins_of(seen))
    run = Run(delivery, daemon, data.draw)
    has_cursors = producer is not None and data.draw(st.booleans())
    if isinstance(delivery, ExactlyOnce):
        delivery.resumed(0, 0)
    at = 0
    while at < n:
        step = data.draw(st.sampled_from(["add", "add", "packed", "flush", "answer", "break"]))
        if step == "packed":
            count = min(n - at, data.draw(st.integers(1, 30)))
            body = msgpack.packb([[1, [i]] for i in range(at, at + count)])
            cursors = [b"%d" % (i + 1) for i in range(at, at + count)] if has_cursors else []
            delivery.add_packed(body, count, cursors)
            at += count
        elif step == "add":
            is_due = delivery.add([str(at)], 1, 1.0)
            at += 1
            if has_cursors:
                delivery.note(b"%d" % at)
            if not is_due:
                continue
        elif step == "flush":
            delivery.cut()
        elif step == "break" and isinstance(delivery, ExactlyOnce):
            # Of the requests in flight the daemon has read some; the answers are lost.
            for id in sorted(run.in_flight)[: data.draw(st.integers(0, 3))]:
                daemon.answer(run.in_flight[id], None)
            run.in_flight.clear()
            delivery.resumed(daemon.sequence, daemon.samples, daemon.cursor)
        delivery.cut_if_due()
        run.send()
        if step == "answer" and run.in_flight:
            run.answer_one()
        while delivery.has_backlog and not delivery.is_refused and run.in_flight:
            run.answer_one()
            run.send()
        if delivery.is_refused or step == "flush":
            run.settle()
    for _ in range(len(bad) + 2):
        delivery.cut()
        run.settle()
    good = [i for i in range(n) if i not in bad]
    assert sorted(daemon.learned) == good
    assert delivery.applied == len(good)
    assert set(run.refused) <= bad
    if producer is None:
        assert {i: float(i) for i in good} == seen
    else:
        assert daemon.learned == good  # in order
        assert run.refused == sorted(bad)
        expected = b"%d" % (good[-1] + 1) if has_cursors and good else None
        assert (delivery.cursor, daemon.cursor) == (expected, expected)
        assert set(seen) <= set(good)  # the margins of a broken connection are lost


def test_a_refusal_waits_for_a_busy_daemon() -> None:
    """The samples before a refused one are learned before it is raised, BUSY or not."""
    daemon = Daemon({2}, 99)
    delivery = ExactlyOnce("p", LIMITS, None)
    delivery.resumed(0, 0)
    run = Run(delivery, daemon, None)
    delivery.add_packed(msgpack.packb([[1, [i]] for i in range(5)]), 5)
    run.busy_left = 0
    run.send()
    run.answer_one()  # BAD_SAMPLE at 2
    run.send()
    (id,) = run.in_flight
    delivery.take(id, daemon.answer(run.in_flight.pop(id), "BUSY"))
    assert not delivery.is_settled
    run.settle()
    assert (daemon.learned, run.refused, delivery.applied) == ([0, 1], [2], 2)
    run.settle()
    assert daemon.learned == [0, 1, 3, 4]


def test_a_lost_stream_drops_what_was_not_acknowledged() -> None:
    delivery = delivery_of(None, LIMITS, None)
    run = Run(delivery, Daemon(set(), 99), None)
    run.busy_left = 0
    for i in range(10):
        delivery.add([str(i)], 1, 1.0)
        delivery.cut_if_due()
        run.send()
    first = min(run.in_flight)
    delivery.take(first, run.daemon.answer(run.in_flight.pop(first), None))
    error = delivery.lose(DaemonLost("it broke"))
    assert (error.applied, delivery.applied) == (1, 1)
    assert str(error) == "it broke; 1 samples of the stream were acknowledged"
    assert delivery.is_settled and delivery.next_batch() is None


@pytest.mark.parametrize(
    ("sequence", "samples", "text"),
    [
        (0, 0, "lost what it had"),
        (9, 9, "only 2 were sent"),
        (2, 7, "has applied 7 samples"),
        (2, 2, "knows of cursor b'x'"),
    ],
)
def test_a_daemon_that_cannot_be_resumed(sequence: int, samples: int, text: str) -> None:
    daemon = Daemon(set(), 99)
    delivery = ExactlyOnce("p", LIMITS, None)
    delivery.resumed(0, 0)
    run = Run(delivery, daemon, None)
    run.busy_left = 0
    for i in range(2):
        delivery.add_packed(msgpack.packb([[1, [i]]]), 1)
        run.send()
    run.answer_one()
    with pytest.raises(StreamBroken, match=text):
        delivery.resumed(sequence, samples, b"x" if samples == sequence == 2 else None)
    with pytest.raises(StreamBroken, match=text):
        delivery.add(["1"], 1, 1.0)


def test_refusals_are_counted_together() -> None:
    delivery = delivery_of(None, LIMITS, None)
    run = Run(delivery, Daemon({1, 3}, 99), None)
    run.busy_left = 0
    delivery.add_packed(msgpack.packb([[1, [i]] for i in range(5)]), 5)
    for _ in range(10):
        run.send()
        for id in sorted(run.in_flight):
            delivery.take(id, run.daemon.answer(run.in_flight.pop(id), None))
    refusal = delivery.take_refusal()
    assert isinstance(refusal, RequestRefused)
    assert (refusal.sample, refusal.applied) == (1, 3)
    assert "1 more samples were refused" in refusal.message


def test_a_refusal_of_a_sample_that_was_not_sent_refuses_its_batch() -> None:
    delivery = delivery_of(None, LIMITS, None)
    daemon = Daemon(set(), 99)
    delivery.add_packed(msgpack.packb([[1, [i]] for i in range(5)]), 5)
    assert delivery.next_batch() is not None
    delivery.sent(1)
    delivery.take(1, daemon.refusal("BAD_SAMPLE", 5))
    refusal = delivery.take_refusal()
    assert isinstance(refusal, RequestRefused)
    assert (refusal.sample, refusal.applied) == (0, 0)
    assert delivery.is_settled and "with the 4 samples after it" in refusal.message
